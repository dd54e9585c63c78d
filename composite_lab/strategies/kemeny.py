"""Kemeny-Young: the orders that contradict the ballots least."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from composite_lab.strategies.tally import Order, Ranking, Tally

EXACT = 10  # a majority cycle of more candidates than this is ranked by local search: 2^n subsets


def kemeny_young(
    orders: Sequence[Order],
    *,
    weights: Sequence[float] | None = None,
    candidates: Iterable[int] | None = None,
) -> Ranking:
    """The ranking by mean position over all orders that contradict the fewest pairwise preferences.

    The score is that mean position, 1 being best, so candidates that the optimal orders put either way
    round equally often share a place. A pair that a ballot levels is contradicted by half whichever way it
    is put, and so moves nobody. Candidates are split into groups that beat all later ones by
    majority, as every optimal order does; a group of up to 10 is solved exactly by dynamic programming
    over its subsets. A larger one is ordered by its margins and improved by moving one candidate at a
    time, always the single best move, until none helps or two help equally: that need not be optimal.
    Sources: Kemeny 1959; Young 1988; Truchon 1998 for the groups.
    """
    tally = Tally(orders, weights, candidates)
    scores: dict[int, Fraction] = {}
    for group in majority_groups(tally):
        positions = (
            _mean_positions(group, tally) if len(group) <= EXACT else _searched_positions(group, tally)
        )
        done = len(scores)
        scores |= {candidate: done + position for candidate, position in positions.items()}
    return Ranking.of("kemeny_young", scores, tally.candidates, high=False)


def majority_groups(tally: Tally) -> list[list[int]]:
    """The finest division of the compared candidates into groups, each beating all later ones by majority."""
    reached: dict[int, set[int]] = {}
    for start in tally.compared:
        seen, fresh = {start}, [start]
        while fresh:
            one = fresh.pop()
            found = [other for other in tally.compared if other not in seen and tally.margin(one, other) >= 0]
            seen.update(found)
            fresh += found
        reached[start] = seen
    # Whoever reaches more stands before; those in one group reach the same.
    sizes = sorted({len(seen) for seen in reached.values()}, reverse=True)
    return [[one for one in tally.compared if len(reached[one]) == size] for size in sizes]


def _mean_positions(group: Sequence[int], tally: Tally) -> dict[int, Fraction]:
    """The mean position of each candidate over all optimal orders of the group, 1 being best."""
    count = len(group)
    everybody = (1 << count) - 1
    against = [[tally.preferred(one, other) for other in group] for one in group]

    def cost(last: int, before: int) -> int:
        """What is contradicted by putting one candidate behind a set of others."""
        return sum(against[last][other] for other in range(count) if before >> other & 1)

    costs = {
        (last, before): cost(last, before)
        for before in range(everybody + 1)
        for last in range(count)
        if not before >> last & 1
    }
    # For each set: the least cost of ranking it first and in how many ways, and of ranking the rest last.
    heads: list[tuple[int, int]] = [(0, 1)]
    for placed in range(1, everybody + 1):
        members = [last for last in range(count) if placed >> last & 1]
        ways = [(last, placed ^ 1 << last) for last in members]
        heads.append(
            _least([(heads[before][0] + costs[last, before], heads[before][1]) for last, before in ways])
        )
    tails: list[tuple[int, int]] = [(0, 1)] * (everybody + 1)
    for placed in range(everybody - 1, -1, -1):
        free = [last for last in range(count) if not placed >> last & 1]
        tails[placed] = _least(
            [
                (tails[placed | 1 << last][0] + costs[last, placed], tails[placed | 1 << last][1])
                for last in free
            ]
        )
    best, optima = heads[everybody]
    sums = [0] * count
    for (last, before), price in costs.items():
        head, tail = heads[before], tails[before | 1 << last]
        if head[0] + price + tail[0] == best:
            sums[last] += (before.bit_count() + 1) * head[1] * tail[1]
    return {candidate: Fraction(sums[index], optima) for index, candidate in enumerate(group)}


def _least(ways: Sequence[tuple[int, int]]) -> tuple[int, int]:
    least = min(cost for cost, _ in ways)
    return least, sum(number for cost, number in ways if cost == least)


def _searched_positions(group: Sequence[int], tally: Tally) -> dict[int, Fraction]:
    """The position of each candidate after local search, equal candidates at the middle of their places."""
    margins = {one: {other: tally.margin(one, other) for other in group} for one in group}
    sums = {one: sum(margins[one].values()) for one in group}
    order = [
        frozenset(one for one in group if sums[one] == level)
        for level in sorted(set(sums.values()), reverse=True)
    ]
    while (better := _best_move(order, margins)) is not None:
        order = better
    positions: dict[int, Fraction] = {}
    for level in order:
        middle = len(positions) + Fraction(len(level) + 1, 2)
        positions |= dict.fromkeys(level, middle)
    return positions


def _best_move(
    order: Sequence[frozenset[int]], margins: dict[int, dict[int, int]]
) -> list[frozenset[int]] | None:
    """The order after the one move of a candidate to a place of its own that gains most; None if no one does.

    Where two different moves gain the same neither is made: to choose by number would favour a number.
    """
    most, found = 0, set[tuple[frozenset[int], ...]]()
    for one, against in margins.items():
        gains = [sum(against[other] for other in level) for level in order]
        before = next(index for index, level in enumerate(order) if one in level)
        now = sum(gains[before + 1 :]) - sum(gains[:before])
        for gap in range(len(order) + 1):
            gain = sum(gains[gap:]) - sum(gains[:gap]) - now
            if gain <= 0 or gain < most:
                continue
            moved = [level - {one} for level in order]
            moved.insert(gap, frozenset({one}))
            if gain > most:
                most, found = gain, set()
            found.add(tuple(level for level in moved if level))
    return list(found.pop()) if len(found) == 1 else None
