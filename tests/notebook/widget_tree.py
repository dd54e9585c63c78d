"""A way through a widget's parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def inside(root: Any) -> Iterator[Any]:
    """A widget and all below it."""
    yield root
    for child in getattr(root, "children", ()):
        yield from inside(child)


def the(kind: type, root: Any) -> Any:
    """The first widget of a kind inside of another."""
    return next(one for one in inside(root) if isinstance(one, kind))
