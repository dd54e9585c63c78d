"""`reasoning_content`: a section for every stage, bounded unless all is asked for, alike in a stream."""

from __future__ import annotations

import re
from typing import Any

import litellm
import pytest

import composite_lab as lab
from tests.conftest import SeatMaker
from tests.provider.ways import events_as_chunks

ASK = [{"role": "user", "content": "Why is the sky dark at night?"}]
HEADINGS = {
    "moa": [r"## Proposals: 3 of 3 answered · 360 tokens · 0\.000360 USD · \d+\.\d s",
            r"## Aggregation: 1 of 1 answered · 120 tokens · 0\.000120 USD · \d+\.\d s",
            r"## Total: 4 calls, 0 failed · 480 tokens · 0\.000480 USD · \d+\.\d s"],
    "council": [r"## Opinions: 3 of 3 answered · 360 tokens · 0\.000360 USD · \d+\.\d s",
                r"## Review: 3 of 3 answered · 360 tokens · 0\.000360 USD · \d+\.\d s",
                r"## Standings by borda",
                r"## Synthesis: 1 of 1 answered · 120 tokens · 0\.000120 USD · \d+\.\d s",
                r"## Total: 7 calls, 0 failed · 840 tokens · 0\.000840 USD · \d+\.\d s"],
}  # fmt: skip


def strategy(seat: SeatMaker, kind: str, final: str = "a", seats: str = "", **options: Any) -> Any:
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
    panel = [seat(f"{name}{seats}", **prices) for name in "pqr"]
    if kind == "moa":
        return lab.MoA(aggregator=seat(final, **prices), proposers=panel, **options)
    return lab.Council(chairman=seat(final, **prices), members=panel, **options)


def headings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("## ")]


def untimed(text: str) -> str:
    return re.sub(r"\d+\.\d s", "- s", text)


@pytest.mark.parametrize("kind", HEADINGS)
def test_every_stage_has_a_heading_with_what_it_took(seat: SeatMaker, kind: str) -> None:
    trace = strategy(seat, kind).run(ASK).trace
    found = headings(trace.reasoning)
    assert len(found) == len(HEADINGS[kind])
    for line, pattern in zip(found, HEADINGS[kind], strict=True):
        assert re.fullmatch(pattern, line), line
    for call in trace.calls:
        assert f"{call.role} {call.seat + 1} · {call.name}: " in trace.reasoning
        if call.role != "reviewer":  # reviews are told in the labels that all share
            assert " ".join((call.text or "").split())[:60] in trace.reasoning


@pytest.mark.parametrize("kind", HEADINGS)
def test_compact_is_bounded_and_full_is_whole(seat: SeatMaker, kind: str) -> None:
    compact = strategy(seat, kind, seats="+content_kb=30").run(ASK).trace
    assert 500 < len(compact.reasoning) < 5_000
    full = strategy(seat, kind, seats="+content_kb=30", reasoning="full").run(ASK).trace
    assert len(full.reasoning) > 90_000
    last_lines = [(call.text or "").splitlines()[-1] for call in full.calls if call.role != "reviewer"]
    assert all(f"> {line}" in full.reasoning for line in last_lines)


def test_compact_is_bounded_however_many_the_calls(seat: SeatMaker) -> None:
    moa = lab.MoA(aggregator=seat("a"), proposers=[seat("p")], samples=40, layers=3)
    reasoning = moa.run(ASK).trace.reasoning
    assert len(reasoning) < 5_000
    assert len(headings(reasoning)) == 5
    assert " more\n" in reasoning


@pytest.mark.parametrize("detail", ["compact", "full", "none"])
@pytest.mark.parametrize("kind", HEADINGS)
@pytest.mark.parametrize("final", ["a", "a+reasoning", "a+think=open"])
def test_a_stream_tells_the_same_section_by_section(
    seat: SeatMaker, kind: str, detail: Any, final: str
) -> None:
    asked = strategy(seat, kind, final=final, reasoning=detail)
    whole = asked.run(ASK).trace.reasoning
    events = list(asked.stream(ASK))
    assert untimed(events_as_chunks(events).reasoning) == untimed(whole)
    last = events[-1]
    assert isinstance(last, lab.Finished)
    assert untimed(last.result.trace.reasoning) == untimed(whole)


@pytest.mark.parametrize("stream", [False, True])
def test_none_leaves_the_final_models_own_reasoning_as_a_plain_model_has_it(
    endpoint: dict[str, str], stream: bool
) -> None:
    for model, own in (("a", ""), ("a+reasoning", "Thinking about")):
        request: dict[str, Any] = {
            "model": f"composite/moa/openai/{model}", "messages": ASK, "reasoning": "none", **endpoint
        }  # fmt: skip
        if stream:
            deltas = [chunk.choices[0].delta for chunk in litellm.completion(stream=True, **request)]
            told = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
        else:
            message = litellm.completion(**request).choices[0].message
            told = getattr(message, "reasoning_content", None) or ""
        assert told.startswith(own)
        assert bool(told) is bool(own)
        assert "##" not in told


def test_the_stages_of_a_tool_conversation_are_all_told(seat: SeatMaker) -> None:
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    moa = lab.MoA(
        aggregator=seat("a+reasoning"), proposers=[seat("p")], tool_executor={"add": lambda a, b: a + b}
    )
    question = 'Please use add {"a": 2, "b": 3}.'
    whole = moa.run(question, tools=tools).trace.reasoning
    streamed = events_as_chunks(moa.stream(question, tools=tools)).reasoning
    assert untimed(streamed) == untimed(whole)
    assert [line.partition(":")[0] for line in headings(whole)] == [
        "## Proposals", "## Reasoning of the aggregator, openai/a+reasoning", "## Aggregation", "## Tool",
        "## Reasoning of the aggregator, openai/a+reasoning", "## Aggregation, round 2", "## Total",
    ]  # fmt: skip
    assert 'calls add({"a": 2, "b": 3})' in whole


def test_an_unknown_detail_is_refused(seat: SeatMaker) -> None:
    with pytest.raises(lab.ConfigError, match=r"reasoning: .*compact.*full.*none"):
        strategy(seat, "moa", reasoning="short")
