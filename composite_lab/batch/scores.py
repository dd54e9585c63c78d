"""Score and Scorer: what every way of scoring has in common."""

from __future__ import annotations

import json
import math
import numbers
import re
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from composite_lab.errors import BudgetExceeded
from composite_lab.gateway import CallFailed
from composite_lab.redaction import printable
from composite_lab.seats import Frozen, Seat

ABSTAINED = "abstained: "
"""How the note of a score begins that is missing because the scorer would or could not decide."""

Row = Mapping[str, Any]

Ask = Callable[[Seat, list[dict[str, Any]], str], Awaitable[Any]]
"""Asks a judge: its seat, the messages, the call's role ("judge" or "repair"); a reply with its `text`."""

_LONGEST_NOTE = 500

_FENCED = re.compile(r"^[ \t]*```[^`\n]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Score:
    """How good an answer is. A `value` of None is no zero: `note` then says why there is none."""

    value: float | None
    note: str | None = None

    @property
    def abstained(self) -> bool:
        """True when the scorer would or could not decide."""
        return self.value is None and (self.note or "").startswith(ABSTAINED)

    @property
    def failed(self) -> bool:
        """True when an error kept the scorer from deciding; the note begins with the error's class."""
        return self.value is None and not self.abstained


class Abstained(Exception):
    """The judge would or could not decide."""


class Scorer(Frozen):
    """The base of all scorers."""

    kind: ClassVar[str]

    async def score(
        self, text: str, target: Any = None, row: Row | None = None, *, ask: Ask | None = None
    ) -> Score:
        """The score of an answer. What goes wrong is told in the note; only `BudgetExceeded` is raised.

        `row` holds what else is known of the question, `prompt` among it; `ask` is how a judge is called.
        """
        try:
            return _read_score(await self._measure(text, target, row or {}, ask))
        except BudgetExceeded:
            raise
        except Exception as error:  # a user's own function can raise anything
            return Score(None, note_of(error))

    def identity(self) -> dict[str, Any]:
        """What tells this scorer from others, as JSON and without secrets. The same for the same scores."""
        options = self.model_dump(mode="json", by_alias=True, exclude_none=True, fallback=str)
        return {"scorer": self.kind} | options

    @abstractmethod
    async def _measure(self, text: str, target: Any, row: Row, ask: Ask | None, /) -> Any: ...


def note_of(error: Exception) -> str:
    if isinstance(error, Abstained):
        return short(f"{ABSTAINED}{error}")
    cause = error.cause if isinstance(error, CallFailed) else error
    return short(f"{type(cause).__name__}: {cause}")


def short(text: str) -> str:
    return printable(text)[:_LONGEST_NOTE]


def read_json(text: str) -> Any:
    for candidate in (text, *reversed(_FENCED.findall(text))):
        try:
            return json.loads(candidate, parse_constant=_refuse)
        except (ValueError, RecursionError):
            continue
    raise ValueError("there is no JSON in it")


def _read_score(found: Any) -> Score:
    value: Any = found.value if isinstance(found, Score) else found
    note = found.note if isinstance(found, Score) else None
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a number of numpy's
        value = value.item()
    if isinstance(value, numbers.Real) and math.isinf(value):
        raise ValueError("the score is infinite")
    if value is None or (isinstance(value, numbers.Real) and math.isnan(value)):
        return Score(None, note or f"{ABSTAINED}the scorer returned {value}")
    if not isinstance(value, numbers.Real):
        raise TypeError(f"a score is a number, a bool or None, not {value!r}")
    return Score(float(value), note)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
