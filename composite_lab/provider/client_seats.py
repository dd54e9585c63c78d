"""The seats that a client of a proxy names: which models they may have, and whose endpoints they get."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from composite_lab.errors import ConfigError
from composite_lab.profiles import client_rules, profile_names
from composite_lab.seats import COMPOSITE_PREFIX, PROFILE, Seat
from composite_lab.strategies.base import Strategy

MODELS_VARIABLE = "COMPOSITE_LAB_REMOTE_MODELS"
"""Models that clients may give to seats besides the profile's, separated by commas; `openai/*` works."""
SEAT_OPTIONS = ("aggregator", "proposers", "chairman", "members", "reviewers")
ENDPOINT_FIELDS = {"api_key", "api_base", "api_version", "extra_headers"}
TOKEN_FIELDS = ("max_tokens", "max_completion_tokens")

_ADDRESS = re.compile(r":/|//|\\|/\.\.?(/|\Z)")
_PLAIN = re.compile(r"(?!.*(//|:/|/\.\.?(/|\Z)))[A-Za-z0-9][\w.:@+=,~/-]*", re.ASCII)


def seats_in(options: Mapping[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    """What an option gives as seats, each with its place: `members[0]`."""
    value = options.get(name)
    if isinstance(value, list | tuple):
        yield from ((f"{name}[{index}]", seat) for index, seat in enumerate(value))
    elif value is not None:
        yield name, value


def fields_of(seat: Any) -> Mapping[str, Any]:
    """What a client states of a seat. What is neither text nor a mapping is refused later as no seat."""
    if isinstance(seat, str):
        return {"model": seat}
    return seat if isinstance(seat, Mapping) else {}


def check_model_string(model: Any) -> None:
    """Raise `ConfigError` for a model string that is, or holds, an address: LiteLLM would call it."""
    if not isinstance(model, str) or not _PLAIN.fullmatch(model):
        raise ConfigError(
            f"a client may not name {str(model)[:80]!r}: a model is <provider>/<model>, without any address"
        )


def check_asked(asked: Any, model: str) -> None:
    """Raise `ConfigError` when a client asks for an address: where a wildcard serves, the name is its own.

    `asked` is the name that it asked for, `model` what the server made of it. Other names are the owner's.
    """
    if not isinstance(asked, str):
        check_model_string(model)
    elif asked.startswith(COMPOSITE_PREFIX) or _ADDRESS.search(asked):
        check_model_string(asked)


def check_models(
    options: Mapping[str, Any], base: Strategy | None, *, any_model: bool, own_endpoints: bool
) -> None:
    """Raise `ConfigError` for a seat whose model is not the server's.

    `base` is what would be asked if the client had set nothing: its models are allowed.
    """
    for name in SEAT_OPTIONS:
        for where, seat in seats_in(options, name):
            fields = fields_of(seat)
            if own_endpoints and fields.get("api_base"):
                continue
            model = fields.get("model")
            if model is None:  # no seat at all: the strategy says so
                continue
            check_model_string(model)
            if not any_model and not _is_served(model, base):
                raise ConfigError(
                    f"a client may not set {where} to {model[:80]!r}: use a model of the profile, "
                    f"{_told(base)}; the server's owner allows more in the profiles file, under "
                    f"clients.models, with {MODELS_VARIABLE}, or all with --any-model"
                )


def _is_served(model: str, base: Strategy | None) -> bool:
    if base is not None and any(seat.model == model for seat in base.all_seats()):
        return True
    listed = [*client_rules().models, *os.environ.get(MODELS_VARIABLE, "").split(",")]
    if any(fnmatchcase(model, pattern.strip()) for pattern in listed):
        return True
    name = model.removeprefix(f"{COMPOSITE_PREFIX}{PROFILE}/")
    return name != model and name in profile_names()


def _told(base: Strategy | None) -> str:
    return ", ".join(dict.fromkeys(seat.model for seat in base.all_seats())) if base else "one of its own"


def owners_seats(options: Mapping[str, Any], sent: set[str], base: Strategy) -> dict[str, Any]:
    """The options with the client's seats at the owner's endpoints.

    Who names a model of the profile means the owner's seat, with what it states in place of the seat's own.
    """
    changed = dict(options)
    for name in sent & {*SEAT_OPTIONS} & options.keys():
        seats = [_at_owners(seat, base) for _, seat in seats_in(options, name)]
        if isinstance(options[name], list | tuple):
            changed[name] = seats
        elif seats:
            changed[name] = seats[0]
    return changed


def _at_owners(given: Any, base: Strategy) -> Any:
    fields = {field: value for field, value in fields_of(given).items() if value is not None}
    if not fields or ENDPOINT_FIELDS & fields.keys():
        return given
    alike = owners_seat(fields, base)
    if alike is None:
        return fields
    own = {field: getattr(alike, field) for field in alike.model_fields_set}
    if any(field in fields for field in TOKEN_FIELDS):
        own = {field: value for field, value in own.items() if field not in TOKEN_FIELDS}
    return own | fields


def owners_seat(fields: Mapping[str, Any], base: Strategy) -> Seat | None:
    """The owner's seat that a client means: one of that model, and of that name if there are several."""
    alike = [seat for seat in base.all_seats() if seat.model == fields.get("model")]
    named = [seat for seat in alike if seat.name is not None and seat.name == fields.get("name")]
    return next(iter(named or alike), None)
