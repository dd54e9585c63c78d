"""Replies that no server should send: a good one with something wrong in one or two places."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

_WRONG: list[Any] = [
    None, True, False, 0, -1, 7, 1e308, -5, 10**30, -(10**30), 1.5, "", "7", "nan", "\x00", "\ud83d",
    "x" * 5000, [], {}, [None], [[]], [{}], {"a": 1}, {"error": "odd"}, ["text"], {"content": None},
]  # fmt: skip
Path = tuple[str | int, ...]


def mutated(reply: Any, seed: int | str) -> bytes:
    """Return the reply as JSON with one or two parts of it gone, doubled, moved or of a wrong kind.

    One in twelve is no JSON at all. The same seed gives the same bytes.
    """
    drawn = random.Random(f"mutation/{seed}")
    changed = copy.deepcopy(reply)
    for _ in range(drawn.choice([1, 1, 2])):
        changed = drawn.choice(_CHANGES)(changed, drawn)
    written = json.dumps(changed).encode()
    if drawn.random() < 1 / 12:
        return drawn.choice(
            [written[: len(written) // 2], b"", b"<html>busy</html>", b"\xff\xfe", b"null", b"[]"]
        )
    return written


def _replace(reply: Any, drawn: random.Random) -> Any:
    paths = list(_paths(reply))
    return _with(reply, drawn.choice(paths), lambda _: copy.deepcopy(drawn.choice(_WRONG)))


def _drop(reply: Any, drawn: random.Random) -> Any:
    path = drawn.choice(list(_paths(reply)))
    if not path:
        return {}
    parent = _at(reply, path[:-1])
    del parent[path[-1]]
    return reply


def _double(reply: Any, drawn: random.Random) -> Any:
    lists = [path for path in _paths(reply) if isinstance(_at(reply, path), list)]
    return (
        _with(reply, drawn.choice(lists), lambda items: [*items, *copy.deepcopy(items)]) if lists else reply
    )


def _wrap(reply: Any, drawn: random.Random) -> Any:
    paths = list(_paths(reply))
    return _with(
        reply, drawn.choice(paths), lambda value: drawn.choice([[value], {"value": value}, str(value)])
    )


def _add(reply: Any, drawn: random.Random) -> Any:
    if not isinstance(reply, dict):
        return reply
    name = drawn.choice(["error", "usage", "choices", "model", "id", "code", "service_tier", "citations"])
    value = drawn.choice([*_WRONG, {"message": "odd", "code": "busy"}, {"prompt_tokens": -5}])
    return reply | {name: copy.deepcopy(value)}


_CHANGES: list[Callable[[Any, random.Random], Any]] = [_replace, _replace, _drop, _double, _wrap, _add]


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, below in items:
        yield from _paths(below, (*path, name))


def _at(value: Any, path: Path) -> Any:
    for name in path:
        value = value[name]
    return value


def _with(reply: Any, path: Path, change: Callable[[Any], Any]) -> Any:
    if not path:
        return change(reply)
    parent = _at(reply, path[:-1])
    parent[path[-1]] = change(parent[path[-1]])
    return reply
