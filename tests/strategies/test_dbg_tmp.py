from tests.strategies.test_verdict import *
def test_x(fake_openai, seat):
    chosen = council(seat, "chair+bad_verdict", tool_executor=lambda name, _: f"{name} says 42 t")
    result = chosen.run(f"{QUESTION} Use load_test.", tools=[TOOL])
    for c in result.trace.calls:
        if c.stage in ("synthesis","tool"): print(c.round, c.stage, [(m["role"], str(m.get("content"))[:50], str(m.get("content"))[-60:]) for m in c.messages], c.tool_calls)
    assert 0
