"""Evidence: what the rows of a comparison show, as frames of means, differences, prices and intervals.

Prompts are the unit: repeats of a prompt are averaged. What is not known is NA, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from composite_lab.batch.runs import FINISHED, UNDONE
from composite_lab.batch.scoring import PairwiseJudge
from composite_lab.batch.stats import (
    Difference,
    Sample,
    holm,
    mean_score,
    paired_difference,
    percentiles,
    verdict,
    win_rates,
)
from composite_lab.errors import ConfigError
from composite_lab.gateway.models import price_of
from composite_lab.seats import unknown_name
from composite_lab.trace.summary import is_unpriced

if TYPE_CHECKING:
    from composite_lab.batch.comparison import Comparison

SUMMARY = {
    "strategy": "string", "n": "Int64", "runs": "Int64", "failures": "Int64", "undone": "Int64",
    "score": "Float64", "score_low": "Float64", "score_high": "Float64", "score_method": "string",
    "cost_usd": "Float64", "usd_per_correct": "Float64",
    "latency_p50_s": "Float64", "latency_p90_s": "Float64", "latency_p99_s": "Float64",
    "prompt_tokens": "Float64", "completion_tokens": "Float64", "total_tokens": "Float64",
}  # fmt: skip
DIFFERENCE = {
    "difference": "Float64", "low": "Float64", "high": "Float64", "p_value": "Float64", "p_holm": "Float64",
    "wins": "Int64", "losses": "Int64", "ties": "Int64", "n": "Int64", "left_out": "Int64",
    "verdict": "string",
}  # fmt: skip
WITH_ITSELF = 0.5
"""How the baseline of a pairwise judge is scored: set against itself it is a tie."""
_COUNTED = ("prompt_tokens", "completion_tokens", "total_tokens")


def summary(comparison: Comparison, frame: pd.DataFrame | None = None) -> pd.DataFrame:
    """A row per strategy: see `Comparison.summary`. `frame`: its `scored_frame`, if that is there already."""
    frame = scored_frame(comparison) if frame is None else frame
    rows = []
    for name, runs in frame.groupby("strategy", sort=False):
        strategy = str(name)
        finished = runs[runs["status"].isin(FINISHED)]
        estimate = mean_score(runs["score"], list(runs["prompt_id"]))
        cost = _total_cost(comparison, strategy, runs)
        asked = int((runs["status"] != UNDONE).sum())
        times = percentiles(finished["latency_s"])
        rows.append(
            {
                "strategy": strategy,
                "n": estimate.n,
                "runs": len(runs),
                "failures": int((runs["status"] == "error").sum()),
                "undone": len(runs) - asked,
                "score": estimate.mean,
                "score_low": estimate.low,
                "score_high": estimate.high,
                "score_method": estimate.method,
                "cost_usd": cost / asked if cost is not None and asked else None,
                "usd_per_correct": _per_correct(cost, runs["score"].dropna()),
                **{f"latency_{share}_s": time for share, time in times.items()},
                **{count: _known_mean(finished[count]) for count in _COUNTED},
            }
        )
    return pd.DataFrame(rows, columns=list(SUMMARY)).astype(SUMMARY)


def differences(
    comparison: Comparison, baseline: str | None = None, frame: pd.DataFrame | None = None
) -> pd.DataFrame:
    """A row per strategy but the baseline: see `Comparison.differences`."""
    against = comparison.baseline if baseline is None else baseline
    samples = _samples(scored_frame(comparison) if frame is None else frame)
    if against not in samples:
        raise ConfigError(unknown_name(against, samples, "baseline"))
    names = [name for name in samples if name != against]
    found = [paired_difference(samples[name], samples[against]) for name in names]
    frame = pd.DataFrame({"strategy": names, "baseline": [against] * len(names)}, dtype="string")
    return pd.concat([frame, difference_columns(found)], axis=1)


def win_matrix(comparison: Comparison) -> pd.DataFrame:
    """The share of prompts on which the row beats the column: see `Comparison.win_rates`."""
    samples = _samples(scored_frame(comparison))
    names = pd.Index(samples, dtype="string", name="strategy")
    return pd.DataFrame(win_rates(samples), index=names, columns=names).astype("Float64")


def difference_columns(found: list[Difference]) -> pd.DataFrame:
    """The differences with Holm's correction for all of them, and what each shows in words."""
    adjusted = holm([one.p_value for one in found])
    rows = [
        {
            "difference": one.mean, "low": one.low, "high": one.high, "p_value": one.p_value, "p_holm": p,
            "wins": one.wins, "losses": one.losses, "ties": one.ties, "n": one.n, "left_out": one.left_out,
            "verdict": verdict(one, adjusted_p=p),
        }
        for one, p in zip(found, adjusted, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(DIFFERENCE)).astype(DIFFERENCE)


def scored_frame(comparison: Comparison) -> pd.DataFrame:
    """The comparison's frame; under a pairwise judge the baseline's answers tie with themselves."""
    frame = comparison.to_dataframe()
    if isinstance(comparison.scorer, PairwiseJudge):
        own = (frame["strategy"] == comparison.baseline) & frame["status"].isin(FINISHED)
        frame.loc[own, "score"] = WITH_ITSELF
    return frame


def _samples(frame: pd.DataFrame) -> Mapping[str, Sample]:
    groups = frame.groupby("strategy", sort=False)
    return {str(name): Sample(runs["score"], list(runs["prompt_id"])) for name, runs in groups}


def _total_cost(comparison: Comparison, strategy: str, runs: pd.DataFrame) -> float | None:
    """What the runs cost together in USD, None when a part of it is unknown."""
    finished = runs["status"].isin(FINISHED)
    if runs.loc[finished, "cost_usd"].isna().any():
        return None
    seats = comparison.plan.strategies[strategy].all_seats()
    if any(seat.plain_model is None or price_of(seat, 1, 1) is None for seat in seats):
        # A run's own cost adds up what is known of it. Only its calls tell whether that is all.
        for run in runs.to_dict("records"):
            row = comparison.rows.get((strategy, run["prompt_id"], run["repeat"]))
            trace = comparison.store.trace(row.key) if row else None
            if trace is not None and any(map(is_unpriced, trace.calls)):
                return None
    return float(runs["cost_usd"].sum())


def _per_correct(cost: float | None, scores: pd.Series[Any]) -> float | None:
    """What a right answer costs, where answers are right or wrong."""
    if cost is None or not scores.isin((0.0, 1.0)).all() or not scores.sum():
        return None
    return cost / float(scores.sum())


def _known_mean(values: pd.Series[Any]) -> float | None:
    """The mean when every value is known."""
    return None if values.isna().any() or values.empty else float(values.mean())
