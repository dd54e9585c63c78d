"""Mixture-of-Agents over HTTP: what is sent, what comes back, what happens when seats fail."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise
from pathlib import Path

import litellm
import pytest
import uvloop

import composite_lab as lab
from composite_lab.gateway.plainness import learn
from composite_lab.testing import FakeServer
from tests.conftest import SeatMaker

QUESTION = "Why is the sky dark at night?"
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
CONVERSATION = [
    {"role": "system", "content": "You are terse."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello to you."},
    {"role": "user", "content": [{"type": "text", "text": "What is in this picture?"}, IMAGE]},
]


def panel(seat: SeatMaker, count: int = 4, suffix: str = "", **options: object) -> lab.MoA:
    seats = [seat(f"p{number}{suffix}") for number in range(count)]
    return lab.MoA(aggregator=seat("a"), proposers=seats, **options)  # type: ignore[arg-type]


def in_a_script(moa: lab.MoA) -> lab.Result:
    return moa.run(QUESTION)


def in_a_running_loop(moa: lab.MoA) -> lab.Result:
    async def cell() -> lab.Result:
        return moa.run(QUESTION)

    return asyncio.run(cell())


def in_uvloop(moa: lab.MoA) -> lab.Result:
    async def cell() -> lab.Result:
        return moa.run(QUESTION)

    loop = uvloop.new_event_loop()  # not uvloop.run: an asyncio.run that is patched by now would take it over
    try:
        return loop.run_until_complete(cell())
    finally:
        loop.close()


def awaited(moa: lab.MoA) -> lab.Result:
    return asyncio.run(moa.arun(QUESTION))


@pytest.mark.parametrize("way", [in_a_script, in_a_running_loop, in_uvloop, awaited])
def test_proposers_run_concurrently_wherever_the_caller_stands(
    fake_openai: FakeServer, seat: SeatMaker, way
) -> None:  # type: ignore[no-untyped-def]
    result = way(panel(seat, suffix="+latency=0.4"))
    assert result.text
    assert fake_openai.stats().peak == 4


def test_the_aggregation_request_holds_every_proposal_and_the_whole_conversation(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    result = panel(seat).run(CONVERSATION)
    *proposals, aggregation = fake_openai.requests()
    assert all(request.messages == CONVERSATION for request in proposals)
    assert aggregation.messages[:-1] == CONVERSATION[:-1]
    *own_parts, added = aggregation.messages[-1]["content"]
    assert own_parts == CONVERSATION[-1]["content"]
    answers = [call.text for call in result.trace.calls if call.stage == "proposals"]
    assert len(answers) == 4
    assert all(answer in added["text"] for answer in answers)


def test_the_callers_messages_are_left_as_they_are(seat: SeatMaker) -> None:
    import copy

    given = copy.deepcopy(CONVERSATION)
    panel(seat).run(given)
    assert given == CONVERSATION


def test_usage_is_the_sum_over_all_calls(fake_openai: FakeServer, seat: SeatMaker) -> None:
    seats = [
        seat(f"p+prompt_tokens={n}+completion_tokens={n * 2}+cached_tokens=1+reasoning_tokens=2")
        for n in (10, 200)
    ]
    usage = lab.MoA(aggregator=seat("a"), proposers=seats).run(QUESTION).usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (10 + 200 + 100, 20 + 400 + 20)
    assert usage.total_tokens == fake_openai.stats().total_tokens
    assert (usage.cached_tokens, usage.reasoning_tokens) == (1 + 1 + 10, 2 + 2 + 5)


def test_without_proposers_the_aggregators_model_is_sampled_three_times(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    trace = lab.MoA(aggregator=seat("a")).run(QUESTION).trace
    assert fake_openai.stats().by_model == {"a": 4}
    assert [(call.stage, call.sample) for call in trace.calls] == [
        ("proposals", 0), ("proposals", 1), ("proposals", 2), ("aggregation", 0)
    ]  # fmt: skip


def test_samples_of_a_seeded_seat_get_seeds_of_their_own(fake_openai: FakeServer, seat: SeatMaker) -> None:
    lab.MoA(aggregator=seat("a"), proposers=[seat("p", seed=7)], samples=3).run(QUESTION)
    seeds = sorted(request.body["seed"] for request in fake_openai.requests() if request.model == "p")
    assert seeds == [7, 8, 9]


def test_later_layers_see_the_answers_of_the_layer_before(fake_openai: FakeServer, seat: SeatMaker) -> None:
    trace = panel(seat, 2, layers=3).run(QUESTION).trace
    rounds = [
        [call for call in trace.calls if call.stage == "proposals" and call.round == n] for n in range(3)
    ]
    assert [len(calls) for calls in rounds] == [2, 2, 2]
    sent = {request.last_user_text for request in fake_openai.requests()}
    for earlier, later in pairwise(rounds):
        seen = later[0].messages[-1]["content"]
        assert all(call.text in seen for call in earlier)
        assert seen in sent
    first, final = rounds[0][0].text, trace.calls[-1].messages[-1]["content"]
    assert first not in final


def test_the_callers_parameters_go_to_the_final_call_and_a_seats_own_win(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    moa = lab.MoA(aggregator=seat("a", temperature=0.1), proposers=[seat("p", temperature=0.9)])
    tools = [
        {
            "type": "function",
            "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}},
        }
    ]
    moa.run(QUESTION, temperature=0.5, max_tokens=99, seed=3, stop=["END"], tools=tools)
    proposal, aggregation = (request.body for request in fake_openai.requests())
    assert proposal.keys() == {"model", "messages", "temperature"}
    assert proposal["temperature"] == 0.9
    assert aggregation["temperature"] == 0.1
    assert (aggregation["max_tokens"], aggregation["seed"], aggregation["stop"]) == (99, 3, ["END"])
    assert aggregation["tools"] == tools


def test_a_failing_proposer_is_a_row_and_its_error_is_in_no_request(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    seats = [seat("p0"), seat("p1+status=500", retries=0), seat("p2"), seat("p3")]
    result = lab.MoA(aggregator=seat("a"), proposers=seats).run(QUESTION)
    assert result.text
    failed = [call for call in result.trace.calls if call.status != "ok"]
    assert [(call.seat, call.error_type) for call in failed] == [(1, "InternalServerError")]
    assert failed[0].error_message
    final = fake_openai.requests()[-1]
    assert len(re.findall(r"<answer-\w+ label=", final.last_user_text)) == 3
    assert "rror" not in final.last_user_text
    assert failed[0].error_message not in result.trace.reasoning


def test_too_few_proposals_name_every_cause_and_carry_the_trace(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    seats = [seat("p0+status=400"), seat("p1+status=404"), seat("p2+empty")]
    with pytest.raises(lab.QuorumError) as caught:
        lab.MoA(aggregator=seat("a"), proposers=seats).run(QUESTION)
    text = str(caught.value)
    assert text.startswith("0 of 3 proposers answered and 1 is needed")
    for cause in (
        "p0+status=400",
        "BadRequestError",
        "p1+status=404",
        "NotFoundError",
        "p2+empty",
        "without any text",
    ):
        assert cause in text
    assert len(caught.value.causes) == 3
    assert len(caught.value.trace.calls) == 3
    assert fake_openai.stats().by_model.get("a") is None


def test_a_straggler_is_left_behind_and_recorded_as_cancelled(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    seats = [seat(f"p{n}+latency=0.3") for n in range(3)] + [seat("slow+latency=30")]
    trace = lab.MoA(aggregator=seat("a"), proposers=seats, straggler_grace_s=0.5).run(QUESTION).trace
    slow = next(call for call in trace.calls if "slow" in call.request_model)
    assert slow.status == "cancelled"
    assert trace.latency_s < 10
    assert [call.status for call in trace.calls if call is not slow] == ["ok"] * 4
    fake_openai.wait_until(lambda stats: stats.by_outcome.get("client_disconnected") == 1, timeout_s=10)


def test_the_grace_begins_only_with_the_quorum(seat: SeatMaker) -> None:
    seats = [seat("p0"), seat("p1+latency=0.8"), seat("p2+latency=30")]
    moa = lab.MoA(aggregator=seat("a"), proposers=seats, straggler_grace_s=0.1, min_proposals=2)
    assert [call.status for call in moa.run(QUESTION).trace.calls] == ["ok", "ok", "cancelled", "ok"]


def test_a_failed_final_call_keeps_what_was_paid_for_on_the_error(seat: SeatMaker) -> None:
    moa = lab.MoA(aggregator=seat("a+status=400"), proposers=[seat("p")])
    with pytest.raises(litellm.BadRequestError) as caught:
        moa.run(QUESTION)
    trace = caught.value.trace  # type: ignore[attr-defined]
    assert [(call.role, call.status) for call in trace.calls] == [("proposer", "ok"), ("aggregator", "error")]
    assert trace.calls[0].text
    assert (trace.status, trace.error_type) == ("error", "BadRequestError")


def test_on_final_failure_best_answers_with_the_first_proposal(seat: SeatMaker) -> None:
    moa = lab.MoA(aggregator=seat("a+status=400"), proposers=[seat("p"), seat("q")], on_final_failure="best")
    result = moa.run(QUESTION)
    assert result.text == result.trace.calls[0].text
    assert result.trace.degraded
    assert "BadRequestError" in result.trace.notes[0]


def test_the_trace_is_in_the_order_of_seats_whatever_the_order_of_arrival(seat: SeatMaker) -> None:
    seats = [seat("p0+latency=0.4"), seat("p1+latency=0.2"), seat("p2")]
    trace = lab.MoA(aggregator=seat("a"), proposers=seats).run(QUESTION).trace
    assert [call.seat for call in trace.calls if call.stage == "proposals"] == [0, 1, 2]
    assert lab.Trace.model_validate_json(trace.model_dump_json()) == trace


def test_streaming_tells_stages_and_calls_then_the_answer_in_pieces(seat: SeatMaker) -> None:
    events = list(panel(seat, 2).stream(QUESTION))
    kinds = [type(event).__name__ for event in events]
    assert kinds[0] == "StageStarted"
    assert kinds[-1] == "Finished"
    assert kinds.index("StageFinished") < kinds.index("TextDelta")
    result = events[-1].result
    assert "".join(event.text for event in events if isinstance(event, lab.TextDelta)) == result.text
    assert kinds.count("TextDelta") > 1
    assert result.trace.calls[-1].time_to_first_token_s is not None
    assert result.usage.total_tokens == 3 * 120


def test_streamed_and_awaited_runs_send_the_same_requests(fake_openai: FakeServer, seat: SeatMaker) -> None:
    moa = panel(seat, 1)
    moa.run(QUESTION)
    whole = [request.body for request in fake_openai.requests()]
    fake_openai.reset()
    list(moa.stream(QUESTION))
    streamed = [request.body for request in fake_openai.requests()]
    assert streamed[0] == whole[0]
    assert {**streamed[1], "stream": None} == {
        **whole[1],
        "stream": None,
        "stream_options": {"include_usage": True},
    }


def cut_short(moa: lab.MoA) -> tuple[list[lab.Call], str]:
    """The calls of the final model, and the text that was shown, of a stream that fails."""
    shown = ""
    with pytest.raises(Exception) as caught:  # noqa: PT011, PT012  (LiteLLM's class differs by where the cut is)
        for event in moa.stream(QUESTION):
            shown += event.text if isinstance(event, lab.TextDelta) else ""
    calls = caught.value.trace.calls  # type: ignore[attr-defined]
    return [call for call in calls if call.stage == "aggregation"], shown


def test_a_stream_cut_short_is_not_taken_for_an_answer(seat: SeatMaker) -> None:
    # Piece by piece, since what came together with the cut is lost with it.
    final = seat("a+truncate+chunk_latency=0.03")
    learn(final.model, final.api_base, plainly=True)  # so that its text is told as it comes
    calls, shown = cut_short(lab.MoA(aggregator=final, proposers=[seat("p")]))
    assert [(call.status, call.attempt) for call in calls] == [("error", 0)]
    assert calls[0].text
    assert calls[0].text == shown


def test_a_stream_cut_short_while_its_text_was_held_back_is_asked_for_again(seat: SeatMaker) -> None:
    held = seat("held+truncate+chunk_latency=0.03")
    calls, shown = cut_short(lab.MoA(aggregator=held, proposers=[seat("p")], retries=1))
    assert [(call.status, call.attempt) for call in calls] == [("error", 0), ("error", 1)]
    assert all(call.text for call in calls)
    assert shown == ""


def test_unknown_parameters_are_refused_before_any_call(fake_openai: FakeServer, seat: SeatMaker) -> None:
    with pytest.raises(lab.ConfigError, match="unknown option 'temprature': did you mean 'temperature'"):
        panel(seat).run(QUESTION, temprature=0.3)
    assert fake_openai.stats().total == 0


def test_own_prompts_replace_the_built_in_ones(fake_openai: FakeServer, seat: SeatMaker) -> None:
    panel(seat, 2, prompts={"aggregate": "Pick one of {count}:\n{answers}"}).run(QUESTION)
    assert "Pick one of 2:" in fake_openai.requests()[-1].last_user_text


def test_a_nested_composite_hangs_its_calls_under_the_seats_call(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    inner = lab.Seat(model="composite/moa/openai/inner", api_base=fake_openai.base_url, api_key="sk-test")
    trace = lab.MoA(aggregator=seat("a"), proposers=[inner, seat("p")]).run(QUESTION).trace
    outer = trace.calls[0]
    below = [call for call in trace.calls if call.parent_call_id == outer.call_id]
    assert (outer.usage_source, outer.total_tokens, outer.cost_usd) == ("children", None, None)
    assert trace.calls[1:5] == below
    assert len(below) == 4
    assert {call.trace_id for call in trace.calls} == {trace.trace_id}
    assert trace.usage.total_tokens == fake_openai.stats().total_tokens == 6 * 120
    assert all(call.start_offset_s >= outer.start_offset_s for call in below)


def test_composites_nested_too_deep_are_refused_before_any_call(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    deep = "composite/moa/composite/moa/composite/moa/openai/p"
    with pytest.raises(lab.ConfigError, match="deeper than 3"):
        lab.MoA(aggregator=seat("a"), proposers=[seat("p"), deep]).run(QUESTION)
    assert fake_openai.stats().total == 0


def test_the_limit_of_a_run_holds_for_the_composites_inside_of_it(
    fake_openai: FakeServer, endpoint: dict[str, str]
) -> None:
    inner = lab.Seat(model="composite/moa/openai/inner+latency=0.1", **endpoint)
    lab.MoA(aggregator=inner, proposers=[inner, inner], max_concurrency=2).run(QUESTION)
    assert fake_openai.stats().peak == 2
    assert fake_openai.stats().total == 12


def test_the_cap_of_a_run_holds_for_the_composites_inside_of_it(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    prices = {"input_cost_per_token": 1e-3, "output_cost_per_token": 0.0}
    litellm.register_model({"openai/costly": {**prices, "litellm_provider": "openai", "mode": "chat"}})
    inner = lab.Seat(model="composite/moa/openai/costly", api_base=fake_openai.base_url, api_key="sk-test")
    moa = lab.MoA(aggregator=seat("a", **prices), proposers=[inner], max_cost_usd=0.25, max_concurrency=1)
    with pytest.raises((lab.BudgetExceeded, lab.QuorumError)) as caught:
        moa.run(QUESTION)
    assert caught.value.trace.cost_usd == pytest.approx(0.3)
    assert fake_openai.stats().total == 3


def test_a_trace_that_cannot_be_saved_takes_no_answer_away(seat: SeatMaker, tmp_path: Path) -> None:
    file = tmp_path / "folder" / "runs.jsonl"
    file.parent.mkdir()
    lab.save_traces(file)
    file.parent.rmdir()
    try:
        with pytest.warns(UserWarning, match="the trace was not saved: FileNotFoundError"):
            assert lab.MoA(aggregator=seat("a")).run(QUESTION).text
    finally:
        lab.save_traces(None)


def test_an_observer_is_told_of_a_failure_and_its_trace(fake_openai: FakeServer, seat: SeatMaker) -> None:
    events: list[object] = []
    with pytest.raises(lab.QuorumError) as raised:
        panel(seat, 2, "+status=400").run(QUESTION, on_event=events.append)
    last = events[-1]
    assert isinstance(last, lab.Failed)
    assert last.error is raised.value
    assert last.trace is raised.value.trace
