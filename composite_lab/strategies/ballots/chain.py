"""A list of labels in one line, and what any list of labels is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from composite_lab.strategies.ballots.labels import Labels

Source = Literal["numbered list", "bullets", "inline", "lines", "table", "json"]

BULLET = re.compile(r"[-*+•‣·▪◦]\s{1,8}(.*)", re.DOTALL)
# Without white space around: a run of it would be searched from each of its characters.
_BETTER = re.compile(r"(?:-{1,2}>|>{1,4}|≻|→|&gt;)(?!=)")
_NUMBERED_PART = re.compile(r"\s*\(?#?(\d{1,4})[.):]\s*(.+)", re.DOTALL)
_ASIDE = re.compile(r"\([^()]*\)")
_REMARK = re.compile(r"[*_`\"'\])}]{0,6}\s{0,4}(?:[.(;]|(?<=\s)-\s|,?\s(?:because|since|as)\b)")
_LEVEL = re.compile(r"[=≈~≥≤<&/+,]|\band\b|\btied with\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Listing:
    """Labels in the order of a list, and what speaks against it.

    `pure` if it holds nothing but labels, `at` the line where it starts, `first` its first number,
    `chained` if `>` stands between the labels, `keyed` if it is JSON that calls itself a ranking.
    """

    source: Source
    ranking: list[str]
    problem: str | None
    pure: bool
    at: int = 0
    first: int = 1
    chained: bool = False
    keyed: bool = False


def inline(text: str, labels: Labels, *, single: bool = False) -> Listing | None:
    """The list that a line is, its labels set apart by `>` or by commas; None if it is none.

    With `single` one label, or several on a level, are a list as well.
    """
    text = text.strip()
    better = _BETTER.split(text, maxsplit=len(labels.shown) + 1)
    chained = len(better) > 1
    if chained and (bullet := BULLET.match(better[0])):
        better[0] = bullet[1]
    parts = better if chained else text.split(",", len(labels.shown) + 1)
    if len(parts) < 2 and not single:
        return None
    numbered = [_NUMBERED_PART.match(part) for part in parts]
    if len(parts) > 1 and all(numbered):
        counted = [part for part in numbered if part]
        if [int(part[1]) for part in counted] != list(range(1, len(parts) + 1)):
            return None
        parts = [part[2] for part in counted]
    names = [labels.exact(_ASIDE.sub("", part)) for part in parts[:-1]]
    last, alone = _last(parts[-1], labels)
    names.append(last)
    known = [name for name in names if name is not None]
    fault = next((part for part, name in zip(parts, names, strict=True) if name is None), None)
    if (
        fault is not None
        and not ((chained or single) and _level(fault, labels))
        and (names[0] is None or len(known) < 2)
    ):
        return None
    problem = None if fault is None else f"{fault.strip()[:80]!r} is no single label that was shown"
    pure = fault is not None or (alone and not any("(" in part for part in parts))
    return Listing("inline", known, problem or labels_fault(known, labels), pure, chained=chained)


def labels_fault(names: Sequence[str], labels: Labels) -> str | None:
    """Why the names are no exact permutation of the labels, or None if they are one."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return f"{name} stands twice"
        seen.add(name)
    missing = [label for label in labels.shown if label not in seen]
    return f"{', '.join(missing[:5])} missing" if missing else None


def _level(part: str, labels: Labels) -> bool:
    level = _LEVEL.split(part, maxsplit=len(labels.shown))
    return len(level) > 1 and all(labels.exact(name) for name in level)


def _last(part: str, labels: Labels) -> tuple[str | None, bool]:
    """The last label of a chain, behind which a remark may stand, and whether it stands alone."""
    alone = labels.exact(part)
    if alone is not None:
        return alone, True
    lead = labels.leading(part)
    if lead.label is None or lead.tied or not _REMARK.match(lead.rest) or re.search("[<>=≈≥]", lead.rest):
        return None, False
    return lead.label, False
