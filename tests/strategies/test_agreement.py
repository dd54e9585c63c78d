"""How far reviewers agree: against textbooks, against scipy, and on ballots without oneself."""

from __future__ import annotations

import random
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare, kendalltau, rankdata

from composite_lab.strategies.agreement import (
    Agreement,
    agreement,
    condorcet_winner,
    cycle,
    kendalls_w,
    pairwise_tau,
    sensitivity,
)
from composite_lab.strategies.rules import RULES, SCORE_RULES, borda, kemeny_young, schulze

PARADOX = [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
FULL = st.lists(st.permutations(range(4)), min_size=2, max_size=6)
SCORES = st.dictionaries(st.integers(0, 4), st.sampled_from([0, 1, 2, 2.5]), max_size=5)


def without_self(orders: list[list[int]]) -> list[list[int]]:
    return [[member for member in order if member != own] for own, order in enumerate(orders)]


def rotations(count: int) -> list[list[int]]:
    return [[*range(shift, count), *range(shift)] for shift in range(count)]


@pytest.mark.parametrize("count", [2, 3, 5, 9])
def test_w_is_one_where_all_agree_and_zero_on_a_cycle(count: int) -> None:
    assert kendalls_w([list(range(count))] * 4) == 1
    assert kendalls_w(rotations(count)) == 0


@pytest.mark.parametrize("count", [3, 4, 5, 9])
def test_w_of_ballots_without_oneself_is_one_where_all_agree(count: int) -> None:
    assert kendalls_w(without_self([list(range(count))] * count)) == 1


def test_w_of_three_reviewers_without_themselves_is_zero_on_a_cycle() -> None:
    assert kendalls_w([[1, 2], [2, 0], [0, 1]]) == 0


@given(FULL)
def test_w_of_complete_ballots_is_friedmans_statistic(orders: list[list[int]]) -> None:
    # W = χ² / (m (n - 1)).
    ranks = [[order.index(member) for order in orders] for member in range(4)]
    expected = friedmanchisquare(*ranks).statistic / (len(orders) * 3)
    assert kendalls_w(orders) == pytest.approx(expected)


def test_w_of_balanced_incomplete_ballots_is_durbins() -> None:
    # Durbin 1951: with n candidates, each on r of the ballots of k, each pair on λ of them,
    # W = (12 ΣR² - 3 n r² (k + 1)²) / (λ² n (n² - 1)).
    draw = random.Random(1)
    for count in (4, 5, 7):
        orders = without_self([draw.sample(range(count), count) for _ in range(count)])
        sums = [sum(order.index(m) + 1 for order in orders if m in order) for m in range(count)]
        r, k, pairs = count - 1, count - 1, count - 2
        squares = 12 * sum(each**2 for each in sums) - 3 * count * r**2 * (k + 1) ** 2
        assert kendalls_w(orders) == pytest.approx(squares / (pairs**2 * count * (count**2 - 1)))


@pytest.mark.parametrize("orders", [[], [[0, 1, 2]], [[0], [1]], [[0, 1], [1, 2]], [[0, 1, 2], []]])
def test_w_is_not_guessed_where_it_is_not_defined(orders: list[list[int]]) -> None:
    assert kendalls_w(orders) is None


@given(st.lists(st.permutations(range(5)).map(lambda order: order[:4]), max_size=8))
def test_w_lies_between_zero_and_one(orders: list[list[int]]) -> None:
    found = kendalls_w(orders)
    assert found is None or 0 <= found <= 1


def test_taus_are_those_of_common_candidates() -> None:
    orders = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 2], [3], [2, 9]]
    taus = pairwise_tau(orders)
    assert taus.shape == (5, 5)
    assert np.array_equal(taus, taus.T, equal_nan=True)
    assert taus[0, 1] == -1
    assert taus[0, 2] == pytest.approx(kendalltau([0, 1, 2], [1, 0, 2]).statistic)
    assert taus[1, 2] == pytest.approx(-taus[0, 2])
    assert [taus[number, number] for number in (0, 2, 4)] == [1, 1, 1]
    assert np.isnan([taus[3, 3], taus[0, 3], taus[0, 4]]).all()


@given(st.lists(SCORES, max_size=5))
def test_taus_of_scores_are_those_of_scipy_over_common_candidates(ballots: list[dict[int, float]]) -> None:
    taus = pairwise_tau(ballots)
    for row, one in enumerate(ballots):
        for column, other in enumerate(ballots):
            common = sorted(one.keys() & other.keys())
            expected = np.nan
            if len(common) > 1:
                expected = kendalltau([one[m] for m in common], [other[m] for m in common]).statistic
            assert taus[row, column] == pytest.approx(expected, nan_ok=True)


def test_tau_with_a_ballot_that_levels_all_is_not_defined() -> None:
    ballots = [{0: 1, 1: 2}, {0: 3, 1: 3}]
    assert np.array_equal(np.isnan(pairwise_tau(ballots)), [[False, True], [True, True]])
    assert agreement(ballots).mean_tau is None


@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=2, max_size=6))
def test_w_of_scores_is_that_of_mid_ranks_without_correction(rows: list[list[int]]) -> None:
    sums = np.sum([rankdata(row) for row in rows], axis=0)
    expected = 12 * np.sum((sums - sums.mean()) ** 2) / (len(rows) ** 2 * (4**3 - 4))
    assert kendalls_w([dict(enumerate(row)) for row in rows]) == pytest.approx(expected)


def test_w_is_below_one_where_all_agree_on_level_candidates() -> None:
    agreed = kendalls_w([{0: 9, 1: 4, 2: 4}] * 3)
    assert agreed == pytest.approx(0.75)
    assert kendalls_w([{0: 4, 1: 4, 2: 4}] * 3) == 0


@given(st.lists(st.permutations(range(4)).map(lambda order: order[:3]), max_size=5), st.data())
def test_scores_that_say_the_same_as_orders_agree_the_same(orders: list[list[int]], data: Any) -> None:
    scored = [{member: -place for place, member in enumerate(order)} for order in orders]
    mixed = [data.draw(st.sampled_from(pair)) for pair in zip(orders, scored, strict=True)]
    assert agreement(scored) == agreement(mixed) == agreement(orders)
    assert np.array_equal(pairwise_tau(mixed), pairwise_tau(orders), equal_nan=True)


@given(FULL)
def test_w_and_mean_tau_point_the_same_way(orders: list[list[int]]) -> None:
    found = agreement(orders)
    assert found.w is not None
    assert found.mean_tau is not None
    assert (found.w == 1) == (found.mean_tau == pytest.approx(1))


def test_condorcet_winner_beats_everybody_by_majority() -> None:
    # The capital of Tennessee: Memphis, Nashville, Chattanooga, Knoxville.
    orders = [[0, 1, 2, 3], [1, 2, 3, 0], [2, 3, 1, 0], [3, 2, 1, 0]]
    assert condorcet_winner(orders, [42, 26, 15, 17]) == 1
    assert condorcet_winner(orders, [58, 26, 15, 1]) == 0
    assert condorcet_winner([[0, 1], [1, 0]]) is None
    assert condorcet_winner(PARADOX) is None
    assert condorcet_winner([]) is None
    assert condorcet_winner([[0]]) is None
    assert condorcet_winner([[0, 1], [2]]) is None  # 2 met nobody
    assert condorcet_winner([[1, 2], [0, 2], [0, 1]]) == 0


def test_cycle_is_found_and_shortest() -> None:
    assert cycle(PARADOX) == [0, 1, 2]
    assert cycle([order[::-1] for order in PARADOX]) == [0, 2, 1]
    assert cycle([[0, 1, 2]] * 3) is None
    assert cycle([[0, 1], [1, 0]]) is None
    assert cycle([]) is None
    assert cycle([[1, 2], [2, 3], [3, 4], [4, 1]]) == [1, 2, 3, 4]
    assert cycle(PARADOX, [3, 1, 1]) is None
    assert cycle([[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 4]]) == [4, 5, 6]
    assert cycle([[9, *order] for order in PARADOX]) == [0, 1, 2]


def test_level_pair_is_no_majority() -> None:
    assert condorcet_winner([{0: 5, 1: 5, 2: 1}]) is None
    assert condorcet_winner([{0: 5, 1: 5, 2: 1}, [0, 2]]) is None
    assert condorcet_winner([{0: 5, 1: 5, 2: 1}, [0, 1]]) == 0
    assert cycle([[0, 1], [1, 2], {2: 3, 0: 3}]) is None
    assert cycle([[0, 1], [1, 2], {2: 3, 0: 3}, {2: 4, 0: 1}]) == [0, 1, 2]


@given(FULL)
def test_cycle_is_a_cycle_of_majorities_and_its_absence_means_an_order(orders: list[list[int]]) -> None:
    beats = {
        (one, other)
        for one in range(4)
        for other in range(4)
        if sum(order.index(one) < order.index(other) for order in orders) * 2 > len(orders)
    }
    found = cycle(orders)
    if found is not None:
        assert all(pair in beats for pair in zip(found, [*found[1:], found[0]], strict=True))
        assert len(set(found)) == len(found) >= 3
    else:
        left = set(range(4))
        while top := {one for one in left if not any((other, one) in beats for other in left)}:
            left -= top
        assert not left


def test_agreement_tells_all_four() -> None:
    assert agreement(PARADOX) == Agreement(
        w=0, mean_tau=pytest.approx(-1 / 3), condorcet_winner=None, cycle=[0, 1, 2]
    )
    assert agreement([[0, 1, 2]] * 2) == Agreement(w=1, mean_tau=1, condorcet_winner=0, cycle=None)
    assert agreement([]) == Agreement(w=None, mean_tau=None, condorcet_winner=None, cycle=None)


def test_mean_tau_is_the_mean_over_pairs_of_ballots() -> None:
    orders = [[0, 1, 2, 3], [0, 1, 3, 2], [3, 2, 1, 0], [2]]
    taus = [
        kendalltau(*(np.argsort(order) for order in two)).statistic for two in combinations(orders[:3], 2)
    ]
    assert agreement(orders).mean_tau == pytest.approx(np.mean(taus))


def test_sensitivity_names_the_rules_with_another_winner() -> None:
    # Condorcet 1785: Borda's count elects 1, who loses to 0 by one vote in 81.
    orders = [[0, 1, 2], [0, 2, 1], [2, 0, 1], [1, 0, 2], [1, 2, 0], [2, 1, 0]]
    found = sensitivity(orders, weights=[30, 1, 10, 29, 10, 1])
    assert list(found.winners) == list(RULES)
    assert found.winners["borda"] == found.winners["mean_rank"] == (1,)
    assert found.winners["kemeny_young"] == found.winners["schulze"] == (0,)
    assert {"kemeny_young", "schulze"} <= set(found.other_winners)
    assert "mean_rank" not in found.other_winners
    assert not found.robust


def test_sensitivity_names_the_reviewer_that_flips_the_winner() -> None:
    orders = [[0, 1, 2], [0, 1, 2], [1, 0, 2]]
    rules: dict[str, Any] = {"borda": borda, "schulze": schulze}
    found = sensitivity(orders, rules)
    assert found.winners == {"borda": (0,), "schulze": (0,)}
    assert found.flips == {"borda": {0: (0, 1), 1: (0, 1)}, "schulze": {0: (0, 1), 1: (0, 1)}}
    assert found.other_winners == []
    assert not found.robust
    swung = sensitivity([[0, 1], [1, 0]], {"schulze": schulze}, weights=[3, 2])
    assert swung.flips == {"schulze": {0: (1,)}}
    heavy = sensitivity([[1, 0], [0, 1], [1, 0]], {"schulze": schulze}, weights=[1, 5, 3])
    assert heavy.flips == {"schulze": {1: (1,)}}


def test_sensitivity_of_scores_tells_where_the_mean_score_names_another_winner() -> None:
    # Two put 0 a little before 1, one puts 1 far before 0.
    ballots = [{0: 8, 1: 7}, {0: 8, 1: 7}, {0: 1, 1: 9}]
    found = sensitivity(ballots, SCORE_RULES)
    assert found.winners == {"mean_score": (1,)} | dict.fromkeys(RULES, (0,))
    assert found.other_winners == list(RULES)
    assert found.flips["mean_score"] == {2: (0,)}
    assert sensitivity(ballots).winners == dict.fromkeys(RULES, (0,))


def test_sensitivity_finds_nothing_where_all_agree() -> None:
    found = sensitivity(without_self([[2, 0, 1, 3]] * 4))
    assert found.winners == dict.fromkeys(RULES, (2,))
    assert found.robust


def test_only_ballot_cannot_be_left_out() -> None:
    found = sensitivity([[1, 0]], {"kemeny_young": kemeny_young})
    assert found.flips == {"kemeny_young": {}}


@pytest.mark.parametrize("ask", [agreement, kendalls_w, pairwise_tau, condorcet_winner, cycle, sensitivity])
def test_order_with_a_candidate_twice_is_refused(ask: Any) -> None:
    with pytest.raises(ValueError, match=r"orders\[1\] = \[2, 2\] has a candidate twice"):
        ask([[0, 1], [2, 2]])


@pytest.mark.parametrize("ask", [agreement, kendalls_w, pairwise_tau, condorcet_winner, cycle, sensitivity])
def test_score_that_is_not_finite_is_refused(ask: Any) -> None:
    with pytest.raises(ValueError, match=r"orders\[1\] = \{2: nan, 0: 1\} scores candidate 2 with nan"):
        ask([[0, 1], {2: float("nan"), 0: 1}])


def test_no_rules_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="rules is empty"):
        sensitivity([[0, 1]], {})
