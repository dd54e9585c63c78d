"""Ballots: labels for the candidates, rankings out of reviewers' texts, standings out of rankings."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from composite_lab.trace.call import Ballot, Standing, label

_HEADING = re.compile(r"^[ \t*_#>]*final[ \t]+ranking\b[ \t*_:]*", re.IGNORECASE | re.MULTILINE)
_NUMBERED = re.compile(r"^[ \t*_>-]*(\d{1,4})[.):]\s*(.+)$")


def shuffled(members: Sequence[int], *, seed: int, question: str, reviewer: int) -> list[int]:
    """The order in which one reviewer sees the candidates: the same for the same seed and question."""
    order = list(members)
    random.Random(f"{seed}/{reviewer}/{question}").shuffle(order)
    return order


def parse_ranking(text: str, labels: Sequence[str]) -> list[str] | None:
    """The labels from best to worst, read from the numbered list behind the last final-ranking heading.

    None unless that list is an exact permutation of `labels`: what is missing, doubled or unknown is
    never guessed. Never raises, whatever the text.
    """
    headings = list(_HEADING.finditer(text))
    if not headings:
        return None
    known = {candidate.casefold(): candidate for candidate in labels}
    ranking: list[str] = []
    for line in text[headings[-1].end() :].splitlines():
        item = _NUMBERED.match(line)
        if item is None:
            if line.strip() and ranking:
                break
            continue
        found = [candidate for folded, candidate in known.items() if _stands_in(folded, item[2].casefold())]
        if len(found) != 1 or int(item[1]) != len(ranking) + 1:
            return None
        ranking += found
    return ranking if sorted(ranking) == sorted(labels) else None


def relabel(text: str, names: dict[str, str]) -> str:
    """The text with every label replaced by its new name, all at once so that none is replaced twice.

    "Responses A and B" counts as two. The word may be in any case, the letter must be a capital: "in
    response a reader …" is no label.
    """
    if not names:
        return text
    letters = {_letter(old): _letter(new) for old, new in names.items()}
    one = "|".join(sorted(letters, key=len, reverse=True))
    more = rf"(?:(?:\s*[,/]\s*|,?\s+(?:and|or|&)\s+)(?:{one})\b)*"
    pattern = rf"\b((?i:response) )({one})\b|\b((?i:responses) )((?:{one})\b{more})"

    def renamed(found: re.Match[str]) -> str:
        word, which = (found[1], found[2]) if found[1] else (found[3], found[4])
        return word + re.sub(rf"\b(?:{one})\b", lambda letter: letters[letter[0]], which)

    return re.sub(pattern, renamed, text)


def standings(ballots: Sequence[Ballot], members: Sequence[int]) -> list[Standing]:
    """The candidates from best to worst by Borda score, ties by mean rank, equal ones sharing a place.

    A reviewer does not rank its own answer, so ballots differ in length: a candidate's score is the
    share of its rivals it beat on the ballots that ranked it. Source: Borda 1781, normalised by the
    ballot's length.
    """
    ranks: dict[int, list[tuple[int, int]]] = {member: [] for member in members}
    for ballot in ballots:
        ranked = ballot.ranked_members()
        for position, member in enumerate(ranked, 1):
            ranks[member].append((position, len(ranked)))
    scores: dict[int, tuple[float, float]] = {}
    for member, seen in ranks.items():
        contested = [(position, size) for position, size in seen if size > 1]
        if contested:
            borda = sum((size - position) / (size - 1) for position, size in contested) / len(contested)
            scores[member] = (borda, sum(position for position, _ in contested) / len(contested))
    order = sorted(members, key=lambda member: _standing_key(scores.get(member)))
    keys = [_standing_key(scores.get(member)) for member in order]
    return [
        Standing(
            member=member,
            label=label(member),
            place=keys.index(key) + 1,
            borda=scores[member][0] if member in scores else None,
            mean_rank=scores[member][1] if member in scores else None,
            ballots=len(ranks[member]),
        )
        for member, key in zip(order, keys, strict=True)
    ]


def _standing_key(score: tuple[float, float] | None) -> tuple[float, float]:
    # Rounded, or the order of addition would break ties.
    return (1.0, 0.0) if score is None else (round(-score[0], 9), round(score[1], 9))


def _stands_in(candidate: str, text: str) -> bool:
    # An underscore around a label is Markdown's emphasis, not a part of a word.
    return re.search(rf"(?<![^\W_]){re.escape(candidate)}(?![^\W_])", text) is not None


def _letter(name: str) -> str:
    return name.rsplit(" ", 1)[1]
