"""What a model of the fake server does, read from its name: `fake-a+latency=0.3+status=429`.

The fields of `Behaviour` are the one table of options: the parser, the error texts and the
documentation (`options_table`) are all derived from it.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, lru_cache
from typing import Any, TypeVar
from urllib.parse import unquote

Value = TypeVar("Value")

FAIL_KINDS = ("429", "500", "drop", "hang")


class BehaviourError(ValueError):
    """An option of a model name that does not exist or has an unusable value."""

    def __init__(self, message: str, option: str) -> None:
        super().__init__(message)
        self.option = option


@dataclass(frozen=True)
class Form:
    """How the value of an option is written: `read` raises ValueError unless it fits `wants`."""

    wants: str
    read: Callable[[str], Any]


@dataclass(frozen=True)
class Option:
    """One row of the table of options."""

    name: str
    form: Form
    meaning: str
    example: str
    fault: bool


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


def option(default: Value, form: Form, example: str, meaning: str, *, fault: bool = False) -> Value:
    """Declare a field of `Behaviour`; a `fault` is limited by `times`."""
    row = {"form": form, "example": example, "meaning": meaning, "fault": fault}
    declared: Value = field(default=default, metadata=row)
    return declared


@dataclass(frozen=True)
class Behaviour:
    """The options of one model: every field is an option, its default what happens without it."""

    latency: float = option(
        0.0, SECONDS, "0.3", "Seconds before the answer, or before its first chunk.", fault=True
    )
    chunk_latency: float = option(0.0, SECONDS, "0.05", "Seconds between the chunks of a stream.", fault=True)
    status: int | None = option(
        None, integer(400, 599), "429", "Answers with this HTTP status and an OpenAI-style error.", fault=True
    )
    retry_after: float | None = option(
        None, SECONDS, "0.2", "Retry-After header, in seconds, of an answer with status 429."
    )
    times: int | None = option(
        None,
        COUNT,
        "1",
        "Faults and delays apply only to the first N requests that carry this exact model name since the "
        "last reset; later ones succeed.",
    )
    hang: bool = option(False, FLAG, "", "Never answers: waits until the client leaves.", fault=True)
    drop: bool = option(False, FLAG, "", "Closes the connection without a response.", fault=True)
    truncate: bool = option(
        False,
        FLAG,
        "",
        "A stream stops half-way and the connection is closed; a plain body is shorter than its "
        "Content-Length.",
        fault=True,
    )
    malformed: bool = option(
        False, FLAG, "", "HTTP 200, but the body (or the stream's events) is not JSON.", fault=True
    )
    empty: bool = option(False, FLAG, "", 'The content is "".', fault=True)
    fail_rate: float = option(
        0.0,
        PROBABILITY,
        "0.3",
        "Each attempt fails with this probability, drawn from the body, how often that body was seen since "
        "the last reset, and fail_seed.",
        fault=True,
    )
    fail_seed: int = option(0, integer(), "7", "Seed of fail_rate.")
    fail_kinds: tuple[str, ...] = option(
        FAIL_KINDS,
        words(*FAIL_KINDS),
        "429,drop",
        "Faults fail_rate draws from; this hang is limited: it closes the connection after 2 seconds.",
    )
    accuracy: float | None = option(
        None, PROBABILITY, "0.8", "Share of the fixture questions answered right (a simulation)."
    )
    seed: int = option(0, integer(), "3", "Seed of the simulation and of the generic texts.")
    reasoning: bool = option(False, FLAG, "", "Adds a reasoning_content text to the message.")
    content_kb: float = option(
        0.0, number(0, 10_000), "64", "Pads the content to this many kB (1024 bytes each)."
    )
    usage: str = option("fixed", one_of("fixed", "none"), "none", "none: the answer carries no usage.")
    prompt_tokens: int | None = option(None, COUNT, "1000", "Prompt tokens of the usage, 100 by default.")
    completion_tokens: int | None = option(
        None, COUNT, "50", "Completion tokens of the usage, 20 by default."
    )
    cached_tokens: int | None = option(
        None, COUNT, "80", "Cached prompt tokens of the usage, 10 by default (never above prompt_tokens)."
    )
    reasoning_tokens: int | None = option(
        None, COUNT, "12", "Reasoning tokens of the usage, 5 by default (never above completion_tokens)."
    )
    echo: bool = option(False, FLAG, "", "Answers with the text of the last user message.")
    text: str | None = option(None, TEXT, "yes%2C%20sir", "Answers with exactly this text.")
    require_key: str | None = option(
        None, TEXT, "sk-test", "401 unless the request carries `Authorization: Bearer KEY`."
    )
    no_tools: bool = option(
        False, FLAG, "", "400 if the request has tools, or tool messages without tools, like a plain model."
    )
    bad_arguments: bool = option(
        False, FLAG, "", "Tool calls carry arguments that are not valid JSON.", fault=True
    )
    tool_loop: bool = option(False, FLAG, "", "Asks for the same tools again after every tool result.")
    bad_ranking: bool = option(False, FLAG, "", "Reviews in prose, without a ranking or scores.", fault=True)
    partial_ranking: bool = option(
        False, FLAG, "", "Leaves the last label out of a ranking or of scores.", fault=True
    )
    first_bonus: float = option(
        0.0,
        number(-1, 1),
        "0.5",
        "A biased reviewer: adds this to the merit (0 to 1) of the answer shown first, less to later ones, "
        "nothing to the last.",
    )
    bad_verdict: bool = option(False, FLAG, "", "Argues without a verdict.", fault=True)


OPTIONS = {declared.name: Option(name=declared.name, **declared.metadata) for declared in fields(Behaviour)}


@lru_cache(maxsize=4096)
def parse_model(model: str, header: str = "") -> tuple[str, Behaviour]:
    """Return the name without its options, and the behaviour asked for by name and header (which wins).

    Raises:
        BehaviourError: An option is unknown or its value unusable; the text says which would work.
    """
    name, *in_name = model.split("+")
    chosen = _read_options(in_name, f"model name {model!r}")
    if header:
        chosen |= _read_options(header.strip().split("+"), f"header X-Fake-Behaviour {header!r}")
    return name, Behaviour(**chosen)


@cache
def without_faults(behaviour: Behaviour) -> Behaviour:
    """Return the behaviour once `times` is used up: all faults and delays at their defaults."""
    defaults = Behaviour()
    return replace(
        behaviour, **{row.name: getattr(defaults, row.name) for row in OPTIONS.values() if row.fault}
    )


def options_table() -> str:
    """Return the table of options as Markdown, in the order in which they are declared."""
    lines = ["| Option | Value | Meaning |", "|---|---|---|"]
    lines += [f"| `{_written(row)}` | {row.form.wants} | {row.meaning} |" for row in OPTIONS.values()]
    return "\n".join(lines)


def _read_options(given: Sequence[str], place: str) -> dict[str, Any]:
    return dict(_read_option(item, place) for item in given if item)


def _read_option(item: str, place: str) -> tuple[str, Any]:
    name, _, raw = item.partition("=")
    row = OPTIONS.get(name)
    if row is None:
        close = difflib.get_close_matches(name, OPTIONS, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise BehaviourError(
            f"Unknown option {name!r} in {place}. {hint}Options: {', '.join(OPTIONS)}.", name
        )
    try:
        return name, row.form.read(unquote(raw))
    except ValueError:
        raise BehaviourError(
            f"Option {name!r} in {place} was given {raw!r}; it wants {row.form.wants}, "
            f"e.g. +{_written(row)}.",
            name,
        ) from None


def _written(row: Option) -> str:
    return f"{row.name}={row.example}" if row.example else row.name
