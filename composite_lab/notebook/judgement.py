"""What a ballot says of each candidate: its rank, its scores. A ballot from a file may be anything."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean

from composite_lab.notebook.text import one_line
from composite_lab.strategies.ranking import relabel
from composite_lab.trace.call import Ballot

MOST_PAIRS = 1_000_000
LARGEST_SCORE = 1e100
"""Scores beyond it, or that are no numbers, are none: their sums would not be numbers either."""
PROBLEM_CHARS = 120
_LABEL = re.compile("Response [A-Z]{1,6}")


def is_sound(ballot: Ballot) -> bool:
    """Whether standings can be made of it: its labels are in order and its scores are numbers."""
    labels, members = ballot.labels, ballot.members
    return (
        len(set(labels)) == len(labels) == len(members) == len(set(members))
        and (ballot.ranking is None or sorted(ballot.ranking) == sorted(labels))
        and set(ballot.scores or {}) <= set(labels)
        and all(is_score(score) for row in (ballot.scores or {}).values() for score in row.values())
    )


def is_score(value: float) -> bool:
    """Whether it is a number that can be added up."""
    return abs(value) < LARGEST_SCORE


def scores_by_criterion(ballot: Ballot) -> dict[int, dict[str, float]]:
    """For each candidate its scores by criterion, as far as there are any."""
    behind = _behind(ballot)
    found = {
        behind[shown]: {criterion: score for criterion, score in row.items() if is_score(score)}
        for shown, row in (ballot.scores or {}).items()
        if shown in behind
    }
    return {member: row for member, row in found.items() if row}


def mean_scores(ballot: Ballot) -> dict[int, float]:
    """For each candidate the mean of its scores over the criteria; empty without scores."""
    return {member: fmean(row.values()) for member, row in scores_by_criterion(ballot).items()}


def ranks(ballot: Ballot) -> dict[int, int]:
    """The rank of each candidate, 1 being best; equal scores share the better one."""
    if ballot.scores is None:
        behind = _behind(ballot)
        ranked = dict.fromkeys(behind[shown] for shown in ballot.ranking or [] if shown in behind)
        return {member: rank for rank, member in enumerate(ranked, 1)}
    scores = mean_scores(ballot)
    first: dict[float, int] = {}
    for rank, score in enumerate(sorted(scores.values(), reverse=True), 1):
        first.setdefault(score, rank)
    return {member: first[score] for member, score in scores.items()}


def agreement(ballots: Sequence[Ballot]) -> float | None:
    """How often two reviewers put two candidates in the same order: 1.0 always, 0.5 like chance.

    The mean over all pairs of sound ballots and of candidates that both put before or behind each other;
    a pair that one of them puts on a level is in no order and left out. None without any such pair.
    (2 x agreement - 1 is Kendall's tau, averaged; with level pairs it is Goodman and Kruskal's gamma.)
    """
    found = [ranks(ballot) for ballot in ballots if is_sound(ballot)]
    if sum(len(ranking) ** 2 for ranking in found) > MOST_PAIRS:
        return None
    before = Counter(
        (first, second)
        for ranking in found
        for first, second in combinations(sorted(ranking, key=lambda member: ranking[member]), 2)
        if ranking[first] < ranking[second]
    )
    same = both = 0
    for first, second in {(min(pair), max(pair)) for pair in before}:
        one, other = before[first, second], before[second, first]
        same += (one * (one - 1) + other * (other - 1)) // 2
        both += (one + other) * (one + other - 1) // 2
    return same / both if both else None


def has_level_pairs(ballots: Sequence[Ballot]) -> bool:
    """Whether a ballot puts any two candidates on a level."""
    found = (ranks(ballot).values() for ballot in ballots)
    return any(len(set(ranking)) < len(ranking) for ranking in found)


def problem(ballot: Ballot) -> str:
    """Why a ballot was not accepted, in one line of plain text and in the labels of the standings."""
    said = (ballot.problem or "")[: 4 * PROBLEM_CHARS]
    if is_sound(ballot) and all(map(_LABEL.fullmatch, ballot.labels)):
        said = relabel(said, ballot.names)
    return one_line(said, PROBLEM_CHARS)


def own_answer(ballot: Ballot, candidates: Sequence[int]) -> int | None:
    """The candidate that is the reviewer's own answer, None if there is none or nobody knows."""
    if ballot.own is not None:
        return ballot.own
    # Older ballots do not say; a council leaves out nothing but a reviewer's own answer.
    missing = set(candidates) - set(ballot.members)
    return missing.pop() if len(missing) == 1 else None


def _behind(ballot: Ballot) -> Mapping[str, int]:
    return dict(zip(ballot.labels, ballot.members, strict=False))
