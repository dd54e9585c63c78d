"""How far reviewers agree, and how much the winner hangs on the rule and on each of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import TYPE_CHECKING

from composite_lab.interrupts import interrupts_held
from composite_lab.strategies.rules import RULES, Rule
from composite_lab.strategies.tally import Order, Tally, levels

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far ballots agree.

    `w` is Kendall's W from 0 to 1, `mean_tau` the mean of Kendall's tau over pairs of ballots from -1 to
    1, each None where it is not defined; `condorcet_winner` who beats every other by majority, and
    `cycle` candidates each of whom so beats the next and the last the first, None where there is none.
    """

    w: float | None
    mean_tau: float | None
    condorcet_winner: int | None
    cycle: list[int] | None


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What the winner hangs on.

    `winners` holds for each rule who is on its place 1, `other_winners` the rules that name others than
    the first rule does. `flips` holds for each rule the ballots, by their number from 0, without each of
    which others would win, and who: also if one more or one less would share the place.
    """

    winners: dict[str, tuple[int, ...]]
    other_winners: list[str]
    flips: dict[str, dict[int, tuple[int, ...]]]

    @property
    def robust(self) -> bool:
        """Whether all rules name the same winners, and would without any one ballot."""
        return not self.other_winners and not any(self.flips.values())


def agreement(orders: Sequence[Order], weights: Sequence[float] | None = None) -> Agreement:
    """How far the ballots agree, each an order of candidates from best to worst or their scores."""
    return Agreement(
        w=kendalls_w(orders),
        mean_tau=_mean_tau(orders),
        condorcet_winner=condorcet_winner(orders, weights),
        cycle=cycle(orders, weights),
    )


def kendalls_w(orders: Sequence[Order]) -> float | None:
    """Kendall's coefficient of concordance: 1 if all ballots agree, 0 if they cancel out.

    Ballots may leave candidates out. With d the margin of one candidate over another as a share of the
    ballots that compare the two, and T the sum of a candidate's margins over all its n - 1 rivals, W is
    3 ΣT² / (n³ - n). On complete ballots that is Kendall & Babington Smith 1939, on balanced incomplete
    ones (every pair compared equally often) Durbin 1951. None with fewer than two ballots, fewer than
    two candidates or a pair that no ballot compares. Where each pair was compared only once, as by three
    reviewers that leave themselves out, it can tell consistency and not agreement. Level pairs have no
    margin and are not corrected for: W is below 1 also where ballots agree which candidates are level, and
    0 where all are.
    """
    tally = Tally(orders)
    everybody = tally.candidates
    size = len(everybody)
    if size < 2 or len(tally.ballots) < 2:
        return None
    if any(not tally.met(one, other) for one, other in combinations(everybody, 2)):
        return None
    total = Fraction()
    for one in everybody:
        rivals = [other for other in everybody if other != one]
        total += sum(Fraction(tally.margin(one, other), tally.met(one, other)) for other in rivals) ** 2
    return float(3 * total / (size**3 - size))


def pairwise_tau(orders: Sequence[Order]) -> npt.NDArray[np.float64]:
    """Kendall's tau between every two ballots, as a square matrix of -1 to 1.

    Each is over the candidates that both rank, and NaN where those are fewer than two or where a ballot
    puts all of them on a level. Source: Kendall 1945, tau-b as `scipy.stats.kendalltau` computes it, which
    without level pairs is the tau of Kendall 1938.
    """
    with interrupts_held():
        import numpy as np
        from scipy.stats import kendalltau

    Tally(orders)
    told = [levels(order) for order in orders]
    kinds = list(dict.fromkeys(told))
    number = {ranked: index for index, ranked in enumerate(kinds)}
    ranks = [
        {candidate: place for place, level in enumerate(ranked) for candidate in level} for ranked in kinds
    ]
    # Equal ballots are common, and one call takes as long as thousands of look-ups.
    taus = np.full((len(kinds), len(kinds)), math.nan)
    for row, one in enumerate(ranks):
        taus[row, row] = 1.0 if len(kinds[row]) > 1 else math.nan
        for column in range(row):
            other = ranks[column]
            common = [candidate for candidate in one if candidate in other]
            if len(common) > 1:
                found = kendalltau([one[each] for each in common], [other[each] for each in common])
                taus[row, column] = taus[column, row] = float(found.statistic)
    rows = np.array([number[ranked] for ranked in told], dtype=np.intp)
    return taus[np.ix_(rows, rows)]


def condorcet_winner(orders: Sequence[Order], weights: Sequence[float] | None = None) -> int | None:
    """The candidate who beats every other one by a majority of those that compare the two, if there is one.

    Source: Condorcet 1785.
    """
    tally = Tally(orders, weights)
    if len(tally.candidates) < 2:
        return None
    for one in tally.candidates:
        if all(tally.margin(one, other) > 0 for other in tally.candidates if other != one):
            return one
    return None


def cycle(orders: Sequence[Order], weights: Sequence[float] | None = None) -> list[int] | None:
    """A shortest majority cycle, None if there is none.

    Each candidate in the list beats the next by majority, the last one the first. It starts with its
    lowest number; of several the one that starts lowest is given. Source: Condorcet 1785.
    """
    tally = Tally(orders, weights)
    beats = {
        one: [other for other in tally.compared if tally.margin(one, other) > 0] for one in tally.compared
    }
    shortest: list[int] | None = None
    for start in tally.compared:
        found = _shortest_way_back(start, beats)
        if found is not None and (shortest is None or len(found) < len(shortest)):
            shortest = found
    return shortest


def sensitivity(
    orders: Sequence[Order],
    rules: Mapping[str, Rule] = RULES,
    weights: Sequence[float] | None = None,
) -> Sensitivity:
    """Which rules name another winner, and which single ballot flips the winner of each rule.

    The rules are compared with the first of them. A ballot is left out alone, the candidates staying the
    same; the only one is not. Raises ValueError without a rule.
    """
    if not rules:
        raise ValueError("rules is empty: give at least one, such as {'borda': borda}, or leave it out")
    everybody = Tally(orders, weights).candidates
    winners = {
        name: rule(orders, weights=weights, candidates=everybody).winners for name, rule in rules.items()
    }
    flips: dict[str, dict[int, tuple[int, ...]]] = {name: {} for name in rules}
    for left_out in range(len(orders)) if len(orders) > 1 else ():
        others = [order for number, order in enumerate(orders) if number != left_out]
        shares = weights if weights is None else [*weights[:left_out], *weights[left_out + 1 :]]
        for name, rule in rules.items():
            without = rule(others, weights=shares, candidates=everybody).winners
            if without != winners[name]:
                flips[name][left_out] = without
    first = next(iter(winners.values()))
    return Sensitivity(winners, [name for name, found in winners.items() if found != first], flips)


def _mean_tau(orders: Sequence[Order]) -> float | None:
    import numpy as np

    taus = pairwise_tau(orders)
    known = taus[np.triu_indices(len(orders), 1)]
    known = known[~np.isnan(known)]
    return float(known.mean()) if known.size else None


def _shortest_way_back(start: int, beats: Mapping[int, Sequence[int]]) -> list[int] | None:
    """The shortest cycle through a candidate, starting with it."""
    came_from: dict[int, int] = {}
    layer = [start]
    while layer:
        after: list[int] = []
        for one in layer:
            for other in beats[one]:
                if other == start:
                    way = [one]
                    while way[-1] != start:
                        way.append(came_from[way[-1]])
                    return way[::-1]
                if other not in came_from:
                    came_from[other] = one
                    after.append(other)
        layer = after
    return None
