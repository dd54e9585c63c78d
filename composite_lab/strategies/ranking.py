"""Ballots: labels for the candidates, and standings out of rankings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from composite_lab.strategies.rules import SCORE_RULES, borda
from composite_lab.strategies.tally import Order, levels
from composite_lab.trace.call import Ballot, Standing, label

_SCORES = {
    "mean_score": "mean score, severity of reviewers taken out",
    "borda": "Borda score (1 is best)",
    "mean_rank": "mean rank over ballots of any length (1 is best)",
    "kemeny_young": "mean position in the Kemeny-Young orders (1 is best)",
    "schulze": "Schulze score (rivals beaten less rivals beaten by)",
    "bradley_terry": "Bradley-Terry strength (0 is average)",
}


def relabel(text: str, names: dict[str, str]) -> str:
    """The text with every label replaced by its new name, all at once so that none is replaced twice.

    "Responses A and B" counts as two. The word may be in any case, the letter must be a capital: "in
    response a reader …" is no label.
    """
    if not names:
        return text
    letters = {_letter(old): _letter(new) for old, new in names.items()}
    one, some = _patterns(frozenset(letters))

    def renamed(found: re.Match[str]) -> str:
        word, letter, words, several = found.groups()
        if letter:
            return f"{word} {letters[letter]}"
        return word + words + one.sub(lambda each: letters[each[0]], several)

    return some.sub(renamed, text)


def default_rule(*, scored: bool) -> str:
    """The rule that makes standings where none is named."""
    return "mean_score" if scored else "borda"


def rule_of(config: Mapping[str, Any]) -> str:
    """The rule that made the standings of a run with this configuration."""
    return str(config.get("ranking") or default_rule(scored=bool(config.get("rubric"))))


def scores_apart(rule: str, *, weighted: bool) -> bool:
    """Whether a standing's `score` says something that its `borda` does not."""
    return rule != "borda" or weighted


def standings(
    ballots: Sequence[Ballot], members: Sequence[int], *, rule: str = "borda", weights: Sequence[float] = ()
) -> list[Standing]:
    """The candidates from best to worst by a rule of `rules.SCORE_RULES`, equal ones sharing a place.

    `weights` are what the ballots count, by the number of the reviewer; 1 each if there are none. A
    reviewer may not rank its own answer, so ballots differ in length, which all rules allow for.
    """
    usable = [ballot for ballot in ballots if ballot.is_usable]
    orders = [ballot.preference() for ballot in usable]
    counted = [weights[ballot.reviewer] for ballot in usable] if weights else None
    own = unweighted = borda(orders, candidates=members)
    shares, positions = unweighted.scores, _mean_positions(orders)
    if rule != "borda" or counted:
        own = SCORE_RULES[rule](orders, weights=counted, candidates=members)
    return [
        Standing(
            member=member,
            label=label(member),
            place=place,
            score=score,
            borda=shares[member],
            mean_rank=positions.get(member),
            ballots=sum(member in order for order in orders),
        )
        for member, score, place in own
    ]


def standing_lines(found: Sequence[Standing], rule: str, *, weighted: bool = False) -> list[str]:
    """The standings as a chairman reads them: the place, and the numbers of the rule behind it."""
    return [_standing_line(standing, rule, weighted) for standing in found]


def _standing_line(standing: Standing, rule: str, weighted: bool) -> str:
    if standing.borda is None or standing.mean_rank is None:
        why = "had no rival on any ballot" if standing.ballots else "not ranked by anyone"
        return f"{standing.label}: {why}"
    plain = f"beat {standing.borda:.0%} of its rivals, mean rank {standing.mean_rank:.2f}"
    ballots = "1 ballot" if standing.ballots == 1 else f"{standing.ballots} ballots"
    told = f"{standing.place}. {standing.label}: {plain} on {ballots}"
    if not scores_apart(rule, weighted=weighted):
        return told
    score = "none" if standing.score is None else f"{standing.score:.2f}"
    return f"{told}; {_SCORES[rule]}{', reviewers weighted' if weighted else ''}: {score}"


@lru_cache(maxsize=256)
def _patterns(letters: frozenset[str]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What finds one of the letters, and what finds one or several behind their word."""
    one = "|".join(map(re.escape, sorted(letters, key=len, reverse=True)))
    more = rf"(?:(?:\s*[,/]\s*|,?\s+(?:and|or|&)\s+)(?:{one})\b)*"
    # Begins with a set of characters, for which a search looks much faster than for a word's edge.
    word = r"([Rr](?<!\w[Rr])(?i:esponse))"
    some = rf"{word}(?: ({one})\b|((?i:s) )((?:{one})\b{more}))"
    return re.compile(rf"\b(?:{one})\b"), re.compile(some)


def _mean_positions(orders: Sequence[Order]) -> dict[int, float]:
    """The mean place of each candidate over the orders that compare it; level ones share the middle one."""
    positions: dict[int, list[float]] = {}
    for order in orders:
        before = 0
        for level in levels(order) if len(order) > 1 else ():
            for member in level:
                positions.setdefault(member, []).append(before + (len(level) + 1) / 2)
            before += len(level)
    return {member: sum(found) / len(found) for member, found in positions.items()}


def _letter(name: str) -> str:
    return name.rsplit(" ", 1)[-1]
