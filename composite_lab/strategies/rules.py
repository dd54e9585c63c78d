"""Rules that make one ranking of many ballots.

Every rule takes ballots that are orders of candidates from best to worst or scores of them, also mixed, and
reads scores as an order in which equal ones are level; `mean_score` alone counts how far they are apart, and
so takes nothing else. A ballot may leave candidates out, as a reviewer leaves out its own answer, and counts
only between those that it ranks. Relabelled candidates get a relabelled ranking, and reversed ballots the
reversed one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction

from composite_lab.strategies.kemeny import kemeny_young
from composite_lab.strategies.tally import Order, Placed, Ranking, Tally

__all__ = [
    "RULES",
    "SCORE_RULES",
    "Order",
    "Placed",
    "Ranking",
    "Rule",
    "borda",
    "bradley_terry",
    "kemeny_young",
    "mean_rank",
    "mean_score",
    "schulze",
]

_PRIOR = 0.1  # Bradley-Terry: wins that each candidate is lent over each other one, in mean ballot weights
_MAX_STEPS = 10_000
_STILL = 1e-11

_Scored = tuple[Mapping[int, float], int]  # a ballot's scores and its weight


def borda(
    orders: Sequence[Order],
    *,
    weights: Sequence[float] | None = None,
    candidates: Iterable[int] | None = None,
) -> Ranking:
    """The ranking by the mean share of rivals beaten, from 1.0 (always first) to 0.0 (always last).

    The mean is over the ballots that rank the candidate; a rival on its level is half beaten. Source:
    Borda 1781, normalised by each ballot's length.
    """
    tally = Tally(orders, weights, candidates)
    return Ranking.of("borda", tally.shares_beaten(), tally.candidates, high=True)


def mean_rank(
    orders: Sequence[Order],
    *,
    weights: Sequence[float] | None = None,
    candidates: Iterable[int] | None = None,
) -> Ranking:
    """The ranking by mean rank, each ballot's ranks stretched to 1 (best) to n, the candidates compared.

    Level candidates share the mean of their ranks. On the same ballots it is Borda's order: the score is
    another unit of the same count.
    """
    tally = Tally(orders, weights, candidates)
    span = len(tally.compared) - 1
    ranks = {candidate: 1 + span * (1 - share) for candidate, share in tally.shares_beaten().items()}
    return Ranking.of("mean_rank", ranks, tally.candidates, high=False)


def schulze(
    orders: Sequence[Order],
    *,
    weights: Sequence[float] | None = None,
    candidates: Iterable[int] | None = None,
) -> Ranking:
    """The ranking by beatpaths: one candidate is before another to which its strongest path is stronger.

    A path is as strong as its least margin, to which a ballot that levels the two adds nothing. The score
    is the number of candidates that it is before, less those before it; that keeps Schulze's order, which
    is partial, and ranks the rest by how many they beat. Source: Schulze 2011, with margins as strengths.
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
    orders: Sequence[Order],
    *,
    weights: Sequence[float] | None = None,
    candidates: Iterable[int] | None = None,
) -> Ranking:
    """The ranking by strength in the Bradley-Terry model, every pair on a ballot being one comparison.

    A level pair is half a win for each. The score is the natural logarithm of the strength, 0 on average:
    of two candidates the first wins with the probability 1 / (1 + exp(second - first)). Every candidate
    is lent a tenth of a win over every other, so that the estimate exists and is unique also where one
    always wins; weights count relative to their mean. Sources: Bradley & Terry 1952; the estimate is that
    of the MM algorithm of Hunter 2004, reached by the iteration of Newman 2023, which needs tens of steps
    where MM, on ballots that almost all agree, needs millions.
    """
    tally = Tally(orders, weights, candidates)
    scores = _strengths(tally) if tally.compared else {}
    return Ranking.of("bradley_terry", scores, tally.candidates, high=True)


def mean_score(
    orders: Sequence[Order],
    *,
    weights: Sequence[float] | None = None,
    candidates: Iterable[int] | None = None,
) -> Ranking:
    """The ranking by mean score, no candidate gaining by who scored it: ballots of scores only.

    Each score is taken as the sum of what the candidate deserves and of how lenient the reviewer is, both
    fitted by weighted least squares; a candidate's score is its fitted one with the mean reviewer. So on
    complete ballots it is the mean of its scores. Where ballots leave candidates out it is what that mean
    would have been had all reviewers scored all candidates, and it may then lie outside of their scale.
    Where nothing but leniency sets reviewers apart it is the same whoever leaves out whom, as long as the
    ballots hang together.

    Ballots that fall into groups without a common candidate are fitted group by group: across groups
    leniency cannot be told from merit, and their mean reviewers are taken to be equally lenient.
    Raises ValueError for a ballot that is an order. Sources: Yates 1934 for the fit; Searle, Speed &
    Milliken 1980 for the mean, their population marginal mean, also called least-squares mean.
    """
    tally = Tally(orders, weights, candidates)
    plain = [number for number, order in enumerate(orders) if not isinstance(order, Mapping)]
    if plain:
        raise ValueError(
            f"orders[{plain[0]}] = {list(orders[plain[0]])!r} has no scores: give {{candidate: score}}, or "
            "take a rule for orders, such as borda"
        )
    scored = [(order, weight) for order, weight in tally.ballots if isinstance(order, Mapping)]
    means: dict[int, float] = {}
    for ballots in _connected(scored):
        means |= _adjusted_means(ballots)
    return Ranking.of("mean_score", means, tally.candidates, high=True)


Rule = Callable[..., Ranking]
"""A rule: orders, then `weights` and `candidates` as keywords."""

RULES: dict[str, Rule] = {
    "borda": borda,
    "mean_rank": mean_rank,
    "kemeny_young": kemeny_young,
    "schulze": schulze,
    "bradley_terry": bradley_terry,
}
"""The rules that take any ballots."""

SCORE_RULES: dict[str, Rule] = {"mean_score": mean_score} | RULES
"""The rules that take ballots of scores: all of them."""


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


def _connected(scored: Iterable[_Scored]) -> list[list[_Scored]]:
    """The ballots in groups that have no candidate in common."""
    groups: list[tuple[set[int], list[_Scored]]] = []
    for scores, weight in scored:
        members, ballots = set(scores), [(scores, weight)]
        apart: list[tuple[set[int], list[_Scored]]] = []
        for group in groups:
            if members.isdisjoint(group[0]):
                apart.append(group)
            else:
                members |= group[0]
                ballots += group[1]
        groups = [*apart, (members, ballots)]
    return [ballots for _, ballots in groups]


def _adjusted_means(ballots: Sequence[_Scored]) -> dict[int, float]:
    """For connected ballots the fitted score of each candidate with the mean reviewer."""
    import numpy as np

    everybody = sorted({one for scores, _ in ballots for one in scores})
    column = {one: index for index, one in enumerate(everybody)}
    cells = [
        (column[one], len(column) + reviewer, score, weight)
        for reviewer, (scores, weight) in enumerate(ballots)
        for one, score in scores.items()
    ]
    candidates, reviewers, scored, weights = (np.array(part) for part in zip(*cells, strict=True))
    design = np.zeros((len(cells), len(column) + len(ballots)))
    for indices in (candidates, reviewers):
        design[np.arange(len(cells)), indices] = 1.0
    roots = np.sqrt(weights.astype(float))
    fitted = np.linalg.lstsq(design * roots[:, None], scored * roots, rcond=None)[0]
    # The fit leaves open what all merits gain and all leniencies lose; in their sum it cancels out.
    lenient = np.average(fitted[len(column) :], weights=[float(weight) for _, weight in ballots])
    return {one: round(float(fitted[index] + lenient), 9) + 0.0 for one, index in column.items()}
