"""The limits that hold for a client of a proxy: the profile's, else the strategy's, else those in `CAPS`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from string import Formatter
from typing import Any, cast

from composite_lab.errors import ConfigError
from composite_lab.profiles import CAPS, client_rules
from composite_lab.provider.client_seats import SEAT_OPTIONS, TOKEN_FIELDS, fields_of, owners_seat, seats_in
from composite_lab.seats import MAX_DEPTH, Seat, nesting_depth
from composite_lab.strategies.base import Strategy
from composite_lab.strategies.council import DEFAULT_MEMBERS, Council
from composite_lab.strategies.moa import SELF_MOA_SAMPLES, MoA
from composite_lab.strategies.rubric import Rubric

NUMBERS = (
    "timeout_s", "max_cost_usd", "straggler_grace_s", "call_timeout_s", "max_reply_chars", "max_concurrency",
    "retries", "layers", "samples", "max_tool_iterations", "repairs", "canary",
)  # fmt: skip
"""Options that are limits as they are given."""
COUNTS = ("proposers", "members", "reviewers", "verdict", "rubric")
_FREE = ("verdict", "rubric")
"""What costs no further calls: a profile's own number limits nobody."""
MOST_FIELDS = 8
"""How many fields a client's prompt may have: each is replaced by all answers."""
_TOKENS = {*TOKEN_FIELDS, "max_output_tokens"}
_THINKING = {"thinking": "budget_tokens", "reasoning": "max_tokens"}
Resolve = Callable[[str], Strategy]
"""The strategy behind a composite's model string."""


def effective(strategy: Strategy) -> dict[str, float | None]:
    """The number behind every limit of a strategy; None where there is none."""
    numbers: dict[str, float | None] = {
        name: getattr(strategy, name) for name in NUMBERS if name in type(strategy).model_fields
    }
    if isinstance(strategy, MoA):
        numbers["proposers"] = len(strategy.proposers) or 1
    if isinstance(strategy, Council):
        members = len(strategy.members) or DEFAULT_MEMBERS
        rubric = cast("Rubric | None", strategy.rubric)
        numbers |= {
            "members": members,
            "reviewers": len(strategy.reviewers) or members,
            "verdict": len(strategy.verdict) or None,
            "rubric": len(rubric.criteria) if rubric else None,
        }
    return numbers


def proposals(strategy: MoA) -> int:
    """How many answers a layer takes, so that three samples of one model are as much as three proposers."""
    named = len(strategy.proposers)
    return (named or 1) * (strategy.samples or (1 if named else SELF_MOA_SAMPLES))


def limit_on(name: str, owner: Strategy | None) -> float:
    """The most that a client may ask for; `owner` is the profile, None for a composite of any model."""
    told = client_rules().limits
    own = effective(owner).get(name) if owner is not None else None
    if isinstance(owner, MoA) and (name == "proposers" or (name == "samples" and own is None)):
        own = proposals(owner)
    if own is None or name in _FREE:
        return max(own or 0, told.get(name, CAPS[name]))
    return max(own, told.get(name, own))


def check_values(options: Mapping[str, Any], owner: Strategy | None) -> tuple[str, str, str] | None:
    """What a client gives beyond a limit, as it is given; None when there is nothing.

    It is looked at before a strategy is made of it, which for ten thousand seats takes its time.
    """
    for name in (*NUMBERS, *COUNTS):
        if name not in options:
            continue
        value, limit = options[name], limit_on(name, owner)
        counted = _count(value) if name in COUNTS else value
        if not _within(counted, limit):
            whose = "the profile's limit" if owner is not None else "the server's limit"
            return f"{name}={_short(value)}", "limits", f"{whose} is {limit:g}"
    return None


def check_prompts(prompts: Any) -> None:
    """Raise `ConfigError` for prompts of a client that grow when they are filled in."""
    longest = client_rules().limits.get("prompt_chars", CAPS["prompt_chars"])
    for name, prompt in prompts.items() if isinstance(prompts, Mapping) else ():
        if not isinstance(prompt, str):
            continue
        if len(prompt) > longest:
            raise ConfigError(f"prompts[{name!r}] has {len(prompt)} characters: {longest:g} are the most")
        try:
            fields = [part for part in Formatter().parse(prompt) if part[1] is not None]
        except ValueError:  # the strategy says what is wrong with it
            continue
        if len(fields) > MOST_FIELDS:
            raise ConfigError(f"prompts[{name!r}] has {len(fields)} fields: {MOST_FIELDS} are the most")
        if any(width or conversion for _, _, width, conversion in fields):
            raise ConfigError(f"prompts[{name!r}] formats a field: write it plainly, as {{answers}}")


def check_strategy(strategy: Strategy, base: Strategy, owner: Strategy | None, resolve: Resolve) -> None:
    """Raise `ConfigError` when what a client made of `base` goes beyond a limit in the end.

    `base` is what would be asked if the client had set nothing, `owner` the profile, if it is one.
    """
    before = effective(base)
    numbers = effective(strategy)
    for name, value in numbers.items():
        if value != before.get(name) and not (name == "samples" and value is None):
            _check(name, value, limit_on(name, owner))
    if isinstance(strategy, MoA) and isinstance(owner, MoA) and isinstance(base, MoA):
        told = client_rules().limits
        most = told.get("proposers", len(owner.proposers) or 1) * told.get("samples", 1)
        _check("proposals in a layer", proposals(strategy), max(most, proposals(base)))
    planned = planned_calls(strategy, resolve)
    own = planned_calls(base, resolve) if owner is not None else 0
    _check("calls", planned, max(limit_on("calls", None), own))


def check_seats(options: Mapping[str, Any], base: Strategy, owner: Strategy | None) -> None:
    """Raise `ConfigError` for a client's seat that may write more than the owner's or the limit."""
    for name in SEAT_OPTIONS:
        for where, seat in seats_in(options, name):
            fields = fields_of(seat)
            alike = owners_seat(fields, base) if owner is not None else None
            for field in TOKEN_FIELDS:
                if fields.get(field) is not None:
                    _check_whole(f"{where}.{field}", fields[field], _tokens_of(alike))


def check_params(params: Mapping[str, Any], strategy: Strategy, sent: set[str]) -> None:
    """Raise `ConfigError` for parameters of the final call that a client sent and that go beyond a limit."""
    tokens = _tokens_of(strategy.final_seat)
    for place in (params, params.get("extra_body") or {}):
        for name, value in place.items():
            if name == "n" and "n" in sent:
                _check_whole(name, value, limit_on("n", None))
            elif name in _TOKENS and sent & _TOKENS:
                _check_whole(name, value, tokens)
            elif name in _THINKING and name in sent and isinstance(value, Mapping):
                inner = _THINKING[name]
                if inner in value:
                    _check_whole(f"{name}.{inner}", value[inner], tokens)


def planned_calls(strategy: Strategy, resolve: Resolve) -> int:
    """How many calls a run makes if all goes well, those of composites inside of it counted."""

    def cost(seats: Iterable[Any]) -> int:
        return sum(_calls_of(seat, resolve) for seat in seats)

    final = cost([strategy.final_seat])
    if isinstance(strategy, MoA):
        each = proposals(strategy) // (len(strategy.proposers) or 1)
        return strategy.layers * each * (cost(strategy.proposers) or final) + final
    if isinstance(strategy, Council):
        members = cost(strategy.members) or DEFAULT_MEMBERS * final
        reviews = cost(strategy.reviewers) or members
        return members + reviews * (1 + strategy.canary) + final
    return final


def _calls_of(seat: Seat, resolve: Resolve) -> int:
    if not seat.is_composite:
        return 1
    if nesting_depth(seat.model) > MAX_DEPTH:
        raise ConfigError(f"{seat.model[:80]!r} nests composites deeper than {MAX_DEPTH}: use a plain model")
    return planned_calls(resolve(seat.model), resolve)


def _tokens_of(seat: Seat | None) -> float:
    """How many tokens a client may have a seat write: what the seat states itself, else the limit."""
    told = client_rules().limits
    stated = [getattr(seat, name, None) for name in TOKEN_FIELDS]
    own: list[int] = [value for value in stated if value is not None]
    if not own:
        return told.get("max_tokens", CAPS["max_tokens"])
    return max(min(own), told.get("max_tokens", 0))


def _check(name: str, value: float | None, limit: float) -> None:
    if not _within(value, limit):
        raise ConfigError(
            f"a client may not have {name}={value}: the limit is {limit:g}. The server's owner raises it in "
            "the profiles file, under clients.limits, or takes all limits away with --allow limits"
        )


def _check_whole(name: str, value: Any, limit: float) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name} must be a whole number from 1, not {_short(value)}")
    _check(name, value, limit)


def _within(value: Any, limit: float) -> bool:
    try:
        return value is not None and float(value) <= limit
    except OverflowError:
        return False
    except (TypeError, ValueError):
        return True  # no number at all: the strategy's own check says so


def _count(value: Any) -> int:
    """How many seats, options or criteria a client gives."""
    if isinstance(value, Mapping) and isinstance(value.get("criteria"), Mapping | list):
        value = value["criteria"]
    return len(value) if isinstance(value, Mapping | list | tuple) else 0


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
