"""Ballots as reviewers gave them, counted, and the ranking that a rule makes of them."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

_SAME = 1e-7  # scores of iterative rules this close share a place
_FINEST = 10**9  # weights are read as fractions no finer, so that three thirds make one

Order = Sequence[int] | Mapping[int, float]
"""A ballot: candidates from best to worst, or their scores, higher being better and equal ones level."""


class Placed(NamedTuple):
    """A candidate in a ranking: place 1 is best, equal ones share a place; the score is its rule's own.

    The score is None, and the place the last, where nobody compared the candidate with another.
    """

    candidate: int
    score: float | None
    place: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a rule makes of ballots: the candidates from best to worst, those on a shared place by number."""

    rule: str
    placed: tuple[Placed, ...]

    def __iter__(self) -> Iterator[Placed]:
        return iter(self.placed)

    def __len__(self) -> int:
        return len(self.placed)

    @property
    def winners(self) -> tuple[int, ...]:
        """Who stands on place 1; nobody if there was nothing to compare."""
        return tuple(row.candidate for row in self.placed if row.place == 1 and row.score is not None)

    @property
    def places(self) -> dict[int, int]:
        """The place of each candidate."""
        return {row.candidate: row.place for row in self.placed}

    @property
    def scores(self) -> dict[int, float | None]:
        """The score of each candidate."""
        return {row.candidate: row.score for row in self.placed}

    @classmethod
    def of(
        cls, rule: str, scores: Mapping[int, Fraction | float], candidates: Iterable[int], *, high: bool
    ) -> Ranking:
        """The ranking by these scores; `high` if the highest is best. Who has no score comes last."""
        best_first = sorted(scores, key=lambda candidate: scores[candidate], reverse=high)
        groups: list[list[int]] = []
        for candidate in best_first:
            if groups and _same(scores[candidate], scores[groups[-1][-1]]):
                groups[-1].append(candidate)
            else:
                groups.append([candidate])
        placed: list[Placed] = []
        for group in groups:
            place = len(placed) + 1
            placed += [Placed(candidate, float(scores[candidate]), place) for candidate in sorted(group)]
        last = len(placed) + 1
        placed += [Placed(candidate, None, last) for candidate in sorted(set(candidates) - scores.keys())]
        return cls(rule, tuple(placed))


class Tally:
    """Ballots, each an order of candidates from best to worst or their scores, counted.

    A ballot may leave candidates out: then it says nothing about them. Two that it puts on a level have
    half a win each over the other. `weights` has one number per ballot, 1 where none are given;
    `candidates` adds those that nobody may have ranked. Raises ValueError for an order with a candidate
    twice, for a score that is not finite and for weights that are too few, negative or not finite.
    """

    def __init__(
        self,
        orders: Sequence[Order],
        weights: Sequence[float] | None = None,
        candidates: Iterable[int] | None = None,
    ) -> None:
        for number, order in enumerate(orders):
            _check(number, order)
        checked = _checked_weights(weights, len(orders))
        self.candidates = sorted({*(candidates or ()), *(member for order in orders for member in order)})
        self.ballots = [
            (order, weight)
            for order, weight in zip(orders, checked, strict=True)
            if weight and len(order) > 1
        ]
        """Those that compare anything, each with its weight as an even number: halves, too, sum exactly."""
        self.compared = sorted({member for order, _ in self.ballots for member in order})
        """The candidates that they compare."""

    @cached_property
    def _preferred(self) -> Counter[tuple[int, int]]:
        preferred = Counter[tuple[int, int]]()
        for order, weight in self.ballots:
            places = {member: place for place, level in enumerate(levels(order)) for member in level}
            for one, other in combinations(places, 2):
                if places[one] == places[other]:
                    preferred[one, other] += weight // 2
                    preferred[other, one] += weight // 2
                else:
                    preferred[one, other] += weight
        return preferred

    def preferred(self, one: int, other: int) -> int:
        """The weight of the ballots that put `one` before `other`, and half that of those that level them."""
        return self._preferred[one, other]

    def margin(self, one: int, other: int) -> int:
        """By how much weight `one` beats `other`; negative if it loses."""
        return self.preferred(one, other) - self.preferred(other, one)

    def met(self, one: int, other: int) -> int:
        """The weight of the ballots that compare the two."""
        return self.preferred(one, other) + self.preferred(other, one)

    def shares_beaten(self) -> dict[int, Fraction]:
        """For each compared candidate the mean share of its rivals that it beat, over the ballots with it.

        A rival on its level is half beaten.
        """
        beaten: dict[int, dict[int, int]] = {candidate: {} for candidate in self.compared}
        weights = dict.fromkeys(self.compared, 0)
        for order, weight in self.ballots:
            behind, rivals = len(order), len(order) - 1
            for level in levels(order):
                behind -= len(level)
                # Weights are even, so that halves stay whole.
                won = weight * behind + weight // 2 * (len(level) - 1)
                for candidate in level:
                    of = beaten[candidate]
                    of[rivals] = of.get(rivals, 0) + won
                    weights[candidate] += weight
        return {candidate: _mean_share(beaten[candidate], weights[candidate]) for candidate in self.compared}


def _mean_share(beaten: Mapping[int, int], weight: int) -> Fraction:
    """The sum of wins over rivals, by number of rivals, over the weight: exact, and one fraction is made."""
    shared = math.lcm(*beaten)
    return Fraction(sum(won * (shared // rivals) for rivals, won in beaten.items()), shared * weight)


def levels(order: Order) -> tuple[tuple[int, ...], ...]:
    """The candidates of a ballot from best to worst, those on one level together and by number."""
    if not isinstance(order, Mapping):
        return tuple((member,) for member in order)
    scored: dict[float, list[int]] = {}
    for member in sorted(order):
        scored.setdefault(order[member], []).append(member)
    return tuple(tuple(scored[score]) for score in sorted(scored, reverse=True))


def _check(number: int, order: Order) -> None:
    if not isinstance(order, Mapping):
        if len(set(order)) != len(order):
            raise ValueError(f"orders[{number}] = {list(order)!r} has a candidate twice: rank each once")
        return
    for member, score in order.items():
        # So written that NaN and whole numbers beyond the floats fail as well.
        if not abs(score) <= sys.float_info.max:
            raise ValueError(
                f"orders[{number}] = {dict(order)!r} scores candidate {member} with {score!r}: "
                "give a finite number, or leave the candidate out"
            )


def _checked_weights(weights: Sequence[float] | None, count: int) -> list[int]:
    """The weights as even numbers in the same proportions."""
    if weights is None:
        return [2] * count
    if len(weights) != count:
        raise ValueError(f"{len(weights)} weights for {count} orders: give one per order, or none at all")
    for number, weight in enumerate(weights):
        if not math.isfinite(weight) or weight < 0:
            raise ValueError(f"weights[{number}] = {weight!r} is no weight: give a finite number, 0 or more")
    parts = [Fraction(weight).limit_denominator(_FINEST) for weight in weights]
    whole = math.lcm(*(part.denominator for part in parts))
    return [2 * int(part * whole) for part in parts]


def _same(one: Fraction | float, other: Fraction | float) -> bool:
    # Fractions are exact; floats come from an iteration that stops short of the last digit.
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one, other, rel_tol=0, abs_tol=_SAME)
    return one == other
