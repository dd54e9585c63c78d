"""Reading a LiteLLM response: its answer, its token counts and its price.

Works on the response object alone and imports no LiteLLM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from composite_lab.redaction import printable, printable_in
from composite_lab.seats import Seat
from composite_lab.trace.call import Call


@dataclass
class Reply:
    """A sub-call that succeeded: its Call, and LiteLLM's response."""

    call: Call
    response: Any

    @property
    def text(self) -> str:
        """The answer's text, empty when the model only called tools."""
        return self.call.text or ""


def read_message(response: Any) -> dict[str, Any]:
    """The first choice's message as a plain dict without empty fields."""
    if not response.choices:
        return {"role": "assistant", "content": None}
    plain = printable_in(response.choices[0].message.model_dump(exclude_none=True))
    return {name: value for name, value in plain.items() if value not in ([], {})}


def read_answer(response: Any, hidden: Mapping[str, Any]) -> dict[str, Any]:
    """The Call fields that hold the answer: text, reasoning, tool calls, finish reason, model, cache hit.

    `hidden` is the response's `_hidden_params`, which pydantic takes long to find.
    """
    choice = response.choices[0] if response.choices else None
    # Not by getattr: LiteLLM deletes fields that are empty, and pydantic searches long for what is not there.
    message = vars(choice.message) if choice else {}
    text, reasoning = message.get("content"), message.get("reasoning_content")
    return {
        "text": printable(text) if text else text,
        "reasoning": printable(reasoning) if reasoning else reasoning,
        "tool_calls": read_message(response)["tool_calls"] if message.get("tool_calls") else [],
        "finish_reason": choice.finish_reason if choice else None,
        "response_model": response.model,
        "cache_hit": bool(hidden.get("cache_hit")),
    }


def read_usage(response: Any) -> dict[str, Any]:
    """The Call fields that hold token counts; cached and reasoning tokens are part of the others."""
    usage = getattr(response, "usage", None)
    if usage is None or not (usage.prompt_tokens or usage.completion_tokens):
        return {"usage_source": "missing"}
    prompt_details = getattr(usage, "prompt_tokens_details", None)
    completion_details = getattr(usage, "completion_tokens_details", None)
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens or usage.prompt_tokens + usage.completion_tokens,
        "cached_tokens": getattr(prompt_details, "cached_tokens", None),
        "reasoning_tokens": getattr(completion_details, "reasoning_tokens", None),
        "usage_source": "provider",
    }


def price(seat: Seat, usage: dict[str, Any], litellm_cost: float | None, cache_hit: bool) -> dict[str, Any]:
    """The Call fields that hold the cost in USD: the seat's own prices first, then LiteLLM's."""
    if cache_hit:
        return {"cost_usd": 0.0, "cost_source": "cache"}
    if seat.input_cost_per_token is not None and seat.output_cost_per_token is not None:
        if usage.get("prompt_tokens") is None:
            return {"cost_usd": None, "cost_source": "missing"}
        cached = usage["cached_tokens"] or 0
        cached_price = seat.cache_read_input_token_cost
        if cached_price is None:
            cached_price = seat.input_cost_per_token
        cost = (
            (usage["prompt_tokens"] - cached) * seat.input_cost_per_token
            + cached * cached_price
            + usage["completion_tokens"] * seat.output_cost_per_token
        )
        return {"cost_usd": cost, "cost_source": "user"}
    if litellm_cost is None:
        return {"cost_usd": None, "cost_source": "missing"}
    return {"cost_usd": litellm_cost, "cost_source": "litellm"}
