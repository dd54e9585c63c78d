"""Rubric: the criteria by which reviewers score answers, and reading the scores in a reply."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, Self, TypeGuard, TypeVar

from pydantic import Field, model_validator

from composite_lab.seats import Frozen
from composite_lab.strategies.ballots.jsontext import Pairs, folded, json_values
from composite_lab.strategies.ballots.labels import Labels
from composite_lab.strategies.ballots.quotation import own_lines
from composite_lab.strategies.parsing import Parsed, abstains, cites

T = TypeVar("T")
CRITERIA = {
    "correct": "Are its statements true and its conclusions sound?",
    "complete": "Does it answer all that was asked?",
    "clear": "Will the reader understand it at the first reading?",
}
"""The criteria of a rubric that names none."""
_WRAPPERS = frozenset({"scores", "ratings", "grades", "ballot"})
_Sheet = dict[str, dict[str, float]]


class Rubric(Frozen):
    """Criteria and the scale of their scores, from the worst to the best.

    `criteria` maps the name of each to what it asks, or is a list of names. Where a Council takes a
    rubric, the criteria alone will do.
    """

    criteria: Mapping[str, str] = Field(default=CRITERIA, min_length=1)
    scale: tuple[float, float] = (1, 10)

    @model_validator(mode="before")
    @classmethod
    def _criteria_alone(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and names_criteria(given):
            given = {name: meaning or "" for name, meaning in given.items()}
        if names_criteria(given):
            given = {"criteria": given}
        criteria = given.get("criteria") if isinstance(given, Mapping) else None
        if _is_list(criteria):
            return {**given, "criteria": _each_once(criteria)}
        return given

    @model_validator(mode="after")
    def _can_be_scored(self) -> Self:
        low, high = self.scale
        if not (isfinite(low) and isfinite(high) and low < high):
            raise ValueError(
                f"scale goes from the worst to the best score, such as (1, 10), not {self.scale}"
            )
        if blank := [name for name in self.criteria if not name.strip()]:
            raise ValueError(f"a criterion needs a name, not {blank[0]!r}")
        _each_once(list(map(folded, self.criteria)))
        return self

    def described(self) -> list[str]:
        """The criteria as a prompt lists them."""
        return [f"{name}: {meaning}" if meaning else name for name, meaning in self.criteria.items()]

    @property
    def bounds(self) -> tuple[str, str]:
        """The ends of the scale as a prompt tells them."""
        low, high = (f"{bound:.15g}" for bound in self.scale)
        return low, high

    def form(self, labels: Sequence[str]) -> str:
        """The JSON that a reviewer is to fill in."""
        low, high = self.bounds
        cells = ", ".join(
            f"{json.dumps(name, ensure_ascii=False)}: <{low} to {high}>" for name in self.criteria
        )
        return "{" + ",\n ".join(f"{json.dumps(label)}: {{{cells}}}" for label in labels) + "}"


if TYPE_CHECKING:
    RubricLike = Rubric | Mapping[str, str] | Sequence[str]
else:
    RubricLike = Rubric
"""What a caller may write for a rubric. It becomes the class."""


def read_scores(text: str, labels: Sequence[str], rubric: Rubric) -> Parsed:
    """The scores in a reviewer's reply: a number for each label by each criterion, or why there are none.

    They stand in the last JSON object that has labels for its keys, perhaps inside of `{"scores": …}`.
    A label or criterion missing, unknown or there twice, and a number that is none or off the scale, make
    the whole ballot invalid; a remark beside the scores does not. Thinking, blocks and quotations are not
    read. Never raises, whatever the text.
    """
    names = Labels(labels)
    lines = own_lines(text)
    values = list(json_values(lines))
    sheet: list[tuple[str, Any]] | None = None
    for start, found in values:
        if not lines[start].quoted and not cites(lines, start, names):
            sheet = _sheet(found.value, names) or sheet
    inside = {place for start, found in values for place in range(start, found.after)}
    own = "\n".join(line.text for place, line in enumerate(lines) if line.own and place not in inside)
    if abstains(own, firmly=sheet is not None):
        return Parsed(None, problem="the reviewer abstains", abstained=True)
    if sheet is None:
        return Parsed(None, problem="there is no JSON object with the labels for its keys")
    if all(value is None for _, value in sheet):
        return Parsed(
            None, source="json", problem="the reviewer abstains: all scores are null", abstained=True
        )
    try:
        return Parsed(None, source="json", scores=_checked(sheet, names, rubric))
    except ValueError as fault:
        return Parsed(None, source="json", problem=str(fault))


def names_criteria(given: Any) -> bool:
    """Whether this is a rubric's criteria alone: a list, or a mapping of names to texts."""
    if _is_list(given):
        return True
    if not isinstance(given, Mapping) or not given:
        return False
    # Each field of a rubric holds more than a text. YAML makes None of a name without one.
    return all(meaning is None or isinstance(meaning, str) for meaning in given.values())


def _sheet(value: Any, labels: Labels) -> list[tuple[str, Any]] | None:
    """The entries of a JSON object if any of its keys is a label, also one level down."""
    if not isinstance(value, Pairs):
        return None
    inner = [item for key, item in value if folded(key) in _WRAPPERS and isinstance(item, Pairs)]
    entries = inner[-1] if inner else value
    return list(entries) if any(labels.exact(key) for key, _ in entries) else None


def _checked(sheet: Sequence[tuple[str, Any]], labels: Labels, rubric: Rubric) -> _Sheet:
    """The scores by label and criterion. Raises ValueError with what is wrong."""
    rows = _exactly("label", sheet, {label: label for label in labels.shown}, labels.exact)
    known = {folded(name): name for name in rubric.criteria}
    scores: _Sheet = {}
    for label, row in rows:
        cells = [
            (key, value)
            for key, value in (row if isinstance(row, Pairs) else ())
            if folded(key) in known or not isinstance(value, str)
        ]
        found = _exactly(f"criterion of {label}", cells, known, lambda key: known.get(folded(key)))
        scores[label] = {name: _number(value, f"{label}, {name}", rubric.scale) for name, value in found}
    return {label: scores[label] for label in labels.shown}


def _exactly(
    kind: str, entries: Sequence[tuple[str, T]], known: Mapping[str, str], name_of: Any
) -> Iterator[tuple[str, T]]:
    """The entries under their right names, each there once. Raises ValueError if not so."""
    found: dict[str, T] = {}
    for key, value in entries:
        name = name_of(key)
        if name is None:
            raise ValueError(f"{key[:80]!r} is no {kind} that was asked for")
        if name in found:
            raise ValueError(f"the {kind} {name!r} stands twice")
        found[name] = value
    if missing := [name for name in known.values() if name not in found]:
        raise ValueError(f"the {kind} {missing[0]!r} is missing")
    return iter(found.items())


def _number(value: Any, where: str, scale: tuple[float, float]) -> float:
    low, high = scale
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        given = "an object or a list" if isinstance(value, list) else f"{value!r:.40}"
        raise ValueError(f"{where}: {given} is no number from {low:g} to {high:g}")
    return float(value)


def _is_list(given: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(given, Sequence) and not isinstance(given, str)


def _each_once(names: Sequence[Any]) -> dict[Any, str]:
    if doubled := [name for place, name in enumerate(names) if name in names[:place]]:
        raise ValueError(f"the criterion {doubled[0]!r} stands twice")
    return dict.fromkeys(names, "")
