"""Tool calls: bubbled to the client, or carried out by an executor, over HTTP."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import litellm
import pytest

import composite_lab as lab
from composite_lab.testing import FakeServer
from tests.conftest import SeatMaker

PLACE = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": name, "parameters": PLACE}}
    for name in ("add", "multiply", "nobody_has_this")
]
ADD = 'Please use add {"a": 2, "b": 3} and tell me.'
BOTH = 'Please use add {"a": 2, "b": 3} and multiply {"a": 2, "b": 3} and tell me.'
STRATEGIES = ["moa", "council"]
EXECUTOR: Any = {"add": lambda a, b: a + b, "multiply": lambda a, b: {"product": a * b}}


def panel(kind: str, seat: SeatMaker, final: str = "final", **options: Any) -> Any:
    seats = [seat("p"), seat("q")]
    if kind == "moa":
        return lab.MoA(aggregator=seat(final), proposers=seats, **options)
    return lab.Council(chairman=seat(final), members=seats, **options)


def tool_rows(trace: lab.Trace) -> list[lab.Call]:
    return [call for call in trace.calls if call.stage == "tool"]


def of_final(server: FakeServer) -> list[Any]:
    return [request for request in server.requests() if request.model.startswith("final")]


@pytest.mark.parametrize("kind", STRATEGIES)
def test_without_an_executor_tool_calls_are_the_answer(
    fake_openai: FakeServer, seat: SeatMaker, kind: str
) -> None:
    result = panel(kind, seat).run(BOTH, tools=TOOLS)
    assert [call["function"]["name"] for call in result.tool_calls] == ["add", "multiply"]
    assert result.text == ""
    assert result.trace.calls[-1].finish_reason == "tool_calls"
    assert [request.model for request in fake_openai.requests() if "tools" in request.body] == ["final"]


@pytest.mark.parametrize("kind", STRATEGIES)
def test_an_executor_answers_and_nothing_is_paid_twice(
    fake_openai: FakeServer, seat: SeatMaker, kind: str
) -> None:
    result = panel(kind, seat).run(BOTH, tools=TOOLS, tool_executor=EXECUTOR)
    assert result.text == 'final was told by its tools: 5; {"product": 6}'
    assert fake_openai.stats().by_model == {
        "p": 1 if kind == "moa" else 2,
        "q": 1 if kind == "moa" else 2,
        "final": 2,
    }
    first, second = of_final(fake_openai)
    assert second.messages[: len(first.messages)] == first.messages
    asked, *told = second.messages[len(first.messages) :]
    assert [call["function"]["name"] for call in asked["tool_calls"]] == ["add", "multiply"]
    assert [(message["tool_call_id"], message["content"]) for message in told] == [
        (asked["tool_calls"][0]["id"], "5"),
        (asked["tool_calls"][1]["id"], '{"product": 6}'),
    ]


@pytest.mark.parametrize("kind", STRATEGIES)
def test_the_same_conversation_ends_alike_by_bubbling_and_by_executor(seat: SeatMaker, kind: str) -> None:
    runner = panel(kind, seat)
    inside = runner.run(BOTH, tools=TOOLS, tool_executor=EXECUTOR)
    conversation: list[Any] = [{"role": "user", "content": BOTH}]
    bubbled = runner.run(conversation, tools=TOOLS)
    conversation.append(bubbled.message)
    for call in bubbled.tool_calls:
        given = json.loads(call["function"]["arguments"])
        text = {
            "add": str(given["a"] + given["b"]),
            "multiply": json.dumps({"product": given["a"] * given["b"]}),
        }
        conversation.append(
            {"role": "tool", "tool_call_id": call["id"], "content": text[call["function"]["name"]]}
        )
    assert runner.run(conversation, tools=TOOLS).text == inside.text


@pytest.mark.parametrize("kind", STRATEGIES)
def test_seats_without_tools_read_tool_messages_as_text(
    fake_openai: FakeServer, seat: SeatMaker, kind: str
) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2, "b": 3}'}}
    conversation = [
        {"role": "user", "content": ADD},
        {"role": "assistant", "content": "One moment.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "5"},
    ]
    strict = {"api_base": fake_openai.base_url, "api_key": "sk-test"}
    seats = [lab.Seat(model=f"openai/{name}+no_tools", **strict) for name in "pq"]
    names = {"moa": ("aggregator", "proposers"), "council": ("chairman", "members")}[kind]
    make: Any = {"moa": lab.MoA, "council": lab.Council}[kind]
    runner = make(**{names[0]: seat("final"), names[1]: seats})
    trace = runner.run(conversation, tools=TOOLS).trace
    assert {call.status for call in trace.calls} == {"ok"}
    for request in fake_openai.requests():
        roles = [message["role"] for message in request.messages]
        if request.model == "final":
            assert roles == ["user", "assistant", "tool"]
            assert request.messages[1:] == conversation[1:]
            assert request.texts[0].startswith(f"{ADD}\n\n")
        else:
            assert roles == ["user", "assistant", "user"]
            assert "[called add with" in request.texts[1]
            assert "\n5\n" in request.texts[2]


def test_every_tool_call_is_a_row_and_a_section_of_the_reasoning(seat: SeatMaker) -> None:
    def slow_add(a: int, b: int) -> int:
        time.sleep(0.2)
        return a + b

    trace = panel("moa", seat).run(BOTH, tools=TOOLS, tool_executor=EXECUTOR | {"add": slow_add}).trace
    rows = tool_rows(trace)
    assert [(row.request_model, row.text, row.seat) for row in rows] == [
        ("add", "5", 0),
        ("multiply", '{"product": 6}', 1),
    ]
    assert json.loads(rows[0].tool_calls[0]["function"]["arguments"]) == {"a": 2, "b": 3}
    assert rows[0].latency_s >= 0.2
    assert [call.stage for call in trace.calls][-4:] == ["aggregation", "tool", "tool", "aggregation"]
    assert "## Tool: 2 of 2 answered" in trace.reasoning
    assert '{"a": 2, "b": 3} → 5' in trace.reasoning
    df = trace.to_dataframe()
    assert df[df.stage == "tool"].cost_usd.isna().all()
    assert trace.summary().usage.total_tokens == 4 * 120
    assert lab.Trace.model_validate_json(trace.model_dump_json()) == trace


async def _async_add(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


class _AsyncObject:
    async def __call__(self, name: str, arguments: dict[str, int]) -> int:
        return arguments["a"] + arguments["b"]


@pytest.mark.parametrize(
    "executor",
    [
        {"add": _async_add},
        lambda _, arguments: arguments["a"] + arguments["b"],
        lambda _, arguments: _async_add(**arguments),
        _AsyncObject(),
        {"add": lab.on_loop_thread(lambda a, b: a + b)},
    ],
    ids=[
        "async mapping",
        "function",
        "function that returns an awaitable",
        "async object",
        "on the loop's thread",
    ],
)
def test_an_executor_may_be_any_of_these(seat: SeatMaker, executor: Any) -> None:
    assert panel("moa", seat).run(ADD, tools=TOOLS, tool_executor=executor).text.endswith("tools: 5")


def test_calls_of_one_round_run_concurrently_in_threads_of_their_own(seat: SeatMaker) -> None:
    meeting = threading.Barrier(2, timeout=20)
    names: list[str] = []

    def meet(a: int, b: int) -> int:
        names.append(threading.current_thread().name)
        meeting.wait()  # passes only if both are there at once
        return a

    executor = {"add": meet, "multiply": meet}
    assert panel("moa", seat).run(BOTH, tools=TOOLS, tool_executor=executor).text.endswith("tools: 2; 2")
    assert names == ["composite_lab-tool"] * 2


def test_a_marked_function_stays_on_the_thread_of_the_running_loop(seat: SeatMaker) -> None:
    threads: list[threading.Thread] = []

    @lab.on_loop_thread
    def add(a: int, b: int) -> int:
        threads.append(threading.current_thread())
        return a + b

    async def cell() -> lab.Result:
        result: lab.Result = panel("moa", seat).run(ADD, tools=TOOLS, tool_executor={"add": add})
        return result

    asyncio.run(cell())
    assert threads == [threading.current_thread()]


@pytest.mark.parametrize(
    ("final", "question", "error_type", "told"),
    [
        (
            "final",
            "Use nobody_has_this please",
            "ToolFault",
            "Error: unknown tool 'nobody_has_this': known are add, multiply",
        ),
        ("final+bad_arguments", ADD, "JSONDecodeError", "Error: the arguments are not valid JSON"),
        ("final", 'Use add {"a": 1, "b": "x"}', "TypeError", "Error: TypeError: "),
        ("final", 'Use add {"c": 1}', "TypeError", "unexpected keyword argument 'c'"),
    ],
)
def test_what_goes_wrong_is_told_to_the_model_and_not_to_the_user(
    fake_openai: FakeServer, seat: SeatMaker, final: str, question: str, error_type: str, told: str
) -> None:
    result = panel("moa", seat, final).run(question, tools=TOOLS, tool_executor=EXECUTOR)
    (row,) = tool_rows(result.trace)
    assert (row.status, row.error_type) == ("error", error_type)
    assert told in of_final(fake_openai)[-1].messages[-1]["content"]
    assert result.text


def test_a_result_that_does_not_go_to_json_is_told_too(fake_openai: FakeServer, seat: SeatMaker) -> None:
    panel("moa", seat).run(ADD, tools=TOOLS, tool_executor={"add": lambda a, b: {a, b}})
    assert "does not go to JSON" in of_final(fake_openai)[-1].messages[-1]["content"]


def test_the_loop_ends_with_an_error_that_has_the_trace(fake_openai: FakeServer, seat: SeatMaker) -> None:
    with pytest.raises(lab.ToolLoopError, match="max_tool_iterations=2") as caught:
        panel("moa", seat, "final+tool_loop").run(
            ADD, tools=TOOLS, tool_executor=EXECUTOR, max_tool_iterations=2
        )
    assert len(tool_rows(caught.value.trace)) == 2
    assert len(of_final(fake_openai)) == 3


def test_the_loop_can_end_with_the_last_message(seat: SeatMaker) -> None:
    options = {"tool_executor": EXECUTOR, "max_tool_iterations": 1, "on_tool_limit": "last"}
    result = panel("moa", seat, "final+tool_loop", **options).run(ADD, tools=TOOLS)
    assert result.tool_calls
    assert result.trace.degraded
    assert result.trace.notes[0].endswith("still asked for tools after 1 round")


def test_a_forced_tool_is_forced_once(fake_openai: FakeServer, seat: SeatMaker) -> None:
    result = panel("moa", seat).run("Anything", tools=TOOLS, tool_executor=EXECUTOR, tool_choice="required")
    assert [request.body["tool_choice"] for request in of_final(fake_openai)] == ["required", "auto"]
    assert result.text


def test_an_executor_that_hangs_ends_with_the_run(seat: SeatMaker) -> None:
    forever = threading.Event()
    with pytest.raises(lab.RunTimeout) as caught:
        panel("moa", seat, timeout_s=1.5).run(
            ADD, tools=TOOLS, tool_executor={"add": lambda **_: forever.wait()}
        )
    assert [row.status for row in tool_rows(caught.value.trace)] == ["cancelled"]
    forever.set()


def test_streaming_shows_the_answer_and_not_the_calls_that_were_carried_out(seat: SeatMaker) -> None:
    events = list(panel("moa", seat).stream(ADD, tools=TOOLS, tool_executor=EXECUTOR))
    kinds = {type(event).__name__ for event in events}
    assert "ToolCallDelta" not in kinds
    text = "".join(event.text for event in events if isinstance(event, lab.TextDelta))
    assert text == events[-1].result.text == "final was told by its tools: 5"
    assert ("tool", 0, 1) in {(e.stage, e.round, e.calls) for e in events if isinstance(e, lab.StageStarted)}


@pytest.mark.parametrize("executor", ["add", 3, {"add": "add"}])
def test_what_is_no_executor_is_refused_before_any_call(
    fake_openai: FakeServer, seat: SeatMaker, executor: Any
) -> None:
    with pytest.raises(lab.ConfigError, match="tool_executor"):
        panel("moa", seat).run(ADD, tools=TOOLS, tool_executor=executor)
    assert fake_openai.stats().total == 0


def test_several_answers_do_not_go_with_an_executor(fake_openai: FakeServer, seat: SeatMaker) -> None:
    with pytest.raises(lab.ConfigError, match="n=2"):
        panel("moa", seat).run(ADD, tools=TOOLS, tool_executor=EXECUTOR, n=2)
    assert fake_openai.stats().total == 0


@pytest.mark.parametrize("kind", STRATEGIES)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_the_executor_works_through_litellms_four_hooks(
    endpoint: dict[str, str], kind: str, stream: bool, way: str
) -> None:
    request = {
        "model": f"composite/{kind}/openai/final", "messages": [{"role": "user", "content": BOTH}],
        "tools": TOOLS, "tool_executor": EXECUTOR, "stream": stream, **endpoint,
    }  # fmt: skip

    async def ask() -> Any:
        response = await litellm.acompletion(**request)
        return [chunk async for chunk in response] if stream else response

    if way == "async":
        answer = asyncio.run(ask())
    else:
        answer = litellm.completion(**request)
        answer = list(answer) if stream else answer
    response = litellm.stream_chunk_builder(answer) if stream else answer
    message = response.choices[0].message
    assert message.content == 'final was told by its tools: 5; {"product": 6}'
    assert not message.tool_calls
    assert response.choices[0].finish_reason == "stop"
    assert "→ 5" in message.reasoning_content
    assert message.provider_specific_fields["composite"]["calls"] == (2 + 3 if kind == "moa" else 2 + 6) + 2
