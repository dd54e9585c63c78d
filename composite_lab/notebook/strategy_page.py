"""A strategy as a reader sees it: who sits where, with which parameters, and how many calls it makes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from composite_lab.notebook.document import SEPARATOR, Bounds, details, fitted, name, row, table
from composite_lab.notebook.text import escaped, one_line, pre
from composite_lab.strategies.base import Strategy
from composite_lab.strategies.council import DEFAULT_MEMBERS, Council
from composite_lab.strategies.moa import SELF_MOA_SAMPLES, MoA

PROMPTS = "prompts"
VALUE_CHARS = 300
MOST_TOOLS = 30


def strategy_page(strategy: Strategy) -> str:
    """A strategy's configuration without its secrets, as a static page."""
    config = strategy.without_secrets()

    def parts(bounds: Bounds) -> Iterator[str]:
        yield f'<p class="cl-facts">{SEPARATOR.join(_head(strategy))}</p>'
        yield from _remarks(strategy)
        yield from configuration(config, bounds)

    return fitted(parts)


def plan(strategy: Strategy) -> tuple[int, str] | None:
    """How many calls a run makes when none fails and no tool is called, and of what stages.

    None for a strategy of a kind that is not known here.
    """
    match strategy:
        case MoA():
            samples = strategy.samples or (1 if strategy.proposers else SELF_MOA_SAMPLES)
            each = (len(strategy.proposers) or 1) * samples
            rounds = "" if strategy.layers == 1 else f"{strategy.layers} rounds of "
            return strategy.layers * each + 1, f"{rounds}{_count(each, 'proposal')}, then the aggregation"
        case Council():
            members = len(strategy.members) or DEFAULT_MEMBERS
            if members == 1:
                return 2, "1 opinion and no review, then the synthesis"
            reviews = len(strategy.reviewers) or members
            stages = f"{_count(members, 'opinion')}, {_count(reviews, 'review')}, then the synthesis"
            return members + reviews + 1, stages
        case _:
            return None


def strategy_line(strategy: Strategy) -> str:
    """A strategy in one line of plain text."""
    planned = plan(strategy)
    calls = f": {planned[0]} calls ({planned[1]})" if planned else ""
    return f"<{type(strategy).__name__} {one_line(str(strategy.final_seat))}{calls}>"


def configuration(config: Mapping[str, Any], bounds: Bounds) -> Iterator[str]:
    """A configuration as `without_secrets()` gives it: seats, options, prompts."""
    seats = list(_seats(config))
    if seats:
        rows = [_seat_row(role, seat) for role, seat in seats[: bounds.entries]]
        yield from table(("seat", "model", "parameters"), rows, "cl-seats")
        if len(rows) < len(seats):
            yield f'<p class="cl-meta">… and {len(seats) - len(rows):,} more seats.</p>'
    told = {role.partition(" ")[0] for role, _ in seats}
    options = [
        (option, value)
        for option, value in config.items()
        if option != PROMPTS and option not in told and option.removesuffix("s") not in told and value != []
    ]
    if options:
        shown = [row([name(option), _value(value)]) for option, value in options[: bounds.entries]]
        yield details("Options", "".join(table(("option", "value"), shown, "cl-options")))
    prompts = config.get(PROMPTS)
    worded = list(prompts.items()) if isinstance(prompts, Mapping) else []
    for use, wording in worded[: bounds.entries]:
        text = wording if isinstance(wording, str) else _compact(wording)
        yield details(f"Prompt: {name(str(use))}", pre(text, bounds.characters))


def _head(strategy: Strategy) -> Iterator[str]:
    yield f"<strong>{name(type(strategy).__name__)}</strong>"
    yield name(f"composite/{strategy.kind}/{strategy.final_seat.model}", 160)
    planned = plan(strategy)
    if planned:
        yield f"<strong>{planned[0]:,} calls</strong>: {escaped(planned[1])}"


def _remarks(strategy: Strategy) -> Iterator[str]:
    remarks = []
    if isinstance(strategy, MoA) and not strategy.proposers:
        remarks.append("There are no proposers, so the aggregator's own model proposes (Self-MoA).")
    if isinstance(strategy, Council) and not strategy.members:
        remarks.append(f"There are no members, so the chairman's model sits {DEFAULT_MEMBERS} times.")
    if any(seat.is_composite for seat in strategy.all_seats()):
        remarks.append("A seat that is a composite makes calls of its own on top.")
    if strategy.retries:
        remarks.append(f"A failed call is repeated at most {_count(strategy.retries, 'time')}.")
    if strategy.tool_executor is not None:
        remarks.append(f"Tool calls are carried out: {_tools(strategy.tool_executor)}.")
    if remarks:
        yield f'<p class="cl-meta">{escaped(" ".join(remarks))}</p>'


def _tools(executor: Any) -> str:
    if not isinstance(executor, Mapping):
        return f"by {one_line(getattr(executor, '__name__', type(executor).__name__))}"
    names = [one_line(str(tool)) for tool in list(executor)[:MOST_TOOLS]]
    more = len(executor) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _seats(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each seat with its role; the one that gives the answer stands last, as in a run."""
    for role, value in config.items():
        if isinstance(value, list):
            for number, seat in enumerate(value, 1):
                if _is_seat(seat):
                    yield f"{role.removesuffix('s')} {number}", seat
    for role, value in config.items():
        if _is_seat(value):
            yield role, value


def _is_seat(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("model"), str)


def _seat_row(role: str, seat: Mapping[str, Any]) -> str:
    own = seat.get("name")
    model = f"{name(own)}<br>{name(seat['model'])}" if isinstance(own, str) else name(seat["model"])
    others = {field: value for field, value in seat.items() if field not in ("model", "name")}
    parameters = [
        f"{name(field)} {_value(value)}" for field, value in others.items() if value not in ({}, [])
    ]
    return row([escaped(one_line(role)), model, SEPARATOR.join(parameters) or "the model's own"])


def _value(value: Any) -> str:
    return f"<code>{name(value if isinstance(value, str) else _compact(value), VALUE_CHARS)}</code>"


def _compact(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError) as error:
        return f"(not shown: {type(error).__name__})"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
