"""Profiles inside of profiles: who refers to whom, and how deep that goes."""

from __future__ import annotations

from collections.abc import Mapping

from composite_lab.errors import ConfigError
from composite_lab.seats import COMPOSITE_PREFIX, MAX_DEPTH, Seat, nesting_depth, unknown_name
from composite_lab.strategies.base import Strategy

ENVIRONMENT_VARIABLE = "COMPOSITE_LAB_PROFILES"


def check_seat(seat: Seat, known: Mapping[str, Strategy], trail: tuple[str, ...] = ()) -> None:
    """Raise `ConfigError` when what a seat refers to is unknown, runs in a circle or nests too deep.

    `trail` are the profiles that the seat stands in, the outermost first.
    """
    levels = 1 + _levels(seat, known, trail, {})
    if levels > MAX_DEPTH:
        raise ConfigError(
            f"{seat.model!r} makes composites nest {levels} deep, and {MAX_DEPTH} is the most: "
            "use a plain model further out"
        )


def lookup(name: str, known: Mapping[str, Strategy]) -> Strategy:
    """The strategy of that name. Raises `ConfigError` when there is none."""
    if name in known:
        return known[name]
    told = unknown_name(name, known, "profile") if known else f"unknown profile {name!r}: there are none yet"
    stop = "" if told.endswith("?") else "."
    raise ConfigError(
        f"{told}{stop} Profiles come from register_profile, from load_profiles and from the file that "
        f"{ENVIRONMENT_VARIABLE} names"
    )


def _levels(
    seat: Seat, known: Mapping[str, Strategy], trail: tuple[str, ...], counted: dict[str, int]
) -> int:
    """How many composites run one inside the other when this seat is called."""
    wrapped, name = nesting_depth(seat.model), seat.profile
    if name is None:
        return wrapped
    if name in trail:
        circle = " -> ".join((*trail[trail.index(name) :], name))
        raise ConfigError(f"profiles refer to each other in a circle: {circle}; give one a plain model")
    if name not in counted:
        try:
            strategy = lookup(name, known)
        except ConfigError as error:
            within = f"{COMPOSITE_PREFIX}profile/{trail[-1]} refers to an " if trail else ""
            raise ConfigError(f"{within}{error}") from None
        counted[name] = max(_levels(below, known, (*trail, name), counted) for below in strategy.all_seats())
    return wrapped + counted[name]
