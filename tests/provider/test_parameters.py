"""Parameters are those of the final model: asked of LiteLLM beforehand, handed on as they were given."""

from __future__ import annotations

import asyncio
from typing import Any

import litellm
import pytest
from pydantic import BaseModel

import composite_lab as lab
from composite_lab.testing import FakeServer

ASK = [{"role": "user", "content": "Why is the sky dark at night?"}]
MODEL = "composite/moa/openai/m"
THINKING = {"type": "enabled", "budget_tokens": 1024}


class Answer(BaseModel):
    """A form to be filled in."""

    answer: str


def sent(server: FakeServer, model: str = "m") -> dict[str, Any]:
    """The body of the last request to a model, without its messages."""
    body = [request.body for request in server.requests() if request.model == model][-1]
    return {name: value for name, value in body.items() if name not in ("messages", "model")}


@pytest.mark.parametrize("params", [{"thinking": THINKING}, {"verbosity": "low"}])
def test_what_litellm_refuses_to_send_is_refused_before_anything_is_paid_for(
    fake_openai: FakeServer, endpoint: dict[str, str], params: dict[str, Any]
) -> None:
    with pytest.raises(litellm.UnsupportedParamsError) as plain:
        litellm.completion(model="openai/m", messages=ASK, **params, **endpoint)
    with pytest.raises(litellm.UnsupportedParamsError) as ours:
        litellm.completion(model=MODEL, messages=ASK, proposers=["openai/p"], **params, **endpoint)
    assert str(ours.value) == str(plain.value)
    moa = lab.MoA(aggregator=lab.Seat(model="openai/m", **endpoint))
    with pytest.raises(lab.ConfigError, match="openai does not support parameters"):
        moa.run(ASK, **params)
    assert fake_openai.stats().total == 0
    litellm.completion(model=MODEL, messages=ASK, drop_params=True, **params, **endpoint)
    assert sent(fake_openai) == {}


@pytest.mark.parametrize(
    "params",
    [
        {"top_k": 5, "min_tokens": 3},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"extra_body": {"reasoning": {"effort": "low"}, "top_k": 5}},
        {"extra_body": {"verbosity": "low"}},  # which LiteLLM would refuse to send by itself
        {"guided_json": {"type": "object"}, "best_of": 2},
        {"reasoning": {"effort": "low"}},
    ],
)
def test_what_nobody_here_knows_goes_to_the_final_model_as_litellm_hands_it_on(
    fake_openai: FakeServer, endpoint: dict[str, str], params: dict[str, Any]
) -> None:
    litellm.completion(model="openai/m", messages=ASK, **params, **endpoint)
    alone = sent(fake_openai)
    assert alone
    litellm.completion(model=MODEL, messages=ASK, proposers=["openai/p"], **params, **endpoint)
    assert sent(fake_openai) == alone
    assert sent(fake_openai, "p") == {}


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("proposer", "proposers"), ("layer", "layers"), ("sample", "samples"), ("agregator", "aggregator"),
     ("max_cost", "max_cost_usd"), ("reasonings", "reasoning"), ("temprature", "temperature"),
     ("max_token", "max_tokens")],
)  # fmt: skip
@pytest.mark.parametrize("nested", [False, True])
def test_a_misspelt_option_is_refused_wherever_it_stands(
    fake_openai: FakeServer, endpoint: dict[str, str], typo: str, meant: str, nested: bool
) -> None:
    given: dict[str, Any] = {"extra_body": {typo: 1}} if nested else {typo: 1}
    with pytest.raises(litellm.BadRequestError, match=f"unknown option '{typo}': did you mean '{meant}'"):
        litellm.completion(model=MODEL, messages=ASK, **given, **endpoint)
    assert fake_openai.stats().total == 0


def test_an_option_of_the_other_strategy_is_refused(
    fake_openai: FakeServer, endpoint: dict[str, str]
) -> None:
    with pytest.raises(litellm.BadRequestError, match="unknown option 'members'"):
        litellm.completion(model=MODEL, messages=ASK, members=["openai/p"], **endpoint)
    assert fake_openai.stats().total == 0


def test_litellms_fallbacks_run_the_composite_first(
    fake_openai: FakeServer, endpoint: dict[str, str]
) -> None:
    asked = {
        "messages": ASK,
        "proposers": ["openai/p"],
        "retries": 0,
        "fallbacks": ["openai/other"],
        **endpoint,
    }
    answer = litellm.completion(model=MODEL, **asked)
    assert answer.model == MODEL
    assert fake_openai.stats().by_model == {"p": 1, "m": 1}
    assert sent(fake_openai) == {}
    answer = litellm.completion(model="composite/moa/openai/m+status=500", **asked)
    assert answer.choices[0].message.content
    assert fake_openai.stats().by_model["other"] == 1
    again = asyncio.run(litellm.acompletion(model=MODEL, **asked))
    assert again.model == MODEL


def test_reasoning_of_the_responses_and_the_messages_api_reaches_the_final_model(
    fake_openai: FakeServer, endpoint: dict[str, str]
) -> None:
    litellm.responses(model=MODEL, input="Why?", reasoning={"effort": "low"}, **endpoint)
    assert sent(fake_openai)["reasoning_effort"] == "low"

    async def ask(model: str) -> None:
        await litellm.anthropic.messages.acreate(
            model=model, messages=ASK, max_tokens=2000, thinking=THINKING, **endpoint
        )

    asyncio.run(ask("hosted_vllm/m"))
    alone = sent(fake_openai)
    asyncio.run(ask("composite/moa/hosted_vllm/m"))
    assert sent(fake_openai) == alone


def test_a_form_as_a_class_is_sent_as_its_schema(fake_openai: FakeServer, endpoint: dict[str, str]) -> None:
    for model in ("openai/m", MODEL):
        litellm.completion(model=model, messages=ASK, response_format=Answer, **endpoint)
    alone, composed = (
        request.body["response_format"]
        for request in fake_openai.requests()
        if "response_format" in request.body
    )
    assert composed == alone


def test_the_other_custom_providers_are_left_as_they_are() -> None:
    supported = litellm.OpenAILikeChatConfig().get_supported_openai_params
    assert "reasoning_effort" not in supported("some-model")
    assert "reasoning_effort" in supported("moa/openai/m")


def test_a_headers_value_reaches_the_final_model_only(
    fake_openai: FakeServer, endpoint: dict[str, str]
) -> None:
    litellm.completion(
        model=MODEL, messages=ASK, proposers=["openai/p"], extra_headers={"X-Mine": "1"}, **endpoint
    )
    assert [request.header("x-mine") for request in fake_openai.requests()] == [None, "1"]
