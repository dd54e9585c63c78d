"""What LiteLLM's callbacks are told: every sub-call once, the sum marked as such, the caller's metadata."""

from __future__ import annotations

from typing import Any

import litellm
import pytest

import composite_lab as lab
from tests.conftest import CallbackLog

ASK = [{"role": "user", "content": "Why is the sky dark at night?"}]


@pytest.mark.parametrize("stream", [False, True])
def test_costs_add_up_once_without_the_event_that_is_marked_as_the_total(
    endpoint: dict[str, str], callback_log: CallbackLog, stream: bool
) -> None:
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    litellm.register_model({"openai/priced": {**prices, "litellm_provider": "openai", "mode": "chat"}})
    answer = litellm.completion(
        model="composite/moa/openai/priced", messages=ASK, stream=stream,
        metadata={"tenant": "acme", "tags": ["night"]}, **endpoint,
    )  # fmt: skip
    if stream:
        list(answer)
    trace = lab.trace_of(answer)
    callback_log.wait_for(1, custom_llm_provider="composite")
    callback_log.wait_for(4, custom_llm_provider="openai")
    events = [(event, event["litellm_params"]["metadata"]) for event in callback_log.events]
    totals = [event for event, told in events if told["composite_role"] == "total"]
    parts = [event for event, told in events if told["composite_role"] != "total"]
    assert [event["custom_llm_provider"] for event in totals] == ["composite"]
    assert sum(event["response_cost"] for event in parts) == pytest.approx(trace.cost_usd)
    assert totals[0]["response_cost"] == pytest.approx(trace.cost_usd)
    for _, told in events:
        assert (told["tenant"], told["tags"]) == ("acme", ["night"])
        assert told["composite_trace_id"] == trace.trace_id
    assert {tuple(event["standard_logging_object"]["request_tags"]) for event in parts} == {("night",)}


def test_metadata_of_a_run_reaches_the_events_of_its_calls(
    endpoint: dict[str, str], callback_log: CallbackLog
) -> None:
    moa = lab.MoA(aggregator=lab.Seat(model="openai/a", **endpoint), samples=1)
    moa.run("Why?", metadata={"tenant": "acme"})
    events = callback_log.wait_for(2, custom_llm_provider="openai")
    assert {event["litellm_params"]["metadata"]["tenant"] for event in events} == {"acme"}
    with pytest.raises(lab.ConfigError, match="metadata must be a dict"):
        moa.run("Why?", metadata="acme")


def test_what_a_proxy_says_of_its_clients_key_stays_with_the_composites_own_event(
    endpoint: dict[str, str], callback_log: CallbackLog
) -> None:
    metadata: dict[str, Any] = {
        "user_api_key": "hash", "user_api_key_team_id": "team", "model_group": "panel", "headers": {"a": "b"},
        "tenant": "acme",
    }  # fmt: skip
    litellm.completion(model="composite/moa/openai/a", messages=ASK, samples=1, metadata=metadata, **endpoint)
    for event in callback_log.wait_for(2, custom_llm_provider="openai"):
        told = event["litellm_params"]["metadata"]
        assert told["tenant"] == "acme"
        assert not {"user_api_key", "user_api_key_team_id", "model_group", "headers"} & told.keys()
