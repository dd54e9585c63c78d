"""`litellm.completion(model="composite/…")` and its kin, through real LiteLLM over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import litellm
import pytest

import composite_lab as lab
from composite_lab.testing import FakeServer
from tests.conftest import CallbackLog

ASK = [{"role": "user", "content": "Why is the sky dark at night?"}]
TOOLS = [
    {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
]


@pytest.mark.parametrize(
    ("model", "calls"),
    [("composite/moa/openai/a", 4), ("composite/council/openai/a", 7), ("composite/moa/openai/org/a", 4)],
)
def test_an_answer_carries_text_reasoning_usage_and_totals(
    fake_openai: FakeServer, endpoint: dict[str, str], model: str, calls: int
) -> None:
    response = litellm.completion(model=model, messages=ASK, **endpoint)
    message = response.choices[0].message
    assert message.content
    assert message.reasoning_content.startswith(("## Proposals", "## Opinions"))
    assert response.model == model
    assert response.choices[0].finish_reason == "stop"
    assert fake_openai.stats().total == calls
    assert response.usage.total_tokens == fake_openai.stats().total_tokens
    assert response.usage.prompt_tokens_details.cached_tokens == 10 * calls
    assert response.usage.completion_tokens_details.reasoning_tokens == 5 * calls
    told = message.provider_specific_fields["composite"]
    trace = lab.trace_of(response)
    assert (told["trace_id"], told["calls"], told["strategy"]) == (trace.trace_id, calls, trace.strategy)
    assert len(trace.to_dataframe()) == calls
    assert trace.text == message.content


def test_acompletion_answers_alike(endpoint: dict[str, str]) -> None:
    response = asyncio.run(litellm.acompletion(model="composite/moa/openai/a", messages=ASK, **endpoint))
    again = litellm.completion(model="composite/moa/openai/a", messages=ASK, **endpoint)
    assert response.choices[0].message.content == again.choices[0].message.content
    assert len(lab.trace_of(response).calls) == 4


@pytest.mark.parametrize("nest", [lambda o: o, lambda o: {"optional_params": o}, lambda o: {"extra_body": o}])
def test_options_arrive_as_keywords_nested_or_in_the_extra_body(
    fake_openai: FakeServer, endpoint: dict[str, str], nest: Any
) -> None:
    options = {"proposers": ["openai/p", {"model": "openai/q", "temperature": 0.25}], "layers": 2}
    litellm.completion(model="composite/moa/openai/a", messages=ASK, **nest(options), **endpoint)
    assert fake_openai.stats().by_model == {"p": 2, "q": 2, "a": 1}
    assert {r.body.get("temperature") for r in fake_openai.requests() if r.model == "q"} == {0.25}


def test_the_older_spellings_of_the_councils_options_are_understood(
    fake_openai: FakeServer, endpoint: dict[str, str]
) -> None:
    litellm.completion(
        model="composite/council/openai/ignored",
        messages=ASK,
        council_models=["openai/m0", "openai/m1"],
        review_models=["openai/r"],
        chairman_model="openai/c",
        **endpoint,
    )
    assert fake_openai.stats().by_model == {"m0": 1, "m1": 1, "r": 1, "c": 1}


def test_parameters_of_the_caller_reach_the_final_call_only(
    fake_openai: FakeServer, endpoint: dict[str, str]
) -> None:
    params = {
        "temperature": 0.3, "max_tokens": 50, "seed": 9, "n": 2, "stop": ["END"], "top_p": 0.8,
        "logprobs": True, "tools": TOOLS, "tool_choice": "none", "response_format": {"type": "json_object"},
        "user": "somebody",
    }  # fmt: skip
    messages = [{"role": "user", "content": "Answer in JSON: why?"}]
    litellm.completion(model="openai/a", messages=messages, **params, **endpoint)
    litellm.completion(
        model="composite/moa/openai/a", messages=messages, samples=1, num_retries=0, metadata={"mine": 1},
        **params, **endpoint,
    )  # fmt: skip
    plain, proposal, final = (request.body for request in fake_openai.requests())
    assert proposal.keys() == {"model", "messages"}
    assert {**final, "messages": None} == {**plain, "messages": None}
    assert {"temperature", "max_tokens", "seed", "n", "stop", "tools"} <= final.keys()


def test_all_choices_of_n_come_back(endpoint: dict[str, str]) -> None:
    response = litellm.completion(model="composite/moa/openai/a", messages=ASK, samples=1, n=3, **endpoint)
    assert [choice.index for choice in response.choices] == [0, 1, 2]
    assert all(choice.message.content for choice in response.choices)


def test_tool_calls_of_the_final_model_go_to_the_client(
    fake_openai: FakeServer, endpoint: dict[str, str]
) -> None:
    messages = [{"role": "user", "content": 'Please use look_up {"word": "sky"}'}]
    response = litellm.completion(model="composite/moa/openai/a", messages=messages, tools=TOOLS, **endpoint)
    assert response.choices[0].finish_reason == "tool_calls"
    (call,) = response.choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("look_up", '{"word": "sky"}')
    assert ["tools" in request.body for request in fake_openai.requests()] == [False] * 3 + [True]


def test_the_cost_is_where_litellms_callbacks_and_users_look(
    endpoint: dict[str, str], callback_log: CallbackLog
) -> None:
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    litellm.register_model({"openai/priced": {**prices, "litellm_provider": "openai", "mode": "chat"}})
    response = litellm.completion(model="composite/moa/openai/priced", messages=ASK, **endpoint)
    cost = lab.trace_of(response).cost_usd
    assert cost == pytest.approx(4 * (90 * 1e-6 + 10 * 1e-6 + 20 * 2e-6))
    assert response._hidden_params["response_cost"] == cost
    assert response.usage.cost == cost
    (event,) = callback_log.wait_for(1, custom_llm_provider="composite")
    assert event["standard_logging_object"]["response_cost"] == pytest.approx(cost)
    assert event["standard_logging_object"]["total_tokens"] == response.usage.total_tokens


def test_the_routers_models_may_be_composites(fake_openai: FakeServer, endpoint: dict[str, str]) -> None:
    router = litellm.Router(
        model_list=[
            {
                "model_name": "panel",
                "litellm_params": {
                    "model": "composite/moa/openai/a",
                    "proposers": ["openai/p", "openai/q"],
                    **endpoint,
                },
            }
        ]
    )
    response = router.completion(model="panel", messages=ASK)
    assert response.choices[0].message.content
    assert fake_openai.stats().by_model == {"p": 1, "q": 1, "a": 1}
    streamed = asyncio.run(_read(router))
    assert "".join(streamed)


async def _read(router: litellm.Router) -> list[str]:
    stream = await router.acompletion(model="panel", messages=ASK, stream=True)
    return [chunk.choices[0].delta.content or "" async for chunk in stream]


def test_the_responses_api_reaches_a_composite(fake_openai: FakeServer, endpoint: dict[str, str]) -> None:
    response = litellm.responses(
        model="composite/moa/openai/a", input="Why is the sky dark at night?", **endpoint
    )
    texts = [part.text for item in response.output if item.type == "message" for part in item.content]
    assert "".join(texts)
    assert response.usage.total_tokens == fake_openai.stats().total_tokens
    assert fake_openai.stats().total == 4


def test_the_anthropic_messages_api_reaches_a_composite(
    fake_openai: FakeServer, endpoint: dict[str, str]
) -> None:
    async def ask() -> Any:
        return await litellm.anthropic.messages.acreate(
            model="composite/moa/openai/a", messages=ASK, max_tokens=100, **endpoint
        )

    response = asyncio.run(ask())
    assert any(part.get("type") == "text" and part["text"] for part in response["content"])
    assert fake_openai.stats().by_model == {"a": 4}
    assert [request.body.get("max_tokens") for request in fake_openai.requests()] == [None] * 3 + [100]


def test_batch_completion_runs_composites_side_by_side(
    fake_openai: FakeServer, endpoint: dict[str, str]
) -> None:
    batch = [[{"role": "user", "content": f"Question {number}"}] for number in range(3)]
    responses = litellm.batch_completion(model="composite/moa/openai/a", messages=batch, **endpoint)
    assert all(response.choices[0].message.content for response in responses)
    assert len({lab.trace_of(response).trace_id for response in responses}) == 3
    assert fake_openai.stats().total == 12


def test_an_image_message_goes_through_to_every_model(
    fake_openai: FakeServer, endpoint: dict[str, str]
) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}]
    litellm.completion(model="composite/council/openai/a", messages=messages, **endpoint)
    for request in fake_openai.requests():
        assert request.messages[0]["content"][:2] == messages[0]["content"]


def test_an_answer_sent_back_as_history_does_not_carry_what_the_seats_said(
    fake_openai: FakeServer, endpoint: dict[str, str]
) -> None:
    first = litellm.completion(model="composite/moa/openai/a", messages=ASK, **endpoint)
    fake_openai.reset()
    history = [*ASK, first.choices[0].message, {"role": "user", "content": "Are you sure?"}]
    litellm.completion(model="composite/moa/openai/a", messages=history, **endpoint)
    for request in fake_openai.requests():
        assert request.messages[1] == {"role": "assistant", "content": first.choices[0].message.content}


def test_registering_again_changes_nothing_and_keeps_other_providers(endpoint: dict[str, str]) -> None:
    other = {"provider": "other-provider", "custom_handler": litellm.CustomLLM()}
    before = litellm.custom_provider_map
    litellm.custom_provider_map = [other, *before]
    try:
        lab.register()
        lab.register()
        providers = [item["provider"] for item in litellm.custom_provider_map]
        assert providers == ["other-provider", "composite"]
        assert litellm.completion(model="composite/moa/openai/a", messages=ASK, **endpoint).choices
    finally:
        litellm.custom_provider_map = before


def test_a_composite_response_from_the_cache_keeps_its_totals(
    endpoint: dict[str, str], no_litellm_cache: None
) -> None:
    from litellm.caching.caching import Cache

    first = litellm.completion(model="composite/moa/openai/a", messages=ASK, **endpoint)
    del first
    litellm.cache = Cache()
    asked = [
        litellm.completion(model="composite/moa/openai/a", messages=ASK, caching=True, **endpoint)
        for _ in range(2)
    ]
    told = [
        response.choices[0].message.provider_specific_fields["composite"]["trace_id"] for response in asked
    ]
    assert told[0] == told[1]
