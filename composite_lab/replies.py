"""Reading a LiteLLM response: its answer, its token counts and its price.

Works on the response object alone and imports no LiteLLM.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from composite_lab.errors import EmptyAnswer
from composite_lab.redaction import plain, printable, printable_in
from composite_lab.seats import Seat
from composite_lab.trace.call import Call

MOST_TOKENS = 10**9
"""No reply has more tokens than this; what says so is no count."""
_ANSWER = {"role", "content", "reasoning_content", "tool_calls"}
"""What of a message has a field of its own in a Call; the rest are its `extras`."""


@dataclass
class Reply:
    """A sub-call that was answered: its Call, and LiteLLM's response.

    `notes` tells what of it is not as it should be.
    """

    call: Call
    response: Any
    notes: tuple[str, ...] = ()

    @property
    def emptiness(self) -> EmptyAnswer | None:
        """Why nobody can build on the answer, None if somebody can."""
        empty = self.call.error_type == EmptyAnswer.__name__
        return EmptyAnswer(self.call.error_message) if empty else None

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
    """The Call fields that hold the answer, from its text to whether it came from a cache.

    `hidden` is the response's `_hidden_params`, which pydantic takes long to find.
    """
    choice = response.choices[0] if response.choices else None
    # Not by getattr: LiteLLM deletes fields that are empty, and pydantic searches long for what is not there.
    message = vars(choice.message) if choice else {}
    text, reasoning = message.get("content"), message.get("reasoning_content")
    extras = _extras(choice) if choice else {}
    if len(response.choices or ()) > 1:
        others = [other.model_dump(exclude_none=True) for other in response.choices[1:]]
        extras["choices"] = printable_in(others)
    return {
        "text": _text(text),
        "reasoning": _text(reasoning),
        "tool_calls": read_message(response)["tool_calls"] if message.get("tool_calls") else [],
        "extras": extras,
        "finish_reason": _text(choice.finish_reason) if choice else None,
        "response_model": _text(response.model),
        "cache_hit": bool(hidden.get("cache_hit")),
    }


def _text(value: Any) -> str | None:
    """A text of a reply; what is none, from a server that keeps to no form, as JSON."""
    if value is None or isinstance(value, str):
        return printable(value) if value else value
    return printable(json.dumps(value, default=str))


def _extras(choice: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for source in (vars(choice.message), choice.message.model_extra or {}):
        for name, value in source.items():
            if value and name not in _ANSWER:
                found[name] = plain(value)
    if logprobs := vars(choice).get("logprobs"):
        found["logprobs"] = plain(logprobs)
    return printable_in(found) if found else found


def emptiness(facts: Mapping[str, Any], *, may_call_tools: bool) -> str | None:
    """Why an answer with these Call fields holds nothing to go on with; None when it holds something."""
    extras = facts.get("extras") or {}
    if _says_something(facts.get("text"), facts.get("tool_calls") if may_call_tools else None, extras):
        return None
    others = [choice.get("message") or {} for choice in extras.get("choices") or []]
    if any(_says_something(other.get("content"), other.get("tool_calls"), other) for other in others):
        return None
    reason = facts.get("finish_reason")
    refusal = extras.get("refusal") or (extras.get("provider_specific_fields") or {}).get("refusal")
    if refusal:
        why = f"it refused: {refusal}"
    elif reason == "content_filter":
        why = "the provider's content filter stopped it"
    elif reason == "length":
        spent, thought = facts.get("completion_tokens"), facts.get("reasoning_tokens")
        used = "its tokens" if spent is None else f"its {spent} tokens"
        why = f"{used} were used up before any text{f', {thought} of them by thinking' if thought else ''}"
    elif facts.get("tool_calls"):
        why = "it called tools that it was not given"
    elif facts.get("reasoning"):
        why = "all that it gave is reasoning"
    else:
        why = "the text is empty" if reason else "the reply holds nothing"
    return f"{why} (finish_reason {reason!r})"


def _says_something(text: Any, tool_calls: Any, message: Mapping[str, Any]) -> bool:
    if isinstance(text, str) and text.strip():
        return True
    return bool(tool_calls) or any(message.get(name) for name in ("images", "audio", "function_call"))


def read_usage(response: Any) -> dict[str, Any]:
    """The Call fields that hold token counts; cached and reasoning tokens are part of the others.

    Counts that cannot be (negative, no whole number, more than any model writes) are not told at all.
    """
    usage = getattr(response, "usage", None)
    prompt, completion = (_count(usage, name) for name in ("prompt_tokens", "completion_tokens"))
    if prompt is None or completion is None or not (prompt or completion):
        return {"usage_source": "missing"}
    total = _count(usage, "total_tokens")
    cached = _count(getattr(usage, "prompt_tokens_details", None), "cached_tokens")
    thought = _count(getattr(usage, "completion_tokens_details", None), "reasoning_tokens")
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total or prompt + completion,
        "cached_tokens": None if cached is None else min(cached, prompt),
        "reasoning_tokens": None if thought is None else min(thought, completion),
        "usage_source": "provider",
    }


def _count(counts: Any, name: str) -> int | None:
    value = getattr(counts, name, None)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        count = int(value)
    except (ValueError, OverflowError):
        return None
    return count if 0 <= count <= MOST_TOKENS and (isinstance(value, str) or count == value) else None


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
    known = litellm_cost is not None and isfinite(litellm_cost) and litellm_cost >= 0
    if not known or usage["usage_source"] == "missing":  # the price of tokens that nobody counted
        return {"cost_usd": None, "cost_source": "missing"}
    return {"cost_usd": litellm_cost, "cost_source": "litellm"}
