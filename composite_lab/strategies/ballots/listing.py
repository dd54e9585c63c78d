"""Lists of labels in a reviewer's reply: numbered, bulleted, in one line, one below the other, JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from composite_lab.strategies.ballots.chain import BULLET, Listing, Source, inline, labels_fault
from composite_lab.strategies.ballots.jsonlist import json_listing
from composite_lab.strategies.ballots.jsontext import JSON_STARTS, MAX_JSON
from composite_lab.strategies.ballots.labels import Labels, Lead
from composite_lab.strategies.ballots.quotation import Line

_NUMBER = re.compile(
    r"\|?\s{0,4}(?:[-*+•]\s{1,4})?[#*_`(\[]{0,6}(?:(?:rank|place|position|no)\b\.?\s{0,2})?#?(?P<number>\d{1,4})"
    r"(?:st|nd|rd|th)?(?:\s(?:place|rank))?[*_`)\]]{0,6}"
    r"(?P<end>\s{0,3}[:|-]|\ufe0f?\u20e3|\)|\.(?!\d)|(?<=[)\]]))?[*_`]{0,3}(?P<item>.*)",
    re.IGNORECASE | re.DOTALL,
)


def listings(lines: Sequence[Line], labels: Labels) -> Iterator[Listing]:
    """Every list of labels in the lines, from top to bottom, faulty ones among them."""
    position = attempts = 0
    while position < len(lines):
        line = lines[position]
        text = line.text.strip()
        if JSON_STARTS.match(text) and attempts < MAX_JSON:
            attempts += 1
            json_found, after = json_listing(lines, position, labels)
            if json_found is not None:
                yield json_found
            if after > position:
                position = after
                continue
        chain = inline(line.text, labels)
        if chain is not None:
            yield replace(chain, at=position)
        elif (number := _number(line, labels)) and (number[0] == 1 or number[1].label):
            found, position = _numbered(lines, position, labels)
            yield found
            continue
        elif (item := BULLET.match(text)) and labels.leading(item[1]).label:
            found, position = _bullets(lines, position, labels)
            yield found
            continue
        elif labels.exact(text):
            found, position = _lines(lines, position, labels)
            yield found
            continue
        position += 1


def _number(line: Line, labels: Labels) -> tuple[int, Lead] | None:
    found = _NUMBER.match(line.text.strip())
    if found is None:
        return None
    lead = labels.leading(found["item"])
    if not found["end"] and (lead.label is None or not found["item"][:1].isspace()):
        return None
    return int(found["number"]), lead


def _numbered(lines: Sequence[Line], start: int, labels: Labels) -> tuple[Listing, int]:
    """The list whose first number stands at `start`; remarks may stand between its items."""
    first = lines[start]
    source: Source = "table" if first.text.lstrip().startswith("|") else "numbered list"
    names: list[str] = []
    problem: str | None = None
    pure = True
    follows = True
    number_at_start = 0
    position = start
    while position < len(lines):
        line = lines[position]
        number = _number(line, labels) if line.beside(first) else None
        inner = line.indent > first.indent + 1
        if number is None or (inner and number[0] != len(names) + 1):
            if not inner and (problem or len(names) == len(labels.shown)):
                break
            follows = False
            position += 1
            continue
        place, lead = number
        number_at_start = number_at_start or place
        if place == 1 and names and not follows:
            break
        position += 1
        follows = True
        if problem:
            continue
        if lead.label is None and lead.unknown is None:
            # A remark that happens to be numbered, unless this is where a label should stand.
            if place == len(names) + 1 <= len(labels.shown) and not inner:
                problem, pure = f"place {place} starts with no label", False
        elif place != len(names) + 1:
            problem = f"number {place} stands where {len(names) + 1} should"
        else:
            problem = _item_fault(lead, place)
            names += [lead.label] if lead.label else []
            pure = pure and lead.alone
    problem = problem or labels_fault(names, labels)
    return Listing(source, names, problem, pure, start, number_at_start), position


def _bullets(lines: Sequence[Line], start: int, labels: Labels) -> tuple[Listing, int]:
    """The list whose first bullet stands at `start`; it ends with the first remark behind the last label."""
    first = lines[start]
    names: list[str] = []
    problem: str | None = None
    pure = True
    position = start
    while position < len(lines):
        line = lines[position]
        item = BULLET.match(line.text.strip()) if line.beside(first) else None
        inner = line.indent > first.indent + 1
        if item is None and not inner and (problem or len(names) == len(labels.shown)):
            break
        position += 1
        if item is None or inner or problem:
            continue
        lead = labels.leading(item[1])
        problem = _item_fault(lead, len(names) + 1)
        names += [lead.label] if lead.label else []
        pure = pure and lead.alone
    return Listing("bullets", names, problem or labels_fault(names, labels), pure, start), position


def _item_fault(lead: Lead, place: int) -> str | None:
    if lead.unknown is not None:
        return f"{lead.unknown!r} is no label that was shown"
    if lead.label is None:
        return f"place {place} starts with no label"
    return f"place {place} is shared" if lead.tied else None


def _lines(lines: Sequence[Line], start: int, labels: Labels) -> tuple[Listing, int]:
    """Labels one below the other, with nothing else on their lines."""
    names: list[str] = []
    position = start
    while position < len(lines) and (name := labels.exact(lines[position].text)) is not None:
        names.append(name)
        position += 1
    return Listing("lines", names, labels_fault(names, labels), True, start), position
