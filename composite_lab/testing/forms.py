"""How the value of an option is written in a model's name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Form:
    """How the value of an option is written: `read` raises ValueError unless it fits `wants`."""

    wants: str
    read: Callable[[str], Any]


def number(low: float = 0.0, high: float = math.inf) -> Form:
    """Return the form of a finite number from `low` to `high`."""

    def read(given: str) -> float:
        value = float(given)
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(given)
        return value

    return Form(f"a number {_span(low, high)}", read)


def integer(low: float = -math.inf, high: float = math.inf) -> Form:
    """Return the form of a whole number from `low` to `high`."""

    def read(given: str) -> int:
        value = int(given)
        if not low <= value <= high:
            raise ValueError(given)
        return value

    return Form(f"a whole number {_span(low, high)}".rstrip(), read)


def words(*allowed: str) -> Form:
    """Return the form of a comma-separated list of allowed words."""

    def read(given: str) -> tuple[str, ...]:
        chosen = tuple(word for word in given.split(",") if word)
        if not chosen or not set(chosen) <= set(allowed):
            raise ValueError(given)
        return chosen

    return Form(f"a comma-separated choice of {', '.join(allowed)}", read)


def one_of(*allowed: str) -> Form:
    """Return the form of a single allowed word."""

    def read(given: str) -> str:
        if given not in allowed:
            raise ValueError(given)
        return given

    return Form(f"one of {', '.join(allowed)}", read)


def one_or(plain: str, *others: str) -> Form:
    """Return the form of a single allowed word, which is `plain` if none is given."""
    form = one_of(plain, *others)
    return Form(f"{form.wants} ({plain} without a value)", lambda given: form.read(given or plain))


def _span(low: float, high: float) -> str:
    if low > -math.inf and high < math.inf:
        return f"from {low:g} to {high:g}"
    return f"of at least {low:g}" if low > -math.inf else ""


def _read_flag(given: str) -> bool:
    if given not in {"", "true", "false", "1", "0"}:
        raise ValueError(given)
    return given in {"", "true", "1"}


FLAG = Form("no value (or true, false)", _read_flag)
TEXT = Form("any text, percent-encoded", str)
SECONDS = number()
COUNT = integer(0)
PROBABILITY = number(0, 1)
