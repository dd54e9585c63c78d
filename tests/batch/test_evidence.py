"""What a comparison shows, against values worked out by hand: rows in, frames out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

import composite_lab as lab
from composite_lab.batch.comparison import Comparison
from composite_lab.batch.plan import Plan
from composite_lab.batch.runs import Row
from composite_lab.batch.scoring import ExactMatch
from composite_lab.batch.store import KeptRun, Store
from composite_lab.gateway.memory import digest
from composite_lab.strategies.base import Strategy

PRICED = lab.Seat(model="openai/a", input_cost_per_token=1e-6, output_cost_per_token=1e-6)
UNPRICED = lab.Seat(model="openai/nobody-knows-my-price")
FACTS = {
    "cost_usd": 0.002, "latency_s": 1.0, "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
    "cached_tokens": 0, "reasoning_tokens": 0, "calls": 1, "failures": 0, "text": "so",
    "error_type": None, "error_message": None, "trace_id": "t",
}  # fmt: skip


def made(
    scores: Mapping[str, Sequence[Any]], *, seats: Mapping[str, Any] | None = None, **options: Any
) -> Comparison:
    """A comparison with these scores, prompt by prompt; a status stands for a run without a score."""
    strategies = {name: (seats or {}).get(name, PRICED) for name in scores}
    count = len(next(iter(scores.values())))
    plan = Plan.of(strategies, [f"Question {number}?" for number in range(count)])
    comparison = Comparison(plan, Store(), next(iter(scores)), **{"scorer": ExactMatch(), **options})
    for name, column in scores.items():
        for number, score in enumerate(column):
            add(comparison, name, number, score)
    return comparison


def add(comparison: Comparison, name: str, number: int, score: Any, trace: str = "", **facts: Any) -> None:
    status = score if isinstance(score, str) else "ok"
    value = None if isinstance(score, str) or score is None else float(score)
    key = digest([name, number])
    told = FACTS | ({"cost_usd": None, "text": None} if status != "ok" else {}) | {"status": status} | facts
    comparison.store.keep_run(KeptRun(key, told, trace, ()))
    comparison.rows[name, str(number), 0] = Row(name, str(number), 0, key, status, False, value)


def row(frame: pd.DataFrame, **where: str) -> dict[Any, Any]:
    for column, wanted in where.items():
        frame = frame[frame[column] == wanted]
    assert len(frame) == 1
    return frame.to_dict("records")[0]


def test_a_summary_counts_scores_prices_and_percentiles() -> None:
    comparison = made({"m": [1, 0, 0, 1]})
    for number, latency in enumerate((1.0, 2.0, 3.0, 4.0)):
        add(comparison, "m", number, [1, 0, 0, 1][number], latency_s=latency, cost_usd=0.001 * (number + 1))
    told = row(comparison.summary(), strategy="m")
    assert (told["n"], told["runs"], told["failures"], told["undone"]) == (4, 4, 0, 0)
    assert told["score"] == 0.5
    # Wilson 1927 for 2 of 4: (2 + z²/2 ± z √(1 + z²/4)) / (4 + z²) with z = 1.96
    assert (told["score_low"], told["score_high"]) == pytest.approx((0.15004, 0.84996), abs=1e-5)
    assert told["score_method"] == "wilson"
    assert told["cost_usd"] == pytest.approx(0.0025)
    assert told["usd_per_correct"] == pytest.approx(0.005)
    assert told["latency_p50_s"] == 2.5
    assert told["latency_p90_s"] == pytest.approx(3.7)
    assert (told["prompt_tokens"], told["completion_tokens"], told["total_tokens"]) == (10, 5, 15)


def test_failures_and_undone_runs_are_counted_and_no_score() -> None:
    comparison = made({"m": [1, "error", "undone", 0]})
    del comparison.rows["m", "3", 0]  # never begun
    told = row(comparison.summary(), strategy="m")
    assert (told["n"], told["runs"], told["failures"], told["undone"]) == (1, 4, 1, 2)
    assert told["score"] == 1.0
    assert told["cost_usd"] == pytest.approx(0.001)  # two were asked, one of them cost something


def test_what_failed_runs_cost_counts() -> None:
    comparison = made({"m": [1, "error"]})
    add(comparison, "m", 1, "error", cost_usd=0.004)
    told = row(comparison.summary(), strategy="m")
    assert told["cost_usd"] == pytest.approx(0.003)
    assert told["usd_per_correct"] == pytest.approx(0.006)


def test_a_cost_that_is_known_in_part_is_unknown() -> None:
    comparison = made({"m": [1, 1], "n": [1, 1]}, seats={"m": UNPRICED})
    call = lab.Call(
        trace_id="t", call_id="c", strategy="single", stage="answer", role="model", status="ok",
        request_model="openai/a", started_at=datetime.now(UTC), start_offset_s=0.0, latency_s=1.0,
    )  # fmt: skip
    trace = lab.Trace(
        trace_id="t", strategy="single", model="openai/a", started_at=call.started_at, latency_s=1.0,
        version="0", calls=[call],
    )  # fmt: skip
    add(comparison, "m", 0, 1, trace.model_dump_json())
    frame = comparison.summary()
    assert row(frame, strategy="m")["cost_usd"] is None
    assert row(frame, strategy="m")["usd_per_correct"] is None
    assert row(frame, strategy="n")["cost_usd"] == pytest.approx(0.002)


def test_a_finished_run_without_a_cost_makes_the_cost_unknown() -> None:
    comparison = made({"m": [1, 1]})
    add(comparison, "m", 0, 1, cost_usd=None)
    assert row(comparison.summary(), strategy="m")["cost_usd"] is None


def test_right_answers_have_a_price_only_where_answers_are_right_or_wrong() -> None:
    frame = made({"half": [1, 0.5], "none": [0, 0], "one": [0, 1]}).summary()
    assert [row(frame, strategy=name)["usd_per_correct"] is None for name in ("half", "none", "one")] == [
        True, True, False,
    ]  # fmt: skip


def test_differences_are_taken_prompt_by_prompt_against_the_baseline() -> None:
    frame = made({"base": [0] * 20 + [1] * 10, "m": [1] * 12 + [0] * 8 + [1] * 8 + [0] * 2}).differences()
    told = row(frame, strategy="m")
    assert told["baseline"] == "base"
    assert (told["wins"], told["losses"], told["ties"], told["n"]) == (12, 2, 16, 30)
    assert told["difference"] == pytest.approx(1 / 3)
    # McNemar's mid-p for 12 against 2: 2 P(X <= 2) - P(X = 2), X of 14 fair coins: (2 * 106 - 91) / 16384
    assert told["p_value"] == pytest.approx(121 / 16384)
    assert told["verdict"].startswith("better by 0.333")


def test_p_values_are_adjusted_for_the_number_of_strategies() -> None:
    better = [1] * 12 + [0] * 18
    frame = made({"base": [0] * 30, "m": better, "n": [1] * 3 + [0] * 27}).differences()
    m, n = row(frame, strategy="m"), row(frame, strategy="n")
    assert m["p_holm"] == pytest.approx(2 * m["p_value"])
    assert n["p_holm"] == pytest.approx(n["p_value"])


def test_few_prompts_are_said_to_tell_nothing() -> None:
    frame = made({"base": [0] * 10, "m": [1] * 10}).differences()
    assert "too few prompts to tell" in row(frame, strategy="m")["verdict"]


def test_a_baseline_of_ones_own_and_one_that_is_not_there() -> None:
    comparison = made({"a": [0, 0], "b": [1, 1]})
    assert row(comparison.differences("b"), strategy="a")["difference"] == -1
    with pytest.raises(lab.ConfigError, match="'c'"):
        comparison.differences("c")


def test_win_rates_count_a_tie_as_half() -> None:
    rates = made({"a": [1, 1, 0, 0], "b": [1, 0, 0, "error"]}).win_rates()
    assert rates.loc["a", "b"] == pytest.approx(2 / 3)
    assert rates.loc["b", "a"] == pytest.approx(1 / 3)
    assert rates.loc["a", "a"] is pd.NA


def test_under_a_pairwise_judge_the_baseline_ties_with_itself() -> None:
    judge = lab.PairwiseJudge(judge="openai/judge")
    comparison = made({"base": [None] * 30, "m": [1.0] * 24 + [0.0] * 6}, scorer=judge)
    assert row(comparison.summary(), strategy="base")["score"] == 0.5
    told = row(comparison.differences(), strategy="m")
    assert (told["wins"], told["losses"]) == (24, 6)
    assert told["difference"] == pytest.approx(0.3)


def test_without_scores_the_frames_keep_their_columns() -> None:
    scored, bare = made({"a": [1], "b": [0]}), made({"a": [None], "b": [None]}, scorer=None)
    assert list(bare.summary()) == list(scored.summary())
    assert list(bare.summary().dtypes) == list(scored.summary().dtypes)
    assert list(bare.differences().dtypes) == list(scored.differences().dtypes)
    assert row(bare.summary(), strategy="a")["score"] is None
    assert len(made({"a": [1]}).differences()) == 0


def test_a_composite_seat_without_a_plain_price_is_looked_up_in_its_calls() -> None:
    inner: Strategy = lab.MoA(aggregator="composite/moa/openai/gpt-4o-mini", proposers=["openai/gpt-4o-mini"])
    comparison = made({"m": [1]}, seats={"m": inner})
    assert row(comparison.summary(), strategy="m")["cost_usd"] == pytest.approx(0.002)
