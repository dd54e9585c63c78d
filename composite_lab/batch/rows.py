"""The rows of a store: what is written of an answer and of a run, and whether what is read can be used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from composite_lab.gateway.memory import Remembered

REPEATED = {"text": "content", "reasoning": "reasoning_content", "tool_calls": "tool_calls"}
"""Facts of an answer, and the fields of LiteLLM's message that mostly say the same."""
RUN_TEXTS = ("status", "text", "error_type", "error_message", "trace_id")
RUN_NUMBERS = (
    "cost_usd", "latency_s", "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens",
    "reasoning_tokens", "calls", "failures",
)  # fmt: skip


class Damaged(ValueError):
    """A row does not hold what a store writes."""


@dataclass(frozen=True)
class KeptAnswer:
    """An answer as the store has it. `scope` says which prompt it belongs to, `body` is JSON."""

    key: str
    scope: str
    cost_usd: float | None
    body: str

    @classmethod
    def of(cls, key: str, scope: str, answer: Remembered) -> KeptAnswer:
        """What the store keeps of an answer. What its facts repeat of the response is kept once."""
        said = _said(answer.response)
        facts, extras = dict(answer.facts), dict(answer.facts.get("extras") or {})
        repeated = [name for name, field in REPEATED.items() if _repeats(facts.get(name), said.get(field))]
        besides = [name for name, value in extras.items() if _repeats(value, said.get(name))]
        for name in repeated:
            del facts[name]
        for name in besides:
            del extras[name]
        if besides:
            facts["extras"] = extras
        body = [facts, answer.latency_s, answer.response, repeated, besides]
        return cls(key, scope, answer.cost_usd, json.dumps(body, separators=(",", ":")))

    def answer(self) -> Remembered:
        """The answer itself. Raises `Damaged` when no reply could be made of it."""
        try:
            facts, latency_s, response, *parts = json.loads(self.body)
            repeated, besides = parts or ([], [])  # stores of version 1 repeat it all
            said = _said(response)
            facts |= {name: said[REPEATED[name]] for name in repeated}
            if besides:
                facts["extras"] = facts["extras"] | {name: said[name] for name in besides}
            answer = Remembered(facts, self.cost_usd, latency_s, response)
            answer.check()
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as fault:
            raise Damaged(f"{type(fault).__name__}: {fault}") from None
        return answer


@dataclass(frozen=True)
class KeptRun:
    """A run as the store has it: what its row shows, its trace as JSON, the keys of its answers."""

    key: str
    facts: dict[str, Any]
    trace: str
    answers: tuple[str, ...]


def read_run_facts(facts: Any, text: Any) -> dict[str, Any]:
    """What the row of a run shows, out of its column; `text` is the trace's, for a row without its own.

    Raises `Damaged`.
    """
    try:
        found = json.loads(facts)
        found.setdefault("text", text)
        texts = {name: found.get(name) for name in RUN_TEXTS}
        numbers = [found.get(name) for name in RUN_NUMBERS]
    except (ValueError, TypeError, AttributeError, RecursionError) as fault:
        raise Damaged(f"{type(fault).__name__}: {fault}") from None
    wrong = [value for value in texts.values() if not isinstance(value, str | None)]
    wrong += [
        value for value in numbers if isinstance(value, bool) or not isinstance(value, int | float | None)
    ]
    if wrong or not texts["status"]:
        raise Damaged(f"no facts of a run: {wrong or found!r}")
    return dict(found)


def _said(response: Any) -> dict[str, Any]:
    """What the first choice of a response holds: the fields of its message, and those beside it."""
    choice: dict[str, Any] = next(iter(response.get("choices") or ()), {})
    return choice | (choice.get("message") or {})


def _repeats(fact: Any, field: Any) -> bool:
    return bool(fact) and type(fact) is type(field) and fact == field
