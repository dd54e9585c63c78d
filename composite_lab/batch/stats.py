"""What scores can show: means, paired differences and their uncertainty. Pure functions over arrays.

The unit is the prompt: its repeats are alike, so they are averaged first. A missing score is None, NaN or
NA and counts for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import normal_sample_size_one_tail
from statsmodels.stats.proportion import proportion_confint

from composite_lab.errors import ConfigError

ALPHA = 0.05  # intervals are of 95 %, and a p-value below this shows a difference
ENOUGH_PROMPTS = 20  # with fewer, intervals cover too rarely to say that a difference is shown
RESAMPLES = 4999
_POWER = 0.8
_USUAL_EFFECT = 0.05  # what a comparison is told the price of if its own difference is 0
_FEWEST_RESAMPLED = 5  # below, resamples have too few distinct means
_MOST_RESAMPLED = 1000  # above, a mean is normal enough for Student's t, and resamples would fill the memory
_SEED = 20240607
_DIGITS = 12  # an end of an interval that is 0 but for the order of addition must not look positive

Floats = NDArray[np.float64]
Prompts = Sequence[Hashable] | NDArray[Any]


class Sample(NamedTuple):
    """The scores of one strategy and, in the same order, the prompts they belong to (any hashable ids)."""

    scores: Any
    prompts: Prompts


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A mean score over the `n` prompts that have a score; `missing` prompts have none.

    `method` names the interval: "wilson", "studentized bootstrap", "percentile bootstrap", "student t"
    or "none". Without one `low` and `high` are None, and `reason` says why.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    method: str
    missing: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class Difference:
    """The mean of first minus second over the `n` prompts for which both have a score.

    `wins`, `losses` and `ties` count prompts as the first sees them, `left_out` those without a score on
    one side. `p_value` is two-sided; `method` names its test: "mcnemar mid-p", "sign-flip permutation"
    or "none". `sd` is of the differences. `reason` says why there is no interval.
    """

    mean: float | None
    low: float | None
    high: float | None
    p_value: float | None
    n: int
    method: str
    wins: int
    losses: int
    ties: int
    left_out: int = 0
    sd: float | None = None
    reason: str | None = None


def mean_score(scores: Any, prompts: Prompts, *, resamples: int = RESAMPLES) -> Estimate:
    """The mean over prompts of their mean scores, with a 95 % interval.

    Scores of 0 and 1, one a prompt, get Wilson's interval (1927). Others are resampled by prompt:
    studentized, which follows skew (Efron and Tibshirani 1993, ch. 12), unless a third of the prompts
    share a value, which that does not survive; then by percentiles, widened to Student's t (Hesterberg
    2015). Above 1000 prompts it is Student's t itself. The order of the scores does not matter.
    """
    means, missing, single = _per_prompt(Sample(scores, prompts))
    values = np.sort(list(means.values()))
    n = len(values)
    mean = _rounded(values.mean()) if n else None
    if n > 1 and single and _is_binary(values):
        low, high = proportion_confint(int(values.sum()), n, alpha=ALPHA, method="wilson")
        return Estimate(mean, float(low), float(high), n, "wilson", missing)
    if reason := _no_interval(values, "scores"):
        return Estimate(mean, None, None, n, "none", missing, reason)
    if n > _MOST_RESAMPLED:
        return Estimate(mean, *_student(values), n, "student t", missing)
    if np.max(np.unique(values, return_counts=True)[1]) > n / 3:
        return Estimate(mean, *_percentile(values, resamples), n, "percentile bootstrap", missing)
    return Estimate(mean, *_studentized(values, resamples), n, "studentized bootstrap", missing)


def paired_difference(a: Sample, b: Sample, *, resamples: int = RESAMPLES) -> Difference:
    """How much better the first is than the second, prompt by prompt, with an interval and a p-value.

    The interval is the percentile bootstrap of `mean_score`. The test is McNemar's for scores of 0 and 1,
    one a prompt, with the mid-p value (Fagerland, Lydersen and Laake 2013), because the exact one raises
    2 to 3 % false alarms where 5 % are meant; for others the signs of the differences are flipped at
    random. Above 1000 prompts the resamples give way to the normal law that they then follow.
    """
    (left, _, left_single), (right, _, right_single) = _per_prompt(a), _per_prompt(b)
    shared = [prompt for prompt in left if prompt in right]
    left_out = len({*a.prompts, *b.prompts}) - len(shared)
    first, second = (np.array([side[prompt] for prompt in shared]) for side in (left, right))
    values = np.sort(np.round(first - second, _DIGITS))
    n, wins, losses = len(values), int((values > 0).sum()), int((values < 0).sum())
    if n == 0:
        return Difference(None, None, None, None, 0, "none", 0, 0, 0, left_out, reason="too few prompts")
    ends: tuple[float | None, float | None] = (None, None)
    if not (no_interval := _no_interval(values, "differences")):
        ends = _student(values) if n > _MOST_RESAMPLED else _percentile(values, resamples)
    if left_single and right_single and _is_binary(first) and _is_binary(second):
        method, p_value = "mcnemar mid-p", _mcnemar_mid_p(wins, losses)
    else:
        method, p_value = "sign-flip permutation", _sign_flip(values, resamples)
    mean, ties = _rounded(values.mean()), n - wins - losses
    sd = _rounded(values.std(ddof=1)) if n > 1 else None
    return Difference(mean, *ends, p_value, n, method, wins, losses, ties, left_out, sd, no_interval)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values adjusted for being several, in their order (Holm 1979). None stays None, uncounted."""
    tested = [p for p in p_values if p is not None]
    adjusted = iter(multipletests(tested, method="holm")[1] if tested else [])
    return [None if p is None else float(next(adjusted)) for p in p_values]


def win_rates(samples: Mapping[str, Sample]) -> Floats:
    """A matrix in the order of `samples`: the share of shared prompts on which the row beats the column.

    A tie is half a win. NaN on the diagonal and where two share no prompt.
    """
    means = [_per_prompt(sample)[0] for sample in samples.values()]
    rates = np.full((len(means), len(means)), np.nan)
    for row, column in combinations(range(len(means)), 2):
        shared = means[row].keys() & means[column].keys()
        gaps = np.round([means[row][prompt] - means[column][prompt] for prompt in shared], _DIGITS)
        if shared:
            rates[row, column] = float((gaps > 0).mean() + (gaps == 0).mean() / 2)
            rates[column, row] = 1 - rates[row, column]
    return rates


def percentiles(latencies: Any) -> dict[str, float | None]:
    """The `p50`, `p90` and `p99`, in the unit given, of what is not missing; None when there is nothing."""
    known = _floats(latencies)
    known = known[np.isfinite(known)]
    return {f"p{share}": float(np.percentile(known, share)) if len(known) else None for share in (50, 90, 99)}


def pareto_front(points: Sequence[tuple[float | None, float | None]]) -> list[bool]:
    """For each (cost, quality) whether no other is at least as good in both and better in one.

    A point whose cost or quality is not known is not on the front and beats nobody.
    """
    cost, quality = (_floats([point[side] for point in points]) for side in (0, 1))
    no_worse = (cost[:, None] <= cost) & (quality[:, None] >= quality)
    better = (cost[:, None] < cost) | (quality[:, None] > quality)
    on_front = ~(no_worse & better).any(axis=0) & ~np.isnan(cost) & ~np.isnan(quality)
    return [bool(on) for on in on_front]


def prompts_needed(effect: float, sd: float) -> int:
    """About how many prompts show a mean difference of `effect` with a power of 80 %, two-sided at 5 %.

    `sd` is of the differences. Raises `ConfigError` unless both are positive.
    """
    if not (effect > 0 and sd > 0):
        raise ConfigError(f"effect and sd must be positive, not {effect} and {sd}")
    return math.ceil(float(normal_sample_size_one_tail(effect, _POWER, ALPHA / 2, std_null=sd)))


def verdict(difference: Difference, *, adjusted_p: float | None = None) -> str:
    """What a difference shows, in words. `adjusted_p`, from `holm`, stands in for its own p-value.

    A difference is shown when the p-value is below 0.05 and the interval, if there is one, excludes 0.
    """
    mean, n, low, high = difference.mean, difference.n, difference.low, difference.high
    if mean is None or n < ENOUGH_PROMPTS:
        return f"too few prompts to tell ({n} scored on both sides, at least {ENOUGH_PROMPTS} are needed)"
    p_value = difference.p_value if adjusted_p is None else adjusted_p
    excluded = low is None or high is None or not low <= 0 <= high
    if excluded and p_value is not None and p_value < ALPHA:
        how = "the same on every prompt" if low is None else f"95 % interval {low:.3g} to {high:.3g}"
        return f"{'better' if mean > 0 else 'worse'} by {abs(mean):.3g} ({how})"
    effect = abs(mean) or _USUAL_EFFECT
    needed = prompts_needed(effect, difference.sd) if difference.sd else 0
    if needed <= n:  # equal throughout, or shown but for the other comparisons it was adjusted for
        return "no difference shown"
    return f"no difference shown; an effect of {effect:.3g} would need about {needed} prompts"


def _per_prompt(sample: Sample) -> tuple[dict[Hashable, float], int, bool]:
    """Each scored prompt's mean; how many prompts have no score; whether none has two."""
    scores, prompts = _floats(sample.scores), sample.prompts
    if scores.ndim != 1 or len(scores) != len(prompts):
        raise ConfigError(f"each score needs its prompt: {scores.size} scores and {len(prompts)} prompts")
    seen: dict[Hashable, int] = {}
    place = np.fromiter((seen.setdefault(prompt, len(seen)) for prompt in prompts), np.intp, len(prompts))
    known = np.isfinite(scores)
    counts = np.bincount(place[known], minlength=len(seen))
    sums = np.bincount(place[known], weights=scores[known], minlength=len(seen))
    means = {prompt: float(sums[at] / counts[at]) for prompt, at in seen.items() if counts[at]}
    return means, len(seen) - len(means), bool((counts <= 1).all())


def _no_interval(values: Floats, what: str) -> str | None:
    if len(values) < _FEWEST_RESAMPLED:
        return "too few prompts"
    return f"all {what} are equal" if np.ptp(values) < 10.0**-_DIGITS else None


def _student(values: Floats) -> Interval:
    low, high = stats.t.interval(1 - ALPHA, len(values) - 1, values.mean(), stats.sem(values))
    return Interval(_rounded(low), _rounded(high))


def _percentile(values: Floats, resamples: int) -> Interval:
    n = len(values)
    tail = stats.norm.cdf(math.sqrt(n / (n - 1)) * stats.t.ppf(ALPHA / 2, n - 1))
    means = _counts(n, resamples).astype(float) @ values / n
    return Interval(*map(_rounded, np.quantile(means, [tail, 1 - tail])))


def _studentized(values: Floats, resamples: int) -> Interval:
    n, mean = len(values), values.mean()
    error = values.std(ddof=1) / math.sqrt(n)
    counts = _counts(n, resamples).astype(float) / n
    shifts = counts @ (values - mean)
    spreads = np.sqrt(np.maximum(counts @ (values - mean) ** 2 - shifts**2, 0) / (n - 1))
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # a resample of equal values may be infinitely far off
        ratios = np.nan_to_num(shifts / spreads, nan=0.0, posinf=np.inf, neginf=-np.inf)
    low, high = np.quantile(ratios, [ALPHA / 2, 1 - ALPHA / 2])
    return Interval(_rounded(mean - high * error), _rounded(mean - low * error))


@lru_cache(maxsize=4)
def _counts(n: int, resamples: int) -> NDArray[np.int8]:
    """How often each of n values is drawn, a row per resample: the same for all that is compared."""
    rng = np.random.default_rng(_SEED)
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.int8)


@lru_cache(maxsize=4)
def _signs(n: int, resamples: int) -> NDArray[np.int8]:
    """n random signs, a row per resample."""
    return np.random.default_rng(_SEED).choice(np.array([-1, 1], np.int8), (resamples, n))


def _sign_flip(values: Floats, resamples: int) -> float:
    n, found = len(values), abs(values.sum())
    if n > _MOST_RESAMPLED:  # sums of so many flipped values are normal
        return float(2 * stats.norm.sf(found / (math.sqrt(values @ values) or 1.0)))
    sums = np.abs(_signs(n, resamples).astype(float) @ values)
    return float((1 + (sums >= found - n * 10.0**-_DIGITS).sum()) / (resamples + 1))


def _mcnemar_mid_p(wins: int, losses: int) -> float:
    rarer, unequal = min(wins, losses), wins + losses
    return min(1.0, float(2 * stats.binom.cdf(rarer, unequal, 0.5) - stats.binom.pmf(rarer, unequal, 0.5)))


def _is_binary(values: Floats) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _rounded(value: Any) -> float:
    return round(float(value), _DIGITS) + 0.0  # + 0.0 makes -0.0 positive


def _floats(values: Any) -> Floats:
    if hasattr(values, "to_numpy"):  # a pandas column, whose NA numpy does not know
        return np.asarray(values.to_numpy(dtype=float, na_value=math.nan))
    return np.asarray(values, dtype=np.float64)
