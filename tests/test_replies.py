"""A LiteLLM response, read: its message, its answer, its token counts and its price."""

from __future__ import annotations

from typing import Any

import litellm
import pytest

from composite_lab import Seat
from composite_lab.replies import price, read_answer, read_message, read_usage

CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"place": "Oslo"}'}}
MISSING = {"usage_source": "missing"}
USAGE = {
    "prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100, "cached_tokens": None,
    "usage_source": "provider",
}  # fmt: skip
PRICED = Seat(model="openai/a", input_cost_per_token=0.01, output_cost_per_token=0.1)


def response(message: dict[str, Any], finish_reason: str = "stop", **fields: Any) -> litellm.ModelResponse:
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", **message}}
    return litellm.ModelResponse(model="gpt-4o-2024", choices=[choice], **fields)


def answer_in(reply: litellm.ModelResponse) -> dict[str, Any]:
    return read_answer(reply, reply._hidden_params)


def test_message_is_a_plain_dict_without_empty_fields() -> None:
    assert read_message(response({"content": "Hi.", "tool_calls": []})) == {
        "role": "assistant",
        "content": "Hi.",
    }
    assert read_message(response({"content": None, "tool_calls": [CALL]})) == {
        "role": "assistant",
        "tool_calls": [CALL],
    }


def test_message_keeps_fields_of_one_provider() -> None:
    blocks = [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}]
    assert read_message(response({"content": "Hi.", "thinking_blocks": blocks}))["thinking_blocks"] == blocks


def test_answer_holds_text_reasoning_finish_reason_and_model() -> None:
    assert answer_in(response({"content": "Hi.", "reasoning_content": "Hm."}, "length")) == {
        "text": "Hi.",
        "reasoning": "Hm.",
        "tool_calls": [],
        "extras": {},
        "finish_reason": "length",
        "response_model": "gpt-4o-2024",
        "cache_hit": False,
    }


def test_answer_of_tool_calls_has_no_text() -> None:
    answer = answer_in(response({"content": None, "tool_calls": [CALL]}, "tool_calls"))
    assert (answer["text"], answer["tool_calls"]) == (None, [CALL])


def test_answer_from_a_cache_says_so() -> None:
    cached = response({"content": "Hi."})
    cached._hidden_params["cache_hit"] = True
    assert answer_in(cached)["cache_hit"] is True


def test_lone_surrogates_are_in_no_part_of_an_answer() -> None:
    broken = {**CALL, "function": {"name": "look_up", "arguments": '{"place": "\ud83d"}'}}
    message = {"content": "a\ud83d", "reasoning_content": "b\ud83d", "tool_calls": [broken]}
    answer = answer_in(response(message))
    assert answer["text"] == "a?"
    assert answer["reasoning"] == "b?"
    answer["tool_calls"][0]["function"]["arguments"].encode()


def test_response_without_choices_is_an_answer_without_text() -> None:
    assert answer_in(litellm.ModelResponse(model="gpt-4o", choices=[]))["text"] is None


def test_usage_holds_all_five_counts() -> None:
    usage = {
        "prompt_tokens": 50,
        "completion_tokens": 30,
        "total_tokens": 80,
        "prompt_tokens_details": {"cached_tokens": 20},
        "completion_tokens_details": {"reasoning_tokens": 10},
    }
    assert read_usage(response({"content": "Hi."}, usage=usage)) == {
        "prompt_tokens": 50,
        "completion_tokens": 30,
        "total_tokens": 80,
        "cached_tokens": 20,
        "reasoning_tokens": 10,
        "usage_source": "provider",
    }


def test_counts_that_were_not_reported_are_none_and_not_zero() -> None:
    usage = {"prompt_tokens": 50, "completion_tokens": 30, "total_tokens": 80}
    counts = read_usage(response({"content": "Hi."}, usage=usage))
    assert (counts["cached_tokens"], counts["reasoning_tokens"]) == (None, None)


@pytest.mark.parametrize(
    "fields", [{}, {"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}]
)
def test_usage_that_is_not_there_or_empty_is_missing(fields: dict[str, Any]) -> None:
    assert read_usage(response({"content": "Hi."}, **fields)) == MISSING


def test_usage_without_a_total_is_used_all_the_same() -> None:
    counts = read_usage(response({"content": "Hi."}, usage={"prompt_tokens": 50, "completion_tokens": 30}))
    assert (counts["prompt_tokens"], counts["completion_tokens"]) == (50, 30)
    assert (counts.get("total_tokens"), counts["usage_source"]) == (80, "provider")


@pytest.mark.parametrize(
    ("seat", "usage", "litellm_cost", "cost_usd", "cost_source"),
    [
        (PRICED, USAGE, None, 20.0, "user"),
        (PRICED, USAGE, 5.0, 20.0, "user"),
        (PRICED, MISSING, 5.0, None, "missing"),
        (PRICED, USAGE | {"cached_tokens": 400}, None, 20.0, "user"),
        (Seat(model="openai/a"), USAGE, 5.0, 5.0, "litellm"),
        (Seat(model="openai/a"), USAGE, 0.0, 0.0, "litellm"),
        (Seat(model="openai/a"), USAGE, None, None, "missing"),
        (Seat(model="openai/a"), MISSING, 5.0, None, "missing"),
        (Seat(model="openai/a"), MISSING, None, None, "missing"),
    ],
)
def test_price_is_the_seats_own_then_litellms_then_unknown(
    seat: Seat, usage: dict[str, Any], litellm_cost: float | None, cost_usd: float | None, cost_source: str
) -> None:
    money = price(seat, usage, litellm_cost, cache_hit=False)
    assert money["cost_usd"] == (None if cost_usd is None else pytest.approx(cost_usd))
    assert money["cost_source"] == cost_source


@pytest.mark.parametrize("seat", [PRICED, Seat(model="openai/a")])
@pytest.mark.parametrize("usage", [USAGE, MISSING])
def test_answer_from_a_cache_is_free_whatever_the_prices(seat: Seat, usage: dict[str, Any]) -> None:
    assert price(seat, usage, 5.0, cache_hit=True) == {"cost_usd": 0.0, "cost_source": "cache"}


def test_cached_tokens_cost_their_own_price_where_one_is_stated() -> None:
    seat = PRICED.model_copy(update={"cache_read_input_token_cost": 0.001})
    money = price(seat, USAGE | {"cached_tokens": 400}, None, False)
    assert money["cost_usd"] == pytest.approx(600 * 0.01 + 400 * 0.001 + 100 * 0.1)


def test_stated_price_of_zero_is_free_and_known() -> None:
    free = Seat(model="openai/a", input_cost_per_token=0, output_cost_per_token=0)
    assert price(free, USAGE, 5.0, False) == {"cost_usd": 0.0, "cost_source": "user"}
