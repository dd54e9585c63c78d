"""JSON inside of a reply: where it starts, and how far it goes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice, takewhile
from typing import Any, NamedTuple

from composite_lab.strategies.ballots.quotation import Line

JSON_STARTS = re.compile(r"[\[{]\s{0,20}(?:[\[{\"\d]|$)")
MAX_JSON = 100
"""Attempts at reading JSON in one reply: each may look at all that follows."""
_MAX_LINES = 1_000  # of one JSON value


class Pairs(list[tuple[str, Any]]):
    """A JSON object with all of its entries, those with the same key among them."""


class Found(NamedTuple):
    """A JSON value (its objects as `Pairs`; None if there is none), and the line behind it."""

    value: Any
    after: int


def json_at(lines: Sequence[Line], start: int) -> Found:
    """The JSON that starts at a line and has its last line to itself; `after == start` if it is none."""
    first = lines[start]
    region = takewhile(lambda line: line.beside(first), islice(lines, start, start + _MAX_LINES))
    text = "\n".join(line.text for line in region).lstrip()
    try:
        value, end = json.JSONDecoder(object_pairs_hook=Pairs).raw_decode(text)
    except (ValueError, RecursionError):
        return Found(None, start)
    after = start + text.count("\n", 0, end) + 1
    if text[end:].partition("\n")[0].strip(" \t.;,`"):
        return Found(None, after if after > start + 1 else start)
    return Found(value, after)


def json_values(lines: Sequence[Line]) -> Iterator[tuple[int, Found]]:
    """The JSON in the lines from top to bottom, each with the line where it starts."""
    position = attempts = 0
    while position < len(lines) and attempts < MAX_JSON:
        after = position + 1
        if JSON_STARTS.match(lines[position].text.strip()):
            attempts += 1
            found = json_at(lines, position)
            if found.value is not None:
                yield position, found
            after = max(after, found.after)
        position = after


def folded(key: str) -> str:
    """A key as it is compared: without case, blanks, hyphens and underscores."""
    return re.sub(r"[\s_-]", "", key.casefold())
