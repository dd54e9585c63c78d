"""An answer without text is a failed call with its reason, and never passes for a success."""

from __future__ import annotations

from typing import Any

import litellm
import pytest

import composite_lab as lab
from composite_lab.testing import FakeServer
from tests.conftest import SeatMaker

EMPTY = {
    "+empty": "the text is empty (finish_reason 'stop')",
    "+refusal": "it refused: ",
    "+finish=length": "its 20 tokens were used up before any text, 5 of them by thinking",
    "+finish=content_filter": "the provider's content filter stopped it",
    "+think=unclosed": "its 20 tokens were used up before any text",
    "+no_choices": "holds nothing",
}


def asked(moa: lab.MoA, way: str, **params: Any) -> tuple[lab.Result, str]:
    """The result, and the text that a listener got."""
    if way == "run":
        result = moa.run("Why?", **params)
        return result, result.text
    events = list(moa.stream("Why?", **params))
    heard = "".join(event.text for event in events if isinstance(event, lab.TextDelta))
    last = events[-1]
    assert isinstance(last, lab.Finished)
    return last.result, heard


@pytest.mark.parametrize("way", ["run", "stream"])
@pytest.mark.parametrize("personality", EMPTY)
def test_an_empty_final_answer_is_told_by_status_note_and_row(
    seat: SeatMaker, personality: str, way: str
) -> None:
    result, heard = asked(lab.MoA(aggregator=seat(f"a{personality}"), proposers=[seat("p")]), way)
    why = EMPTY[personality]
    call = result.trace.calls[-1]
    assert (result.text, heard, result.trace.status) == ("", "", "degraded")
    assert (call.status, call.error_type) == ("error", "EmptyAnswer")
    assert why in str(call.error_message)
    assert why in result.trace.notes[-1]
    assert result.trace.summary().failures == 1
    assert (call.total_tokens, call.usage_source) == (120, "provider")


@pytest.mark.parametrize("way", ["run", "stream"])
@pytest.mark.parametrize("personality", EMPTY)
def test_the_best_answer_stands_in_for_an_empty_one(seat: SeatMaker, personality: str, way: str) -> None:
    moa = lab.MoA(aggregator=seat(f"a{personality}"), proposers=[seat("p")], on_final_failure="best")
    result, heard = asked(moa, way)
    assert result.text == heard == result.trace.calls[0].text != ""
    assert result.trace.degraded
    assert "the best answer stands in" in result.trace.notes[-1]


@pytest.mark.parametrize("personality", EMPTY)
def test_an_empty_proposal_is_a_failed_row_and_its_cost_counts(
    fake_openai: FakeServer, seat: SeatMaker, personality: str
) -> None:
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
    seats = [seat(f"p{personality}", **prices), seat("q", **prices)]
    trace = lab.MoA(aggregator=seat("a", **prices), proposers=seats).run("Why?").trace
    empty = trace.calls[0]
    assert (empty.status, empty.error_type) == ("error", "EmptyAnswer")
    assert EMPTY[personality] in str(empty.error_message)
    assert empty.cost_usd == pytest.approx(120e-6)
    assert trace.cost_usd == pytest.approx(360e-6)
    assert trace.reasoning.startswith("## Proposals: 1 of 2 answered")
    assert "1 of 2 proposers answered" in trace.notes[0]
    assert "EmptyAnswer" in trace.notes[0]
    assert fake_openai.requests()[-1].last_user_text.count('label="Answer') == 1
    assert (
        fake_openai.stats().by_model[f"p{personality}"] == 1
    )  # it is not asked again: that would cost as much


def test_an_unpriced_empty_answer_is_unpriced_and_not_free(seat: SeatMaker) -> None:
    trace = lab.MoA(aggregator=seat("a"), proposers=[seat("p+empty"), seat("q")]).run("Why?").trace
    assert trace.summary().unpriced_calls == 3


def test_an_empty_answer_in_the_store_is_not_paid_for_again(
    fake_openai: FakeServer, seat: SeatMaker, tmp_path: Any
) -> None:
    moa = lab.MoA(aggregator=seat("a"), proposers=[seat("p+refusal"), seat("q")])
    for _ in range(2):
        comparison = lab.compare({"moa": moa}, ["Why?"], store=tmp_path / "runs.sqlite", progress=False)
        fresh = lab.compare(
            {"again": moa, "moa": moa}, ["Why?"], store=tmp_path / "runs.sqlite", progress=False
        )
    assert fake_openai.stats().by_model["p+refusal"] == 1
    for frame in (comparison.calls_df(), fresh.calls_df()):
        kept = frame[frame.request_model == "openai/p+refusal"]
        assert set(kept.error_type) == {"EmptyAnswer"}
        assert kept.error_message.str.contains("it refused").all()


@pytest.mark.parametrize("stream", [False, True])
def test_through_litellm_the_finish_reason_and_the_refusal_are_there(
    endpoint: dict[str, str], stream: bool
) -> None:
    asked = {"messages": [{"role": "user", "content": "Why?"}], "proposers": ["openai/p"], **endpoint}
    for personality, reason in (("+refusal", "stop"), ("+finish=length", "length")):
        answer = litellm.completion(model=f"composite/moa/openai/a{personality}", stream=stream, **asked)
        if stream:
            deltas = [(chunk.choices[0].delta, chunk.choices[0].finish_reason) for chunk in answer]
            refusal = "".join(getattr(delta, "refusal", None) or "" for delta, _ in deltas)
            ended = deltas[-1][1]
        else:
            refusal = getattr(answer.choices[0].message, "refusal", None) or ""
            ended = answer.choices[0].finish_reason
        assert ended == reason
        assert bool(refusal) is (personality == "+refusal")


def test_a_stream_that_ends_without_saying_why_is_told(seat: SeatMaker) -> None:
    cut, whole = (
        lab.MoA(aggregator=seat(f"a+no_finish{usage}"), proposers=[seat("p")])
        for usage in ("+usage=none", "")
    )
    result, heard = asked(cut, "stream")
    assert heard == result.text != ""
    assert result.trace.degraded
    assert "may be cut short" in result.trace.notes[-1]
    assert result.trace.calls[-1].finish_reason is None
    # The usage comes behind the answer, which is whole then.
    assert asked(whole, "stream")[0].trace.status == "ok"


@pytest.mark.parametrize("way", ["run", "stream"])
@pytest.mark.parametrize("usage", ["none", "zero"])
def test_usage_that_nobody_told_is_missing_and_its_price_unknown(
    seat: SeatMaker, usage: str, way: str
) -> None:
    priced = seat(f"a+usage={usage}", input_cost_per_token=1e-6, output_cost_per_token=1e-6)
    call = asked(lab.MoA(aggregator=priced, proposers=[seat("p")]), way)[0].trace.calls[-1]
    assert (call.usage_source, call.total_tokens) == ("missing", None)
    assert (call.cost_source, call.cost_usd) == ("missing", None)


def test_reasoning_tokens_that_nobody_told_are_not_counted_from_the_text(seat: SeatMaker) -> None:
    # LiteLLM counts them from the reasoning itself when a stream's usage has no details.
    streamed, _ = asked(lab.MoA(aggregator=seat("a+reasoning"), proposers=[seat("p")]), "stream")
    assert streamed.trace.calls[-1].reasoning_tokens == 5
