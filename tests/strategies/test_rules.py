"""Rules of aggregation against published elections, reference implementations and their own axioms."""

from __future__ import annotations

import random
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from composite_lab.strategies.ranking import standings
from composite_lab.strategies.rules import (
    RULES,
    Ranking,
    borda,
    bradley_terry,
    kemeny_young,
    mean_rank,
    schulze,
)
from composite_lab.trace.call import Ballot, label

Orders = list[list[int]]
EVERY_RULE = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def election(votes: dict[str, int]) -> tuple[Orders, list[int]]:
    """Ballots and weights of an election written as {"ABC": 30, …}, A being 0."""
    return [[ord(letter) - ord("A") for letter in order] for order in votes], list(votes.values())


def in_letters(ranking: Ranking) -> str:
    """The places as in "A>B=C"."""
    text = ""
    before = 0
    for row in ranking:
        text += ("" if not before else "=" if row.place == before else ">") + chr(ord("A") + row.candidate)
        before = row.place
    return text


# The capital of Tennessee: M(emphis), N(ashville), C(hattanooga), K(noxville) as A, B, C, D. As told in
# Wikipedia's and Electowiki's articles on the Kemeny-Young method, with the voters in percent.
TENNESSEE = {"ABCD": 42, "BCDA": 26, "CDBA": 15, "DCBA": 17}
# Schulze 2011, example 1.
SCHULZE = {
    "ACBED": 5, "ADECB": 5, "BEDAC": 8, "CABED": 3, "CAEBD": 7, "CBADE": 2, "DCEBA": 7, "EBADC": 8,
}  # fmt: skip
# Condorcet 1785: A beats both others by majority, Borda's count elects B. Discussed in Young 1988.
CONDORCET_AGAINST_BORDA = {"ABC": 30, "ACB": 1, "CAB": 10, "BAC": 29, "BCA": 10, "CBA": 1}
# Condorcet 1785, a cycle whose weakest link is A over B (33 of 60): Young 1988 derives B>C>A.
YOUNG = {"ABC": 23, "BCA": 17, "BAC": 2, "CAB": 10, "CBA": 8}
PARADOX = {"ABC": 1, "BCA": 1, "CAB": 1}


@pytest.mark.parametrize(
    ("votes", "rule", "expected"),
    [
        (TENNESSEE, kemeny_young, "B>C>D>A"),
        (TENNESSEE, schulze, "B>C>D>A"),
        (TENNESSEE, borda, "B>C>A>D"),
        (TENNESSEE, mean_rank, "B>C>A>D"),
        (SCHULZE, schulze, "E>A>C>B>D"),
        (CONDORCET_AGAINST_BORDA, borda, "B>A>C"),
        (CONDORCET_AGAINST_BORDA, kemeny_young, "A>B>C"),
        (CONDORCET_AGAINST_BORDA, schulze, "A>B>C"),
        (YOUNG, kemeny_young, "B>C>A"),
        (YOUNG, borda, "B>A>C"),
        *[(PARADOX, rule, "A=B=C") for rule in RULES.values()],
    ],
)
def test_published_elections_come_out_as_published(votes: dict[str, int], rule: Any, expected: str) -> None:
    orders, weights = election(votes)
    assert in_letters(rule(orders, weights=weights)) == expected
    one_by_one = [order for order, weight in zip(orders, weights, strict=True) for _ in range(weight)]
    assert in_letters(rule(one_by_one)) == expected


def test_borda_scores_are_shares_of_rivals_beaten() -> None:
    orders, weights = election(CONDORCET_AGAINST_BORDA)
    counts = {0: 101, 1: 109, 2: 33}  # Borda's points 2, 1, 0 among 81 voters
    assert borda(orders, weights=weights).scores == pytest.approx(
        {candidate: count / 162 for candidate, count in counts.items()}
    )
    assert mean_rank(orders, weights=weights).scores == pytest.approx(
        {candidate: 3 - count / 81 for candidate, count in counts.items()}
    )


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (borda, [0.6153846153846154, 0.35294117647058826, 0.5, 0.48148148148148145]),
        (mean_rank, [2.1538461538461537, 2.9411764705882355, 2.5, 2.5555555555555554]),
        (kemeny_young, [2.0, 4.0, 1.0, 3.0]),
        (schulze, [1.0, -3.0, 3.0, -1.0]),
        (bradley_terry, [0.223387412, -0.370064878, 0.310314417, -0.163636951]),
    ],
)
def test_scores_of_incomplete_weighted_orders_stay_what_they_were(rule: Any, expected: list[float]) -> None:
    orders = [[2, 0, 1, 3], [0, 3, 2], [3, 1], [1, 2, 0], [2, 3, 1, 0]]
    found = rule(orders, weights=[1, 2, 0.5, 1 / 3, 1])
    assert [found.scores[one] for one in range(4)] == pytest.approx(expected, abs=1e-8)


def test_borda_agrees_with_the_standings_of_a_trace() -> None:
    draw = random.Random(3)
    orders = [draw.sample([0, 1, 2, 3, 4], draw.randint(2, 5)) for _ in range(12)]
    ballots = []
    for order in orders:
        shown = {member: label(place) for place, member in enumerate(sorted(order))}
        ranking = [shown[member] for member in order]
        ballots.append(
            Ballot(
                reviewer=9,
                labels=list(shown.values()),
                members=sorted(order),
                ranking=ranking,
                status="valid",
            )
        )
    found = {standing.member: standing.borda for standing in standings(ballots, range(5))}
    assert borda(orders).scores == pytest.approx(found)


PARTIAL = st.permutations(range(5)).flatmap(
    lambda order: st.integers(0, 5).map(lambda size: list(order[:size]))
)
WEIGHTED = st.lists(st.tuples(PARTIAL, st.sampled_from([1, 1, 2, 3, 0.5, 0])), max_size=7)


def fitted(orders: Orders, weights: list[float], count: int) -> list[float]:
    """The strengths that statsmodels' logistic regression finds, 0 on average."""
    unit = sum(weights) / len(weights)
    wins = np.full((count, count), 0.1)
    for order, weight in zip(orders, weights, strict=True):
        for place, better in enumerate(order):
            for worse in order[place + 1 :]:
                wins[better, worse] += weight / unit
    outcomes, design = [], []
    for one in range(count):
        for other in range(one):
            outcomes.append([wins[one, other], wins[other, one]])
            row = np.zeros(count)
            row[one], row[other] = 1, -1
            design.append(row[1:])
    fit = sm.GLM(np.array(outcomes), np.array(design), family=sm.families.Binomial()).fit(tol=1e-12)
    strengths = np.array([0.0, *fit.params])
    return list(strengths - strengths.mean())


@pytest.mark.filterwarnings("ignore:Perfect separation")
@pytest.mark.parametrize("seed", range(8))
def test_bradley_terry_agrees_with_logistic_regression(seed: int) -> None:
    draw = random.Random(seed)
    count = draw.randint(2, 8)
    orders = [draw.sample(range(count), draw.randint(2, count)) for _ in range(draw.randint(1, 9))]
    orders.append(list(range(count)))
    weights = [draw.choice([1.0, 2.0, 0.25]) for _ in orders]
    found = bradley_terry(orders, weights=weights).scores
    assert [found[member] for member in range(count)] == pytest.approx(
        fitted(orders, weights, count), abs=1e-6
    )


@pytest.mark.filterwarnings("ignore:Perfect separation")
def test_bradley_terry_exists_where_one_always_wins() -> None:
    found = bradley_terry([[0, 1, 2]] * 50).scores
    assert [found[member] for member in range(3)] == pytest.approx(
        fitted([[0, 1, 2]] * 50, [1.0] * 50, 3), abs=1e-5
    )
    for agreed in ([[0, 1]] * 1000 + [[1, 2]] * 1000 + [[2, 3]] * 1000, [list(range(12))] * 100):
        count = max(map(max, agreed)) + 1
        strengths = bradley_terry(agreed).scores
        assert [strengths[member] for member in range(count)] == pytest.approx(
            fitted(agreed, [1.0] * len(agreed), count), abs=1e-5
        )
    two = bradley_terry([[0, 1]] * 3).scores
    # Lent a tenth: 3.1 wins to 0.1.
    assert (two[0] or 0) - (two[1] or 0) == pytest.approx(np.log(31), abs=1e-6)


@EVERY_RULE
@pytest.mark.parametrize("best_to_worst", list(permutations(range(4))))
def test_leaving_oneself_out_moves_nobody(rule: Any, best_to_worst: tuple[int, ...]) -> None:
    without_self = [[member for member in best_to_worst if member != own] for own in range(4)]
    whole = rule([best_to_worst] * 4)
    assert rule(without_self).places == whole.places == {m: at for at, m in enumerate(best_to_worst, 1)}


@EVERY_RULE
@settings(max_examples=60)
@given(WEIGHTED, st.permutations(range(5)))
def test_relabelling_the_candidates_relabels_the_ranking(
    rule: Any, ballots: list[tuple[list[int], float]], names: list[int]
) -> None:
    orders, weights = [order for order, _ in ballots], [weight for _, weight in ballots]
    found = rule(orders, weights=weights, candidates=range(5))
    renamed = rule([[names[m] for m in order] for order in orders], weights=weights, candidates=range(5))
    assert renamed.places == {names[member]: place for member, place in found.places.items()}


@EVERY_RULE
@settings(max_examples=60)
@given(WEIGHTED)
def test_reversing_all_ballots_reverses_the_ranking(
    rule: Any, ballots: list[tuple[list[int], float]]
) -> None:
    orders, weights = [order for order, _ in ballots], [weight for _, weight in ballots]
    places = {row.candidate: row.place for row in rule(orders, weights=weights) if row.score is not None}
    turned = rule([order[::-1] for order in orders], weights=weights)
    found = {row.candidate: row.place for row in turned if row.score is not None}
    assert found == {
        one: 1 + sum(other > place for other in places.values()) for one, place in places.items()
    }


@EVERY_RULE
@settings(max_examples=60)
@given(WEIGHTED, st.randoms(use_true_random=False))
def test_order_and_scale_of_the_ballots_do_not_matter(
    rule: Any, ballots: list[tuple[list[int], float]], draw: random.Random
) -> None:
    found = rule([order for order, _ in ballots], weights=[weight for _, weight in ballots])
    draw.shuffle(ballots)
    scaled = rule([order for order, _ in ballots], weights=[weight * 0.1 for _, weight in ballots])
    assert scaled.places == found.places


@EVERY_RULE
def test_weights_count_like_repeated_ballots(rule: Any) -> None:
    orders = [[0, 1, 2], [1, 2, 0], [2, 1]]
    weighted = rule(orders, weights=[3, 2, 1])
    repeated = rule([*[orders[0]] * 3, *[orders[1]] * 2, orders[2]])
    assert weighted.places == repeated.places
    assert rule([[0, 1]] * 3 + [[1, 0]], weights=[1 / 3, 1 / 3, 1 / 3, 1]).places == {0: 1, 1: 1}


@EVERY_RULE
def test_candidate_whom_nobody_compared_comes_last_without_a_score(rule: Any) -> None:
    ranking = rule([[2, 1], [0], [3, 0, 1]], weights=[1, 1, 0], candidates=range(5))
    assert [(row.candidate, row.place, row.score is None) for row in ranking] == [
        (2, 1, False),
        (1, 2, False),
        (0, 3, True),
        (3, 3, True),
        (4, 3, True),
    ]
    assert ranking.winners == (2,)


@EVERY_RULE
@pytest.mark.parametrize("orders", [[], [[]], [[0], [1]]])
def test_without_a_comparison_nobody_wins(rule: Any, orders: Orders) -> None:
    ranking = rule(orders, candidates=[0, 1])
    assert [(row.candidate, row.score, row.place) for row in ranking] == [(0, None, 1), (1, None, 1)]
    assert ranking.winners == ()


@EVERY_RULE
@pytest.mark.parametrize(
    ("orders", "weights", "said"),
    [
        ([[0, 1], [1, 2, 1]], None, r"orders\[1\] = \[1, 2, 1\] has a candidate twice"),
        ([[0, 1]], [1, 2], "2 weights for 1 orders"),
        ([[0, 1]], [-1], r"weights\[0\] = -1 is no weight"),
        ([[0, 1]], [float("nan")], r"weights\[0\] = nan is no weight"),
        ([[0, 1]], [float("inf")], r"weights\[0\] = inf is no weight"),
    ],
)
def test_what_cannot_be_counted_is_refused(rule: Any, orders: Orders, weights: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rule(orders, weights=weights)
