"""Earlier answers: how a request is recognised, and what a comparison keeps of its answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import litellm
from pydantic import BaseModel, ConfigDict, create_model

from composite_lab.gateway.models import recordable
from composite_lab.gateway.place import Place
from composite_lab.seats import Seat, is_secret_name, reveal
from composite_lab.trace.call import Call

KEY_VERSION = 1
"""Part of every key: raised when the way a request is sent changes what comes back."""
KEPT = (
    "response_model", "finish_reason", "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens",
    "reasoning_tokens", "usage_source", "text", "reasoning", "tool_calls",
    "extras",
)  # fmt: skip
"""The fields of a Call that its answer determines."""


class Request(NamedTuple):
    """A sub-call that is wanted: who is asked what, with which parameters, where in the run."""

    seat: Seat
    messages: list[dict[str, Any]]
    params: dict[str, Any]
    place: Place

    def key(self, repeat: int) -> str:
        """A hash of all that changes the answer, and of nothing else.

        Timeouts, retries, limits, prices, keys and names are not part of it.
        """
        seat = self.seat
        headers = {
            name: reveal(value) for name, value in seat.extra_headers.items() if not is_secret_name(name)
        }
        return digest(
            {
                "version": KEY_VERSION,
                "model": seat.model,
                "api_base": seat.api_base,
                "api_version": seat.api_version,
                "headers": headers,
                "messages": self.messages,
                "params": _schema(self.params),
                "draw": self.place.draw,
                "repeat": repeat,
            }
        )


@dataclass(frozen=True)
class Remembered:
    """An earlier answer: the fields of its Call, what it cost (USD), how long it took (s), the response."""

    facts: dict[str, Any]
    cost_usd: float | None
    latency_s: float
    response: dict[str, Any]

    @classmethod
    def of(cls, call: Call, response: Any) -> Remembered:
        """What is kept of an answer that has just come."""
        facts = {name: value for name in KEPT if (value := getattr(call, name)) not in (None, [], {})}
        return cls(facts, call.cost_usd, call.latency_s, json.loads(response.model_dump_json()))

    @classmethod
    def recorded(cls, call: Call, cost_usd: float | None) -> Remembered:
        """The answer that a trace holds; of LiteLLM's response only what the Call tells."""
        facts = {name: value for name in KEPT if (value := getattr(call, name)) not in (None, [], {})}
        message = {"role": "assistant", "content": call.text, "tool_calls": call.tool_calls or None}
        choice = {"index": 0, "finish_reason": call.finish_reason or "stop", "message": message}
        latency_s = call.original_latency_s if call.cost_source == "cache" else call.latency_s
        response = {"model": call.response_model or call.request_model, "choices": [choice]}
        return cls(facts, cost_usd, latency_s or 0.0, response)

    def check(self) -> None:
        """Raise `ValueError` or `TypeError` when no reply can be made of it: it comes from a file."""
        _Facts.model_validate(self.facts)
        _Paid.model_validate({"cost_usd": self.cost_usd, "latency_s": self.latency_s})
        choices = litellm.ModelResponse(**self.response).choices
        content = choices[0].message.content if choices else None
        if bool(content) != bool(self.facts.get("text")):
            raise ValueError("its text is missing")

    def as_fields(self) -> dict[str, Any]:
        """The fields of a Call that this answer stands for: nothing is paid now."""
        return self.facts | {
            "cost_usd": 0.0,
            "cost_source": "cache",
            "cache_hit": True,
            "original_cost_usd": self.cost_usd,
            "original_latency_s": self.latency_s,
        }


def _part_of_call(name: str, *fields: str) -> type[BaseModel]:
    """A model that takes these fields as a Call does, and no others."""
    taken: dict[str, Any] = {field: (Call.model_fields[field].annotation, None) for field in fields}
    return create_model(name, __config__=ConfigDict(extra="forbid", strict=True), **taken)


_Facts = _part_of_call("_Facts", *KEPT)
_Paid = _part_of_call("_Paid", "cost_usd", "latency_s")


class Memory(Protocol):
    """What a comparison puts around its runs: earlier answers, money and places they all share.

    `repeat` numbers the repeats of a run, so that each draws answers of its own.
    """

    repeat: int

    @property
    def has_cap(self) -> bool:
        """True when the money is bounded, so that every price must be known."""

    @property
    def is_pretence(self) -> bool:
        """True when answers are made up: nothing of the run is to be recorded."""

    async def recall(self, key: str, request: Request) -> Remembered | None:
        """The earlier answer, after waiting for whoever is paying for it just now.

        None gives the caller the right to pay; it then has to `remember` or to `let_go`.
        """

    def remember(self, key: str, answer: Remembered) -> None:
        """Keep an answer and hand it to those who wait for it."""

    def let_go(self, key: str) -> None:
        """No answer came; the next who waits may pay."""

    def check_budget(self) -> None:
        """Raise `BudgetExceeded` when nothing may be paid any more."""

    def slot(self) -> AbstractAsyncContextManager[Any]:
        """A place among the calls under way."""


MEMORY: ContextVar[Memory | None] = ContextVar("composite_lab_memory", default=None)


@contextmanager
def remembering(memory: Memory) -> Iterator[None]:
    """Calls inside of this ask the memory before they pay."""
    token = MEMORY.set(memory)
    try:
        yield
    finally:
        MEMORY.reset(token)


def digest(value: Any) -> str:
    """A hash of JSON-like data that does not depend on the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _schema(params: dict[str, Any]) -> Any:
    # Two classes of one name may ask for different answers.
    wanted = params.get("response_format")
    if isinstance(wanted, type) and issubclass(wanted, BaseModel):
        params = params | {"response_format": wanted.model_json_schema()}
    return recordable(params)
