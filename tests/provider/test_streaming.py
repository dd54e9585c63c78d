"""Streams of a composite through real LiteLLM: the order of chunks, and what they add up to."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import litellm
import pytest

import composite_lab as lab
from composite_lab.testing import FakeServer

ASK = [{"role": "user", "content": "Why is the sky dark at night?"}]
MODEL = "composite/moa/openai/a"


def untimed(reasoning: str) -> str:
    """A text of the stages as it is in every run: without seconds, and without the end's white space."""
    return re.sub(r"\d+\.\d s", "- s", reasoning).strip()


def read(stream: Any) -> list[Any]:
    return list(stream)


def read_async(**request: Any) -> tuple[Any, list[Any]]:
    async def run() -> tuple[Any, list[Any]]:
        stream = await litellm.acompletion(stream=True, **request)
        return stream, [chunk async for chunk in stream]

    return asyncio.run(run())


def chunks_of(way: str, **request: Any) -> tuple[Any, list[Any]]:
    if way == "async":
        return read_async(**request)
    stream = litellm.completion(stream=True, **request)
    return stream, list(stream)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_reasoning_comes_stage_by_stage_then_the_answer_then_the_end(
    endpoint: dict[str, str], way: str
) -> None:
    _, chunks = chunks_of(way, model="composite/council/openai/a", messages=ASK, **endpoint)
    deltas = [chunk.choices[0].delta for chunk in chunks]
    reasoning = [delta.reasoning_content for delta in deltas if getattr(delta, "reasoning_content", None)]
    headings = ["Opinions: 3 of 3 answered · 360 tokens", "Review: 3 of 3 answered · 360 tokens"]
    headings += ["Standings by borda", "Synthesis: 1 of 1 answered · 120 tokens", "Total: 7 calls, 0 failed"]
    told = [text.strip().splitlines()[0] for text in reasoning]
    assert [text.startswith(f"## {heading}") for text, heading in zip(told, headings, strict=True)] == [
        True
    ] * 5, told
    texts = [number for number, delta in enumerate(deltas) if delta.content]
    thoughts = [number for number, d in enumerate(deltas) if getattr(d, "reasoning_content", None)]
    assert max(thoughts[:3]) < min(texts)
    assert max(texts) < min(thoughts[3:])
    assert sum(bool(delta.content) for delta in deltas) > 1
    assert [chunk.choices[0].finish_reason for chunk in chunks].count("stop") == 1
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert [delta.role for delta in deltas if delta.role] == ["assistant"]


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_stream_adds_up_to_the_plain_answer(
    fake_openai: FakeServer, endpoint: dict[str, str], way: str
) -> None:
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    litellm.register_model({"openai/priced": {**prices, "litellm_provider": "openai", "mode": "chat"}})
    model = "composite/moa/openai/priced"
    plain = litellm.completion(model=model, messages=ASK, **endpoint)
    stream, chunks = chunks_of(way, model=model, messages=ASK, **endpoint)
    built = litellm.stream_chunk_builder(chunks)
    assert built.choices[0].message.content == plain.choices[0].message.content
    told = plain.choices[0].message.reasoning_content
    assert untimed(built.choices[0].message.reasoning_content) == untimed(told)
    assert built.usage.total_tokens == plain.usage.total_tokens == 4 * 120
    assert built.usage.prompt_tokens_details.cached_tokens == 40
    assert built.choices[0].message.provider_specific_fields["composite"]["calls"] == 4
    trace = lab.trace_of(stream)
    assert trace.cost_usd == pytest.approx(plain.usage.cost)
    assert len(trace.calls) == 4


def test_usage_with_the_cost_comes_when_it_is_asked_for(endpoint: dict[str, str]) -> None:
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    litellm.register_model({"openai/priced": {**prices, "litellm_provider": "openai", "mode": "chat"}})
    stream, chunks = read_async(
        model="composite/moa/openai/priced", messages=ASK, stream_options={"include_usage": True}, **endpoint
    )
    usages = [chunk.usage for chunk in chunks if getattr(chunk, "usage", None)]
    assert [usage.total_tokens for usage in usages] == [480]
    assert usages[0].cost == pytest.approx(lab.trace_of(stream).cost_usd)


def test_tool_calls_are_streamed_as_deltas(endpoint: dict[str, str]) -> None:
    tools = [
        {
            "type": "function",
            "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}},
        }
    ]
    messages = [{"role": "user", "content": 'Please use look_up {"word": "sky"}'}]
    _, chunks = chunks_of("sync", model=MODEL, messages=messages, tools=tools, **endpoint)
    built = litellm.stream_chunk_builder(chunks)
    (call,) = built.choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("look_up", '{"word": "sky"}')
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert sum(bool(chunk.choices[0].delta.tool_calls) for chunk in chunks) > 1


def test_the_final_models_own_reasoning_has_a_section_of_its_own(endpoint: dict[str, str]) -> None:
    request = {"model": "composite/moa/openai/a+reasoning", "messages": ASK, **endpoint}
    heading = "## Reasoning of the aggregator, openai/a+reasoning"
    plain = litellm.completion(**request)
    told = plain.choices[0].message.reasoning_content
    assert told.count(heading) == 1
    built = litellm.stream_chunk_builder(list(litellm.completion(stream=True, **request)))
    assert untimed(built.choices[0].message.reasoning_content) == untimed(told)


def test_an_error_before_the_first_chunk_has_its_own_class(
    fake_openai: FakeServer, endpoint: dict[str, str]
) -> None:
    with pytest.raises(litellm.BadRequestError, match="unknown option 'proposer'"):
        list(litellm.completion(model=MODEL, messages=ASK, stream=True, proposer=["x"], **endpoint))
    assert fake_openai.stats().total == 0


def test_a_failed_final_call_of_a_stream_carries_the_trace(endpoint: dict[str, str]) -> None:
    model = "composite/moa/openai/a+status=500"
    with pytest.raises(Exception) as caught:  # noqa: PT011  (LiteLLM wraps it in a class of its own)
        list(
            litellm.completion(
                model=model, messages=ASK, stream=True, proposers=["openai/p"], retries=0, **endpoint
            )
        )
    trace = lab.trace_of(caught.value)
    assert [(call.role, call.status) for call in trace.calls] == [("proposer", "ok"), ("aggregator", "error")]


@pytest.mark.parametrize(
    "model", ["composite/moa/composite/council/openai/a", "composite/council/composite/moa/openai/a"]
)
def test_a_composite_may_be_the_final_model_of_another(
    fake_openai: FakeServer, endpoint: dict[str, str], model: str
) -> None:
    plain = litellm.completion(model=model, messages=ASK, **endpoint)
    calls = fake_openai.stats().total
    assert lab.trace_of(plain).usage.total_tokens == calls * 120
    stream, chunks = chunks_of("async", model=model, messages=ASK, **endpoint)
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == plain.choices[0].message.content
    )
    assert lab.trace_of(stream).usage.total_tokens == calls * 120


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize("provider", ["openai", "hosted_vllm", "openrouter"])
def test_reasoning_is_found_under_both_of_its_names(
    endpoint: dict[str, str], provider: str, field: str
) -> None:
    seat = lab.Seat(model=f"{provider}/a+reasoning+reasoning_field={field}", **endpoint)
    moa = lab.MoA(aggregator=seat, proposers=[lab.Seat(model="openai/p", **endpoint)])
    whole = moa.run(ASK).trace.calls[-1].reasoning
    (streamed,) = [event.result for event in moa.stream(ASK) if isinstance(event, lab.Finished)]
    assert streamed.trace.calls[-1].reasoning == whole
    assert "Thinking about" in str(whole)
