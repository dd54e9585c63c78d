"""Ballots taken apart into pairs of answers, and a linear regression on them, clustered by run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from composite_lab.batch.stats import ALPHA

_NOTHING = 1e-9  # a difference below this is an error of rounding
_SINGULAR = 1e-8  # the same for the smallest eigenvalue of a correlation matrix

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True)
class BallotPairs:
    """Every two answers that one ballot ranks, a row each.

    `won` is 1 where the first is ranked above the second, 0 where below, 0.5 where level.
    `differences` is first minus second in each covariate, NaN where unknown. `runs`, `ballots` and
    `contests` say where the pair is from; a contest is one pair of answers, whoever ranks it.
    """

    won: Floats
    differences: Floats
    runs: Codes
    ballots: Codes
    contests: Codes

    def known(self, columns: Sequence[int]) -> BallotPairs:
        """These covariates only, and the pairs for which all of them are known."""
        chosen = self.differences[:, columns]
        kept = np.isfinite(chosen).all(axis=1)
        return BallotPairs(
            self.won[kept], chosen[kept], self.runs[kept], self.ballots[kept], self.contests[kept]
        )

    def within(self) -> BallotPairs:
        """Each pair as its deviation from the mean of all reviewers of the same two answers."""
        counts = np.maximum(np.bincount(self.contests), 1)
        columns = np.column_stack([self.won, self.differences])
        means = [np.bincount(self.contests, weights=column) / counts for column in columns.T]
        deviations = columns - np.column_stack(means)[self.contests]
        deviations[np.abs(deviations) < _NOTHING] = 0.0
        return replace(self, won=deviations[:, 0], differences=deviations[:, 1:])

    def telling(self, column: int) -> tuple[int, int]:
        """How many ballots, and how many runs, have a pair that differs in this covariate."""
        told = np.abs(self.differences[:, column]) > _NOTHING
        return len(np.unique(self.ballots[told])), len(np.unique(self.runs[told]))


class Coefficient(NamedTuple):
    """A coefficient with its 95 % interval and two-sided p-value.

    Without any spread between runs there is no interval: `low` and `high` are NaN.
    """

    estimate: float
    low: float
    high: float
    p_value: float


def ballot_pairs(
    runs: Codes, reviewers: Codes, candidates: Codes, ranks: Floats, covariates: Floats
) -> BallotPairs:
    """The pairs of answers on each ballot, out of a row per run, reviewer and candidate, in any order.

    `covariates` has a column per covariate.
    """
    order = np.lexsort((candidates, reviewers, runs))
    runs, reviewers, candidates = runs[order], reviewers[order], candidates[order]
    ranks, covariates = ranks[order], covariates[order]
    starts = np.ones(len(runs), dtype=bool)
    starts[1:] = (runs[1:] != runs[:-1]) | (reviewers[1:] != reviewers[:-1])
    ballots = np.cumsum(starts) - 1
    longest = int(np.max(np.bincount(ballots), initial=0))
    apart = [np.flatnonzero(ballots[lag:] == ballots[:-lag]) for lag in range(1, longest)]
    none = np.empty(0, dtype=np.intp)
    first = np.concatenate([none, *apart])
    second = np.concatenate([none, *(found + lag for lag, found in enumerate(apart, 1))])
    width = int(np.max(candidates, initial=0)) + 1
    keys = (runs[first] * width + candidates[first]) * width + candidates[second]
    return BallotPairs(
        won=(np.sign(ranks[second] - ranks[first]) + 1) / 2,
        differences=covariates[first] - covariates[second],
        runs=runs[first],
        ballots=ballots[first],
        contests=np.unique(keys, return_inverse=True)[1].astype(np.intp),
    )


def effective_runs(pairs: BallotPairs) -> Floats:
    """For each coefficient, about how many equal runs the evidence is worth; 0 where not identified.

    The inverse of the sum of squared shares that the runs have in the variation that the other
    covariates do not explain (Kish's effective number), so that one decisive run among many counts as 1.
    """
    return _effective(_moments(pairs)[0])


def coefficients(pairs: BallotPairs) -> list[Coefficient]:
    """The regression of `won` on the differences, a coefficient for each, without a constant.

    Standard errors are the jackknife's over runs (CV3; MacKinnon, Nielsen and Webb 2023, Journal of
    Applied Econometrics 38), with Student's t of one less than `effective_runs` degrees of freedom.
    Needs covariates that are identified, also without any one of the runs.
    """
    squares, products = _moments(pairs)
    total, sums = squares.sum(axis=0), products.sum(axis=0)
    found = np.linalg.solve(total, sums)
    without_one = np.linalg.solve(total - squares, (sums - products)[..., None])[..., 0]
    count = len(squares)
    errors = np.sqrt(((without_one - found) ** 2).sum(axis=0) * (count - 1) / count)
    freedom = _effective(squares) - 1
    return [_coefficient(*one) for one in zip(found.tolist(), errors.tolist(), freedom.tolist(), strict=True)]


def _coefficient(estimate: float, error: float, freedom: float) -> Coefficient:
    estimate = round(estimate, 12) + 0.0  # + 0.0 makes -0.0 positive
    if error < _NOTHING:  # the same in every run: a test of signs is left
        return Coefficient(estimate, np.nan, np.nan, 2.0**-freedom if estimate else 1.0)
    reach = float(stdtrit(freedom, 1 - ALPHA / 2)) * error
    p_value = 2 * float(stdtr(freedom, -abs(estimate) / error))
    return Coefficient(estimate, estimate - reach, estimate + reach, p_value)


def _effective(squares: Floats) -> Floats:
    total = squares.sum(axis=0)
    if _is_singular(total):
        return np.zeros(len(total))
    inverse = np.linalg.inv(total)
    shares = ((squares @ inverse) * inverse).sum(axis=1) / np.diag(inverse)
    return np.asarray((1 / (shares**2).sum(axis=0)).round(6))  # equal runs count whole


def _moments(pairs: BallotPairs) -> tuple[Floats, Floats]:
    """X'X and X'y of each run that has any variation."""
    x, y = pairs.differences, pairs.won
    width = x.shape[1]
    products = np.concatenate(
        [(x[:, :, None] * x[:, None, :]).reshape(-1, width * width), x * y[:, None]], axis=1
    )
    sums: Any = np.column_stack([np.bincount(pairs.runs, weights=column) for column in products.T])
    sums = sums[(np.abs(sums[:, : width * width]) > _NOTHING).any(axis=1)]
    return sums[:, : width * width].reshape(-1, width, width), sums[:, width * width :]


def _is_singular(total: Floats) -> bool:
    scale = np.sqrt(np.diag(total))
    if not (scale > _NOTHING).all():
        return True
    return bool(np.linalg.eigvalsh(total / np.outer(scale, scale)).min() < _SINGULAR)
