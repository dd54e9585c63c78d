"""The grammar of model names: `fake-a+latency=0.3+status=429`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from composite_lab.testing.behaviour import OPTIONS, Behaviour


class BehaviourError(ValueError):
    """An option of a model name that does not exist or has an unusable value."""

    def __init__(self, message: str, option: str) -> None:
        super().__init__(message)
        self.option = option

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.option)  # so that it can be unpickled


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
            f"Option {name!r} in {place} was given {raw!r}; it wants {row.form.wants}, e.g. +{row.written}.",
            name,
        ) from None
