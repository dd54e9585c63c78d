"""A ranking in JSON: a list of labels, a list of objects, or an object of places."""

from __future__ import annotations

from collections.abc import Sequence

from composite_lab.strategies.ballots.chain import Listing, inline, labels_fault
from composite_lab.strategies.ballots.jsontext import Pairs, folded, json_at
from composite_lab.strategies.ballots.labels import Labels
from composite_lab.strategies.ballots.quotation import Line

_RANKING_KEYS = frozenset({"ranking", "finalranking", "ranked", "order", "finalorder", "ballot"})
_LABEL_KEYS = ("label", "response", "name", "candidate", "answer", "id")
_PLACE_KEYS = ("rank", "place", "position")
_SCORE_KEYS = ("score", "points", "rating", "grade")


def json_listing(lines: Sequence[Line], start: int, labels: Labels) -> tuple[Listing | None, int]:
    """The ranking in the JSON that starts at a line, and the line behind it; `start` if it is no JSON."""
    value, after = json_at(lines, start)
    if value is None:
        return None, after
    keyed = False
    if isinstance(value, Pairs):
        inner = [item for key, item in value if folded(key) in _RANKING_KEYS]
        if inner:
            value, keyed = inner[-1], True
    ranking, problem = _json_ranking(value, labels)
    if ranking is None and not keyed:
        return None, after
    known = ranking or []
    # Without a key the numbers of an object may be scores.
    pure = keyed or not isinstance(value, Pairs)
    return Listing("json", known, problem or labels_fault(known, labels), pure, start, keyed=keyed), after


def _json_ranking(value: object, labels: Labels) -> tuple[list[str] | None, str | None]:
    """The labels that a JSON value puts in order, None if it holds none, and what is wrong with them."""
    if isinstance(value, str):
        found = inline(value, labels, single=True)
        return (found.ranking, found.problem) if found else (None, f"{value[:80]!r} is no order of labels")
    if not isinstance(value, list) or not value:
        return None, "the JSON holds no list of labels"
    placed: list[tuple[int, str]] = []
    for position, entry in enumerate(value, 1):
        place, name = _placed(entry, position, labels, pair=isinstance(value, Pairs))
        if name is None:
            kind = None if not placed else [found for _, found in placed]
            return kind, f"JSON entry {position} is no label that was shown"
        placed.append((place, name))
    if sum(_has_place(entry) for entry in value) not in (0, len(value)):
        return [name for _, name in placed], "only some entries in the JSON have a place"
    if sorted(place for place, _ in placed) != list(range(1, len(placed) + 1)):
        return [name for _, name in placed], f"the places in the JSON are not 1 to {len(placed)}"
    return [name for _, name in sorted(placed)], None


def _placed(entry: object, position: int, labels: Labels, *, pair: bool) -> tuple[int, str | None]:
    """The place and the label of one entry of a JSON list or, as a pair, of a JSON object."""
    if pair and isinstance(entry, tuple):
        key, value = entry
        if isinstance(value, str) and key.strip().isdecimal() and len(key) <= 6:
            return int(key), labels.exact(value)
        return (value if type(value) is int else 0), labels.exact(key)
    if isinstance(entry, str):
        return position, labels.exact(entry)
    if not isinstance(entry, Pairs):
        return position, None
    names = [
        labels.exact(value) for key, value in entry if folded(key) in _LABEL_KEYS and isinstance(value, str)
    ]
    places = [value for key, value in entry if folded(key) in _PLACE_KEYS]
    scored = not places and any(folded(key) in _SCORE_KEYS for key, _ in entry)
    name = names[0] if len(names) == 1 and not scored else None
    place = places[0] if places else position
    return (place if type(place) is int and len(places) < 2 else 0), name


def _has_place(entry: object) -> bool:
    return isinstance(entry, Pairs) and any(folded(key) in _PLACE_KEYS for key, _ in entry)
