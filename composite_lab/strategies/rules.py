"""Rules that make one ranking of many ballots.

Every rule takes orders of candidates from best to worst. An order may leave candidates out, as a reviewer
leaves out its own answer, and counts only between those that it ranks. Relabelled candidates get a
relabelled ranking, and reversed ballots the reversed one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

from composite_lab.strategies.kemeny import kemeny_young
from composite_lab.strategies.tally import Placed, Ranking, Tally

__all__ = [
    "RULES",
    "Placed",
    "Ranking",
    "Rule",
    "borda",
    "bradley_terry",
    "kemeny_young",
    "mean_rank",
    "schulze",
]

_PRIOR = 0.1  # Bradley-Terry: wins that each candidate is lent over each other one, in mean ballot weights
_MAX_STEPS = 10_000
_STILL = 1e-11


def borda(
    orders: Sequence[Sequence[int]],
    *,
    weights: Sequence[float] | None = None,
    candidates: Iterable[int] | None = None,
) -> Ranking:
    """The ranking by the mean share of rivals beaten, from 1.0 (always first) to 0.0 (always last).

    The mean is over the ballots that rank the candidate. Source: Borda 1781, normalised by each ballot's
    length.
    """
    tally = Tally(orders, weights, candidates)
    return Ranking.of("borda", tally.shares_beaten(), tally.candidates, high=True)


def mean_rank(
    orders: Sequence[Sequence[int]],
    *,
    weights: Sequence[float] | None = None,
    candidates: Iterable[int] | None = None,
) -> Ranking:
    """The ranking by mean rank, each ballot's ranks stretched to 1 (best) to n, the candidates compared.

    On the same ballots it is Borda's order: the score is another unit of the same count.
    """
    tally = Tally(orders, weights, candidates)
    span = len(tally.compared) - 1
    ranks = {candidate: 1 + span * (1 - share) for candidate, share in tally.shares_beaten().items()}
    return Ranking.of("mean_rank", ranks, tally.candidates, high=False)


def schulze(
    orders: Sequence[Sequence[int]],
    *,
    weights: Sequence[float] | None = None,
    candidates: Iterable[int] | None = None,
) -> Ranking:
    """The ranking by beatpaths: one candidate is before another to which its strongest path is stronger.

    A path is as strong as its least margin. The score is the number of candidates that it is before,
    less those before it; that keeps Schulze's order, which is partial, and ranks the rest by how many
    they beat. Source: Schulze 2011, with margins as strengths.
    """
    tally = Tally(orders, weights, candidates)
    everybody = tally.compared
    path = {
        (one, other): max(tally.margin(one, other), 0)
        for one in everybody
        for other in everybody
        if one != other
    }
    for middle in everybody:
        for one in everybody:
            for other in everybody:
                if middle not in (one, other) and one != other:
                    through = min(path[one, middle], path[middle, other])
                    path[one, other] = max(path[one, other], through)
    scores = dict.fromkeys(everybody, 0)
    for (one, other), strength in path.items():
        stronger = strength - path[other, one]
        scores[one] += (stronger > 0) - (stronger < 0)
    return Ranking.of("schulze", scores, tally.candidates, high=True)


def bradley_terry(
    orders: Sequence[Sequence[int]],
    *,
    weights: Sequence[float] | None = None,
    candidates: Iterable[int] | None = None,
) -> Ranking:
    """The ranking by strength in the Bradley-Terry model, every pair on a ballot being one comparison.

    The score is the natural logarithm of the strength, 0 on average: of two candidates the first wins
    with the probability 1 / (1 + exp(second - first)). Every candidate is lent a tenth of a win over
    every other, so that the estimate exists and is unique also where one always wins; weights count
    relative to their mean. Sources: Bradley & Terry 1952; the estimate is that of the MM algorithm of
    Hunter 2004, reached by the iteration of Newman 2023, which needs tens of steps where MM, on ballots
    that almost all agree, needs millions.
    """
    tally = Tally(orders, weights, candidates)
    scores = _strengths(tally) if tally.compared else {}
    return Ranking.of("bradley_terry", scores, tally.candidates, high=True)


Rule = Callable[..., Ranking]
"""A rule: orders, then `weights` and `candidates` as keywords."""

RULES: dict[str, Rule] = {
    "borda": borda,
    "mean_rank": mean_rank,
    "kemeny_young": kemeny_young,
    "schulze": schulze,
    "bradley_terry": bradley_terry,
}


def _strengths(tally: Tally) -> dict[int, float]:
    import numpy as np

    everybody = tally.compared
    unit = Fraction(sum(weight for _, weight in tally.ballots), len(tally.ballots))
    wins = np.array([[float(tally.preferred(one, other) / unit) for other in everybody] for one in everybody])
    wins += _PRIOR
    np.fill_diagonal(wins, 0.0)
    logs = np.zeros(len(everybody))
    for _ in range(_MAX_STEPS):
        before = logs.copy()
        for one in range(len(everybody)):
            chances = 1 / (1 + np.exp(logs - logs[one]))
            surprises, accidents = wins[one] @ (1 - chances), wins[:, one] @ chances
            logs[one] += np.log(surprises / accidents)
        logs -= logs.mean()
        if float(np.abs(logs - before).max()) < _STILL:
            break
    return {candidate: round(float(log), 9) + 0.0 for candidate, log in zip(everybody, logs, strict=True)}
