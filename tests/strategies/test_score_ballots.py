"""Ballots of scores under every rule, and the mean score against its model as statsmodels fits it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from composite_lab.strategies.rules import (
    RULES,
    SCORE_RULES,
    Order,
    Ranking,
    borda,
    bradley_terry,
    kemeny_young,
    mean_rank,
    mean_score,
    schulze,
)

Scores = dict[int, float]
EVERY_RULE = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
EVERY_SCORE_RULE = pytest.mark.parametrize("rule", SCORE_RULES.values(), ids=SCORE_RULES)

WEIGHTS = st.sampled_from([1, 1, 2, 3, 0.5, 0])
SCORES = st.dictionaries(st.integers(0, 4), st.sampled_from([0, 1, 2, 2.5, 7, 10]), max_size=5)
SCORED = st.lists(st.tuples(SCORES, WEIGHTS), max_size=6)
COMPLETE = st.lists(
    st.lists(st.integers(0, 10), min_size=4, max_size=4).map(lambda row: dict(enumerate(row))),
    min_size=1,
    max_size=6,
)
PARTIAL = st.permutations(range(5)).flatmap(
    lambda order: st.integers(0, 5).map(lambda size: list(order[:size]))
)


def saying_the_same(order: list[int], draw: random.Random) -> Scores:
    """Scores that fall along the order, told in another sequence."""
    steps = sorted(draw.sample(range(100), len(order)), reverse=True)
    scored = list(zip(order, steps, strict=True))
    draw.shuffle(scored)
    return dict(scored)


def without_self(ballots: list[Scores]) -> list[Scores]:
    return [{one: score for one, score in ballot.items() if one != own} for own, ballot in enumerate(ballots)]


def counted(rule: Any, ballots: list[tuple[Scores, float]], **others: Any) -> Ranking:
    return rule([ballot for ballot, _ in ballots], weights=[weight for _, weight in ballots], **others)


def places(ranking: Ranking) -> dict[int, int]:
    """The places of those that were compared."""
    return {row.candidate: row.place for row in ranking if row.score is not None}


@EVERY_RULE
@settings(max_examples=60)
@given(
    st.lists(st.tuples(PARTIAL, WEIGHTS), max_size=6), SCORED, st.randoms(use_true_random=False), st.data()
)
def test_an_order_and_the_scores_that_say_the_same_count_the_same(
    rule: Any, ordered: list[tuple[list[int], float]], scored: Any, draw: random.Random, data: Any
) -> None:
    weights = [weight for _, weight in [*ordered, *scored]]
    others = [ballot for ballot, _ in scored]
    as_orders = [order for order, _ in ordered]
    as_scores = [saying_the_same(order, draw) for order in as_orders]
    mixed = [data.draw(st.sampled_from(pair)) for pair in zip(as_orders, as_scores, strict=True)]
    found = rule([*as_orders, *others], weights=weights)
    assert rule([*as_scores, *others], weights=weights) == found
    assert rule([*mixed, *others], weights=weights) == found


@EVERY_RULE
@given(SCORED, st.randoms(use_true_random=False))
def test_rules_for_orders_read_no_more_than_the_order_of_the_scores(
    rule: Any, ballots: list[tuple[Scores, float]], draw: random.Random
) -> None:
    steps = {score: step for step, score in enumerate([0, 1, 2, 2.5, 7, 10], draw.randint(-9, 9))}
    stretched = [({m: steps[score] ** 3 for m, score in ballot.items()}, each) for ballot, each in ballots]
    assert counted(rule, stretched) == counted(rule, ballots)


@EVERY_SCORE_RULE
@settings(max_examples=60)
@given(SCORED)
def test_reversing_all_scores_reverses_the_ranking(rule: Any, ballots: list[tuple[Scores, float]]) -> None:
    before = places(counted(rule, ballots))
    turned = counted(rule, [({m: -score for m, score in ballot.items()}, each) for ballot, each in ballots])
    assert places(turned) == {
        one: 1 + sum(other > place for other in before.values()) for one, place in before.items()
    }


@EVERY_SCORE_RULE
@settings(max_examples=60)
@given(SCORED, st.permutations(range(5)))
def test_relabelling_the_candidates_relabels_the_ranking_of_scores(
    rule: Any, ballots: list[tuple[Scores, float]], names: list[int]
) -> None:
    found = counted(rule, ballots, candidates=range(5))
    other = [({names[m]: score for m, score in ballot.items()}, each) for ballot, each in ballots]
    renamed = counted(rule, other, candidates=range(5))
    assert renamed.places == {names[one]: place for one, place in found.places.items()}


# Not Bradley-Terry: what it lends is in mean ballot weights, which are others if ballots are repeated.
@pytest.mark.parametrize("rule", [mean_score, borda, mean_rank, kemeny_young, schulze])
@given(SCORED)
def test_integer_weights_count_like_repeated_ballots_of_scores(
    rule: Any, ballots: list[tuple[Scores, float]]
) -> None:
    whole = [(ballot, int(2 * weight)) for ballot, weight in ballots]
    repeated = [ballot for ballot, weight in whole for _ in range(weight)]
    everybody = {one for ballot, _ in ballots for one in ballot}
    assert counted(rule, whole) == rule(repeated, candidates=everybody)


@EVERY_SCORE_RULE
@given(COMPLETE)
def test_complete_ballot_with_all_level_moves_nobody_among_complete_ballots(
    rule: Any, ballots: list[Scores]
) -> None:
    assert places(rule([*ballots, dict.fromkeys(range(4), 5)])) == places(rule(ballots))


@pytest.mark.parametrize("rule", [schulze, kemeny_young])
@given(SCORED)
def test_ballot_with_all_level_changes_nothing_where_only_margins_count(
    rule: Any, ballots: list[tuple[Scores, float]]
) -> None:
    before = counted(rule, ballots)
    # Of those compared already: a level ballot does compare, and so would bring in others.
    level = dict.fromkeys(places(before), 3)
    after = counted(rule, [*ballots, (level, 2)])
    assert places(after) == places(before)
    assert [after.scores[one] for one in level] == [before.scores[one] for one in level]


@EVERY_SCORE_RULE
def test_candidates_that_only_level_ballots_compare_share_the_first_place(rule: Any) -> None:
    ranking = rule([{0: 4, 1: 4, 2: 4}, {2: 1, 0: 1}], candidates=range(4))
    assert ranking.winners == (0, 1, 2)
    assert ranking.scores[3] is None


@EVERY_SCORE_RULE
@pytest.mark.parametrize("ballots", [[], [{}], [{0: 3}, {1: 9}]])
def test_ballots_that_score_fewer_than_two_compare_nothing(rule: Any, ballots: list[Scores]) -> None:
    ranking = rule(ballots, candidates=[0, 1])
    assert [(row.candidate, row.score, row.place) for row in ranking] == [(0, None, 1), (1, None, 1)]


def test_level_rival_is_half_beaten() -> None:
    ballot = {0: 8, 1: 5, 2: 5, 3: 1}
    assert borda([ballot]).scores == pytest.approx({0: 1, 1: 0.5, 2: 0.5, 3: 0})
    half = borda([[0, 1, 2, 3], [0, 2, 1, 3]])
    assert half.scores == borda([ballot, ballot]).scores


@given(COMPLETE)
def test_mean_rank_of_level_candidates_is_the_mean_of_their_ranks(ballots: list[Scores]) -> None:
    ranks = np.mean([rankdata([-ballot[one] for one in range(4)]) for ballot in ballots], axis=0)
    assert mean_rank(ballots).scores == pytest.approx(dict(enumerate(ranks)))


@given(SCORED)
def test_level_pair_counts_like_half_a_ballot_either_way(ballots: list[tuple[Scores, float]]) -> None:
    # Two halves of a ballot that break its levels in opposite ways.
    halves: list[Order] = []
    for ballot, _ in ballots:
        for turn in (1, -1):
            halves.append(sorted(ballot, key=lambda one: (-ballot[one], turn * one)))
    split = [weight / 2 for _, weight in ballots for _ in range(2)]
    for rule in (schulze, kemeny_young, borda, mean_rank):
        assert rule(halves, weights=split) == counted(rule, ballots)
    # What Bradley-Terry lends depends on the mean weight: so there each ballot stands twice.
    twice = [(ballot, weight / 2) for ballot, weight in ballots for _ in range(2)]
    assert bradley_terry(halves, weights=split) == counted(bradley_terry, twice)


@given(COMPLETE, st.data())
def test_mean_score_of_complete_ballots_is_the_plain_mean(ballots: list[Scores], data: Any) -> None:
    plain = {one: float(np.mean([ballot[one] for ballot in ballots])) for one in range(4)}
    assert mean_score(ballots).scores == pytest.approx(plain)
    weights = data.draw(st.lists(st.sampled_from([1, 2, 0.1]), min_size=len(ballots), max_size=len(ballots)))
    weighted = {
        one: float(np.average([ballot[one] for ballot in ballots], weights=weights)) for one in range(4)
    }
    assert mean_score(ballots, weights=weights).scores == pytest.approx(weighted)


def test_equal_means_share_a_place_also_where_floats_do_not_add_up() -> None:
    assert mean_score([{0: 0.1, 1: 0.3}, {0: 0.2, 1: 0}]).places == {0: 1, 1: 1}
    large = mean_score([{0: 0.1 + 10**7, 1: 0.3 + 10**7}, {0: 0.2, 1: 0}], weights=[1 / 3, 1 / 3])
    assert large.places == {0: 1, 1: 1}


@given(
    st.lists(st.integers(0, 10), min_size=3, max_size=6),
    st.lists(st.integers(-5, 5), min_size=6, max_size=6),
    st.sampled_from([1, 0.1, 1000]),
)
def test_leaving_oneself_out_changes_no_mean_score_where_reviewers_differ_in_leniency_only(
    merits: list[int], leniencies: list[int], unit: float
) -> None:
    whole = [{one: unit * (merit + leniency) for one, merit in enumerate(merits)} for leniency in leniencies][
        : len(merits)
    ]
    assert mean_score(without_self(whole)).scores == pytest.approx(mean_score(whole).scores)
    assert mean_score(without_self(whole)).places == mean_score(whole).places


@EVERY_SCORE_RULE
@pytest.mark.parametrize("own", range(3))
def test_severe_reviewer_does_no_good_to_its_own_candidate(rule: Any, own: int) -> None:
    # The raw means of what is left would put the severe reviewer's own candidate first.
    merits, severe = [7, 6, 5], [0, 0, 0]
    severe[own] = -6
    ballots = without_self([{one: merit + less for one, merit in enumerate(merits)} for less in severe])
    assert rule(ballots).places == {0: 1, 1: 2, 2: 3}


@pytest.mark.parametrize("seed", range(8))
def test_mean_score_is_the_least_squares_mean_of_the_two_way_model(seed: int) -> None:
    draw = random.Random(seed)
    count, reviewers = draw.randint(3, 6), draw.randint(2, 6)
    ballots = [
        {one: draw.randint(0, 20) / 2 for one in draw.sample(range(count), draw.randint(2, count))}
        for _ in range(reviewers)
    ]
    ballots.append({one: draw.randint(0, 10) for one in range(count)})  # all hang together
    weights = [draw.choice([1.0, 2.0, 0.25]) for _ in ballots]
    rows = [
        {"score": score, "candidate": one, "reviewer": number, "weight": weights[number]}
        for number, ballot in enumerate(ballots)
        for one, score in ballot.items()
    ]
    told = pd.DataFrame(rows)
    fit = smf.wls("score ~ C(candidate) + C(reviewer)", told, weights=told["weight"]).fit()
    expected = {}
    for one in range(count):
        cells = pd.DataFrame({"candidate": one, "reviewer": range(len(ballots))})
        expected[one] = float(np.average(fit.predict(cells), weights=weights))
    assert mean_score(ballots, weights=weights).scores == pytest.approx(expected)


def test_mean_score_may_lie_outside_of_the_scale() -> None:
    # Reviewer 1 is 4 stricter than reviewer 0, by the candidates that both scored; only it scored 3.
    ballots = [{0: 10, 1: 8, 2: 6}, {0: 6, 1: 4, 2: 2, 3: 10}]
    assert mean_score(ballots).scores == pytest.approx({3: 12, 0: 8, 1: 6, 2: 4})


def test_groups_without_a_common_candidate_keep_the_means_of_their_own_reviewers() -> None:
    apart: list[Scores] = [{0: 9, 1: 7}, {0: 7, 1: 7}, {2: 10, 3: 2}]
    assert mean_score(apart).scores == pytest.approx({2: 10, 0: 8, 1: 7, 3: 2})
    joined = mean_score([*apart, {3: 5, 4: 5}, {4: 2, 1: 3}]).scores
    assert joined != pytest.approx({2: 10, 0: 8, 1: 7, 3: 2, 4: 3.5})


@given(SCORED, st.randoms(use_true_random=False))
def test_order_of_the_ballots_changes_no_mean_score(
    ballots: list[tuple[Scores, float]], draw: random.Random
) -> None:
    found = counted(mean_score, ballots)
    draw.shuffle(ballots)
    assert counted(mean_score, ballots) == found


@pytest.mark.parametrize("plain", [[1, 0], [0], []])
def test_mean_score_refuses_an_order_without_scores(plain: list[int]) -> None:
    with pytest.raises(ValueError, match=r"orders\[1\] = \[.*\] has no scores: give \{candidate: score\}"):
        mean_score([{0: 1, 1: 2}, plain])


@EVERY_SCORE_RULE
@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf"), 10**400])
def test_score_that_is_not_finite_is_refused(rule: Any, score: float) -> None:
    with pytest.raises(ValueError, match=r"orders\[1\] = .* scores candidate 2 with (nan|-?inf|10+): give a"):
        rule([{0: 1, 1: 2}, {0: 3, 2: score}])


def test_score_rules_are_the_mean_score_and_all_others() -> None:
    assert {"mean_score": mean_score} | RULES == SCORE_RULES
    assert "mean_score" not in RULES
    for name, rule in SCORE_RULES.items():
        assert rule([{0: 1, 1: 2}]).rule == name
