"""Kemeny-Young: exact against a search of all orders, and local search for what is too large."""

from __future__ import annotations

import random
from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composite_lab.strategies.rules import Ranking, borda, kemeny_young

Orders = list[list[int]]


def test_kemeny_score_is_the_mean_position_over_all_optimal_orders() -> None:
    # 0 and 1 are equal, and so both orders of them are optimal; 2 is last in both.
    ranking = kemeny_young([[0, 1, 2], [1, 0, 2]])
    assert ranking.scores == {0: 1.5, 1: 1.5, 2: 3.0}
    assert ranking.places == {0: 1, 1: 1, 2: 3}
    assert ranking.winners == (0, 1)


PARTIAL = st.permutations(range(5)).flatmap(
    lambda order: st.integers(0, 5).map(lambda size: list(order[:size]))
)
WEIGHTED = st.lists(st.tuples(PARTIAL, st.sampled_from([1, 1, 2, 3, 0.5, 0])), max_size=7)


def agreed(order: tuple[int, ...], ballots: list[tuple[list[int], float]]) -> float:
    """The weight of the preferences on the ballots that the order keeps."""
    return sum(
        weight
        for ballot, weight in ballots
        for better, worse in combinations(ballot, 2)
        if order.index(better) < order.index(worse)
    )


@given(WEIGHTED)
def test_kemeny_agrees_with_a_search_of_all_orders(ballots: list[tuple[list[int], float]]) -> None:
    counted = [(order, weight) for order, weight in ballots if weight and len(order) > 1]
    compared = sorted({member for order, _ in counted for member in order})
    kept = {order: agreed(order, counted) for order in permutations(compared)}
    best = [order for order in kept if kept[order] == max(kept.values())]
    expected = {member: sum(order.index(member) + 1 for order in best) / len(best) for member in compared}
    found = kemeny_young([order for order, _ in ballots], weights=[weight for _, weight in ballots])
    assert {row.candidate: row.score for row in found if row.score is not None} == pytest.approx(expected)


@given(st.lists(st.dictionaries(st.integers(0, 4), st.integers(0, 3), max_size=5), max_size=6))
def test_kemeny_of_scores_agrees_with_a_search_of_all_orders(ballots: list[dict[int, float]]) -> None:
    compared = sorted({member for ballot in ballots if len(ballot) > 1 for member in ballot})

    def against(order: tuple[int, ...]) -> float:
        """The preferences that the order contradicts, a level pair being contradicted by half."""
        scores = [
            (ballot[one], ballot[other])
            for ballot in ballots
            for one, other in combinations(order, 2)
            if one in ballot and other in ballot
        ]
        return sum(1 if one < other else 0.5 if one == other else 0 for one, other in scores)

    costs = {order: against(order) for order in permutations(compared)}
    best = [order for order in costs if costs[order] == min(costs.values())]
    expected = {member: sum(order.index(member) + 1 for order in best) / len(best) for member in compared}
    found = kemeny_young(ballots)
    assert {row.candidate: row.score for row in found if row.score is not None} == pytest.approx(expected)


def test_candidates_that_all_ballots_level_share_a_kemeny_position() -> None:
    assert kemeny_young([{0: 5, 1: 5, 2: 1}] * 3).scores == {0: 1.5, 1: 1.5, 2: 3.0}
    assert kemeny_young([dict.fromkeys(range(12), 4)]).places == dict.fromkeys(range(12), 1)


def contradicted(ranking: Ranking, orders: Orders) -> float:
    """How many preferences on the ballots the ranking contradicts, a shared place counting half."""
    places = ranking.places
    pairs = [(places[better], places[worse]) for order in orders for better, worse in combinations(order, 2)]
    return sum(1 if better > worse else 0.5 if better == worse else 0 for better, worse in pairs)


def test_kemeny_of_many_candidates_is_exact_where_majorities_have_no_large_cycle() -> None:
    draw = random.Random(5)
    truth = list(range(40))
    cycle = [[30, 31, 32], [31, 32, 30], [32, 30, 31]]  # a tie of three in the middle
    orders = [truth[:30] + three + truth[33:] for three in cycle]
    draw.shuffle(orders)
    ranking = kemeny_young(orders)
    assert ranking.scores == {**{m: m + 1.0 for m in truth}, 30: 32.0, 31: 32.0, 32: 32.0}


@pytest.mark.parametrize("seed", range(10))
def test_kemeny_by_local_search_contradicts_no_more_than_borda(seed: int) -> None:
    draw = random.Random(seed)
    orders = [draw.sample(range(14), 14) for _ in range(9)]
    assert contradicted(kemeny_young(orders), orders) <= contradicted(borda(orders), orders)


def test_local_search_improves_on_borda() -> None:
    found = []
    for seed in range(10):
        draw = random.Random(seed)
        orders = [draw.sample(range(14), 14) for _ in range(9)]
        found.append(contradicted(borda(orders), orders) - contradicted(kemeny_young(orders), orders))
    assert max(found) >= 5


def test_local_search_leaves_a_cycle_of_eleven_tied() -> None:
    ranking = kemeny_young([[*range(shift, 11), *range(shift)] for shift in range(11)])
    assert set(ranking.scores.values()) == {6.0}


@pytest.mark.parametrize("seed", range(3))
def test_local_search_favours_no_number_and_no_end(seed: int) -> None:
    draw = random.Random(seed)
    orders = [draw.sample(range(13), 13) for _ in range(7)]
    names = draw.sample(range(13), 13)
    places = kemeny_young(orders).places
    renamed = kemeny_young([[names[m] for m in order] for order in orders]).places
    assert renamed == {names[member]: place for member, place in places.items()}
    turned = kemeny_young([order[::-1] for order in orders]).places
    assert turned == {m: 1 + sum(other > place for other in places.values()) for m, place in places.items()}
