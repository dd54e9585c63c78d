"""Means, differences and their uncertainty: known values, edge cases, and what simulated studies show."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap, norm
from scipy.stats import t as student
from statsmodels.stats.contingency_tables import mcnemar

from composite_lab.batch.stats import (
    Difference,
    Estimate,
    Sample,
    holm,
    mean_score,
    paired_difference,
    pareto_front,
    percentiles,
    prompts_needed,
    verdict,
    win_rates,
)
from composite_lab.errors import ConfigError

DRAWS = 2000
RESAMPLES = 1999
Draw = Callable[[np.random.Generator, int], Any]


def sample(scores: Any) -> Sample:
    """One score a prompt."""
    return Sample(scores, range(len(scores)))


def ends(found: Estimate | Difference) -> tuple[float | None, float | None]:
    return found.low, found.high


def passes(right: int, of: int) -> list[int]:
    return [1] * right + [0] * (of - right)


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),  # R 4.3: prop.test(8, 10, correct = FALSE)
        (81, 263, 0.2553, 0.3662),  # these four: Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_a_pass_rate_has_wilsons_interval(right: int, of: int, low: float, high: float) -> None:
    estimate = mean_score(*sample(passes(right, of)))
    assert estimate.method == "wilson"
    assert (estimate.mean, estimate.n) == (pytest.approx(right / of), of)
    assert (estimate.low, estimate.high) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


def test_asking_again_with_the_same_outcome_narrows_nothing() -> None:
    once = [0.1, 0.4, 0.5, 0.9, 0.7, 0.3, 0.8]
    estimate = mean_score(once, range(7))
    again = mean_score(once * 3, list(range(7)) * 3)
    assert again.n == 7
    assert ends(again) == pytest.approx(ends(estimate))
    thrice = mean_score(passes(15, 30) * 3, list(range(30)) * 3)
    assert thrice.method == "percentile bootstrap"
    assert thrice.high - thrice.low == pytest.approx(0.36, abs=0.03)  # of 30 prompts, not of 90


def test_every_prompt_weighs_the_same_however_often_it_was_asked() -> None:
    assert mean_score([1, 1, 1, 1, 0], ["a", "a", "a", "a", "b"]).mean == 0.5


def test_skewed_scores_have_an_interval_with_the_longer_side_towards_the_tail() -> None:
    scores = np.random.default_rng(1).exponential(size=60)
    estimate = mean_score(*sample(scores))
    assert estimate.method == "studentized bootstrap"
    assert estimate.high - estimate.mean > 1.2 * (estimate.mean - estimate.low)


def test_very_many_prompts_have_students_interval() -> None:
    scores = np.random.default_rng(1).normal(size=1500)
    estimate = mean_score(*sample(scores))
    half = student.ppf(0.975, 1499) * scores.std(ddof=1) / math.sqrt(1500)
    assert estimate.method == "student t"
    assert ends(estimate) == pytest.approx((scores.mean() - half, scores.mean() + half))


def test_the_order_of_rows_changes_no_digit() -> None:
    rng = np.random.default_rng(2)
    a, b, order = rng.random(40), rng.random(40), rng.permutation(40)
    assert mean_score(a[order], order) == mean_score(a, np.arange(40))
    here = paired_difference(sample(a), sample(b))
    assert paired_difference(Sample(a[order], order), sample(b)) == here
    assert paired_difference(sample(a), sample(b)) == here


@pytest.mark.parametrize(
    ("scores", "mean", "reason"),
    [
        ([], None, "too few prompts"),
        ([None, None], None, "too few prompts"),
        ([1], 1.0, "too few prompts"),
        ([0.2, 0.4, 0.3, 0.7], 0.4, "too few prompts"),
        ([0.3] * 12, 0.3, "all scores are equal"),
    ],
)
def test_where_there_can_be_no_interval_the_reason_is_said(
    scores: list[Any], mean: float | None, reason: str
) -> None:
    estimate = mean_score(*sample(scores))
    assert estimate.mean == pytest.approx(mean)
    assert (*ends(estimate), estimate.method, estimate.reason) == (None, None, "none", reason)


def test_equal_passes_still_have_an_interval() -> None:
    estimate = mean_score(*sample([1] * 10))
    assert ends(estimate) == pytest.approx((0.7225, 1.0), abs=1e-4)


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_a_missing_score_is_no_zero(missing: float | None) -> None:
    estimate = mean_score([1, missing, 0, 1, missing], ["a", "a", "b", "c", "d"])
    assert (estimate.mean, estimate.n, estimate.missing) == (pytest.approx(2 / 3), 3, 1)


def test_columns_of_a_frame_are_read_with_their_na() -> None:
    frame = pd.DataFrame({"score": pd.array([1.0, None, 0.0], dtype="Float64"), "prompt": ["a", "a", "b"]})
    estimate = mean_score(frame.score, frame.prompt)
    assert (estimate.mean, estimate.n) == (0.5, 2)


def test_scores_without_their_prompts_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 scores and 2 prompts"):
        mean_score([1, 0, 1], ["a", "b"])


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (7, 1), (1, 7), (5, 5), (3, 12), (0, 6), (30, 14)])
def test_passes_are_compared_by_mcnemars_mid_p(wins: int, losses: int) -> None:
    a = sample([1] * wins + [0] * losses + [1] * 20)
    b = sample([0] * wins + [1] * losses + [1] * 20)
    found = paired_difference(a, b)
    exact = mcnemar([[20, wins], [losses, 0]], exact=True).pvalue
    of_the_table = math.comb(wins + losses, wins) / 2 ** (wins + losses)
    assert found.method == "mcnemar mid-p"
    assert found.p_value == pytest.approx(1.0 if wins == losses else exact - of_the_table)
    assert (found.wins, found.losses, found.ties) == (wins, losses, 20)


def test_mid_p_of_the_published_example() -> None:
    # Fagerland, Lydersen and Laake 2013, airway hyper-responsiveness: 1 against 7 of 21; mid-p 0.039.
    a = sample([1] + [0] * 7 + [1] + [0] * 12)
    b = sample([0] + [1] * 7 + [1] + [0] * 12)
    assert paired_difference(a, b).p_value == pytest.approx(0.039, abs=5e-4)


def test_the_sign_flip_test_has_fishers_p_value_for_darwins_maize() -> None:
    # Fisher 1935, The Design of Experiments, section 21: 1726 of 32768 ways are as far off, 5.267 %.
    gaps = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    found = paired_difference(sample(gaps), sample([0] * 15))
    assert found.method == "sign-flip permutation"
    assert found.p_value == pytest.approx(0.0527, abs=0.012)


def test_the_interval_of_a_difference_is_scipys_percentile_bootstrap_widened_to_students_t() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.beta(5, 2, 30), rng.beta(4, 3, 30)
    tail = norm.cdf(math.sqrt(30 / 29) * student.ppf(0.025, 29))
    level = 1 - 2 * tail
    other = bootstrap((a - b,), np.mean, method="percentile", confidence_level=level, rng=4)
    found = paired_difference(sample(a), sample(b))
    assert ends(found) == pytest.approx(other.confidence_interval, abs=0.012)
    assert found.mean == pytest.approx((a - b).mean())
    assert found.sd == pytest.approx((a - b).std(ddof=1))


def test_prompts_are_paired_by_their_id_and_the_unpaired_counted() -> None:
    a = Sample([0.9, 0.8, 0.1, None, 0.5], ["p", "q", "only a", "r", "p"])
    b = Sample([0.2, 0.8, 0.4, 0.3], ["p", "q", "r", "only b"])
    found = paired_difference(a, b)
    assert (found.n, found.left_out) == (2, 3)
    assert (found.wins, found.losses, found.ties) == (1, 0, 1)
    assert found.mean == pytest.approx(0.25)


def test_equal_means_of_repeats_are_a_tie_in_whatever_order_they_were_added_up() -> None:
    found = paired_difference(Sample([0.1, 0.2, 0.3], "ppp"), Sample([0.3, 0.2, 0.1], "ppp"))
    assert (found.ties, found.mean) == (1, 0.0)


def test_repeated_passes_are_not_compared_as_if_they_were_single() -> None:
    scores, prompts = passes(5, 10) * 2, list(range(10)) * 2
    assert paired_difference(Sample(scores, prompts), Sample(scores, prompts)).method != "mcnemar mid-p"


@pytest.mark.parametrize(
    ("a", "b", "p_value", "reason"),
    [
        ([], [], None, "too few prompts"),
        ([0.3], [0.1], 1.0, "too few prompts"),
        ([0.3] * 9, [0.3] * 9, 1.0, "all differences are equal"),
        ([1] * 9, [1] * 9, 1.0, "all differences are equal"),
        ([0.3] * 2000, [0.3] * 2000, 1.0, "all differences are equal"),
    ],
)
def test_a_difference_without_an_interval_says_why(
    a: list[float], b: list[float], p_value: float | None, reason: str
) -> None:
    found = paired_difference(sample(a), sample(b))
    assert (*ends(found), found.p_value, found.reason) == (None, None, p_value, reason)


def test_above_a_thousand_prompts_the_test_agrees_with_the_one_below() -> None:
    rng = np.random.default_rng(6)
    for n in (1000, 1001):
        gaps = rng.exponential(size=n)
        gaps += 0.06 - gaps.mean()
        found = paired_difference(sample(gaps), sample(np.zeros(n)))
        expected = 2 * norm.sf(0.06 * math.sqrt(n) / gaps.std())
        assert found.p_value == pytest.approx(expected, abs=0.02)


def test_holms_adjustment() -> None:
    # Holm 1979: the smallest times 4, the next times 3, and so on, never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_what_was_not_tested_is_not_adjusted_for() -> None:
    assert holm([None, 0.02, None]) == [None, pytest.approx(0.02), None]


def test_win_rates_count_ties_half_and_only_shared_prompts() -> None:
    samples = {
        "a": sample([1, 1, 0, 1]),
        "b": sample([0, 1, 1, 0]),
        "c": Sample([0.5], ["elsewhere"]),
    }
    rates = win_rates(samples)
    nan = math.nan
    assert np.allclose(rates, [[nan, 0.625, nan], [0.375, nan, nan], [nan, nan, nan]], equal_nan=True)


def test_percentiles_leave_out_what_is_missing() -> None:
    found = percentiles([*range(101), None, math.nan])
    assert found == {"p50": 50.0, "p90": 90.0, "p99": 99.0}
    assert percentiles([None]) == percentiles([]) == {"p50": None, "p90": None, "p99": None}


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([], []),
        ([(1, 0.5)], [True]),
        ([(1, 0.5), (2, 0.9), (2, 0.8), (3, 0.9)], [True, True, False, False]),
        ([(1, 0.5), (1, 0.5)], [True, True]),  # equals do not beat each other
        ([(1, 0.5), (None, 0.9), (0.5, None)], [True, False, False]),
        ([(0, 0.1), (1, 0.2), (5, 0.15)], [True, True, False]),
    ],
)
def test_the_pareto_front_is_what_nothing_beats(points: Any, front: list[bool]) -> None:
    assert pareto_front(points) == front


@pytest.mark.parametrize(
    ("effect", "sd", "n"),
    [(0.5, 1.0, 32), (0.2, 1.0, 197), (0.05, 0.5, 785)],  # ((1.960 + 0.842) * sd / effect) ** 2
)
def test_how_many_prompts_an_effect_needs(effect: float, sd: float, n: int) -> None:
    assert prompts_needed(effect, sd) == n


@pytest.mark.parametrize(("effect", "sd"), [(0, 1), (0.1, 0), (-1, 1), (math.nan, 1)])
def test_an_effect_of_nothing_has_no_number_of_prompts(effect: float, sd: float) -> None:
    with pytest.raises(ConfigError, match="positive"):
        prompts_needed(effect, sd)


def test_that_number_of_prompts_shows_the_effect_four_times_in_five() -> None:
    n, rng = prompts_needed(0.3, 1.0), np.random.default_rng(7)
    shown = [
        paired_difference(sample(rng.normal(0.3, 1, n)), sample(np.zeros(n)), resamples=999).p_value < 0.05
        for _ in range(1000)
    ]
    assert 0.75 < np.mean(shown) < 0.85


def difference(**changed: Any) -> Difference:
    facts: dict[str, Any] = {"mean": 0.1, "low": 0.02, "high": 0.18, "p_value": 0.01, "n": 50, "sd": 0.3}
    counts = {"method": "sign-flip permutation", "wins": 30, "losses": 15, "ties": 5}
    return Difference(**facts | counts | changed)


@pytest.mark.parametrize(
    ("found", "adjusted_p", "words"),
    [
        (difference(), None, "better by 0.1 (95 % interval 0.02 to 0.18)"),
        (difference(mean=-0.1, low=-0.18, high=-0.02), None, "worse by 0.1 (95 % interval -0.18 to -0.02)"),
        (difference(n=19), None, "too few prompts to tell (19 scored on both sides, at least 20 are needed)"),
        (difference(n=0, mean=None), None, "too few prompts to tell (0 scored on both sides, at least 20"),
        (difference(low=-0.01), None, "no difference shown; an effect of 0.1 would need about 71 prompts"),
        (difference(p_value=0.06), None, "no difference shown; an effect of 0.1 would need"),
        (difference(), 0.06, "no difference shown; an effect of 0.1 would need"),
        (difference(n=100), 0.06, "no difference shown"),
        (difference(mean=0.0, low=-0.1, p_value=1.0), None, "an effect of 0.05 would need about 283 prompts"),
        (difference(mean=0.0, low=None, high=None, p_value=1.0, sd=0.0), None, "no difference shown"),
        (difference(low=None, high=None, sd=0.0), None, "better by 0.1 (the same on every prompt)"),
    ],
)
def test_the_verdict_claims_no_more_than_the_numbers(
    found: Difference, adjusted_p: float | None, words: str
) -> None:
    assert words in verdict(found, adjusted_p=adjusted_p)


def test_without_a_known_need_no_number_is_told() -> None:
    assert verdict(difference(n=100), adjusted_p=0.06) == "no difference shown"


def covered(draw: Draw, true: float, n: int, *, repeats: int = 1) -> float:
    """The share of simulated studies whose interval of the mean has the true mean in it."""
    rng, prompts = np.random.default_rng([n, repeats]), np.repeat(np.arange(n), repeats)
    found = (mean_score(draw(rng, n), prompts, resamples=RESAMPLES) for _ in range(DRAWS))
    return sum(each.low <= true <= each.high for each in found) / DRAWS


@pytest.mark.parametrize("p", [0.5, 0.8])
@pytest.mark.parametrize("n", [50, 100, 200])
def test_intervals_of_pass_rates_cover_in_93_to_97_percent(p: float, n: int) -> None:
    assert 0.93 <= covered(lambda rng, n: rng.random(n) < p, p, n) <= 0.97


@pytest.mark.parametrize(
    ("draw", "true", "n"),
    [
        (lambda rng, n: rng.beta(5, 1, n), 5 / 6, 30),
        (lambda rng, n: rng.exponential(size=n), 1.0, 50),
        (lambda rng, n: rng.choice(5, n, p=[0.02, 0.03, 0.1, 0.25, 0.6]) / 4, 0.845, 60),
    ],
    ids=["near the top", "exponential", "rubric"],
)
def test_intervals_of_skewed_scores_cover_in_93_to_97_percent(draw: Draw, true: float, n: int) -> None:
    assert 0.93 <= covered(draw, true, n) <= 0.97


def test_intervals_of_repeated_passes_cover_in_93_to_97_percent() -> None:
    def draw(rng: np.random.Generator, n: int) -> Any:
        ease = rng.beta(2, 1, (n, 1))
        return (rng.random((n, 3)) < ease).ravel()

    assert 0.93 <= covered(draw, 2 / 3, 60, repeats=3) <= 0.97


def compared(draw: Draw, true: float, n: int) -> tuple[float, float]:
    """The shares of simulated comparisons whose interval has the truth in it, and an alarm at 5 %."""
    rng = np.random.default_rng(n)
    found = [paired_difference(*map(sample, draw(rng, n)), resamples=RESAMPLES) for _ in range(DRAWS)]
    inside = sum(each.low <= true <= each.high for each in found)
    return inside / DRAWS, sum(each.p_value < 0.05 for each in found) / DRAWS


def alike(rng: np.random.Generator, n: int) -> Any:
    """Two strategies of equal strength whose skewed scores share the prompts' difficulty."""
    return norm.cdf(rng.normal(size=n) + 0.7 * rng.normal(size=(2, n))) ** 0.3


@pytest.mark.parametrize(
    ("draw", "n"),
    [
        (lambda rng, n: rng.random((2, n)) < 0.5, 50),
        (lambda rng, n: rng.random((2, n)) < 0.8, 60),
        (alike, 40),
        (lambda rng, n: rng.exponential(size=(2, n)), 60),
    ],
    ids=["passes at 0.5", "passes at 0.8", "skewed", "exponential"],
)
def test_equal_strategies_raise_a_false_alarm_in_3_to_7_percent(draw: Draw, n: int) -> None:
    covers, alarms = compared(draw, 0.0, n)
    assert 0.03 <= alarms <= 0.07
    assert 0.93 <= covers <= 0.97


@pytest.mark.parametrize(
    ("draw", "true"),
    [
        (lambda rng, n: rng.random((2, n)) < [[0.8], [0.6]], 0.2),
        (lambda rng, n: rng.beta([[5], [2]], [[1], [2]], (2, n)), 1 / 3),
    ],
    ids=["passes", "skewed"],
)
def test_intervals_of_true_differences_cover_in_93_to_97_percent(draw: Draw, true: float) -> None:
    covers, _ = compared(draw, true, 50)
    assert 0.93 <= covers <= 0.97
