"""Comparison: what came of comparing strategies, as frames. The evidence in it is in evidence.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from composite_lab.batch import evidence, value
from composite_lab.batch.plan import Plan
from composite_lab.batch.prompts import Prompt
from composite_lab.batch.runs import FINISHED, UNDONE, Row
from composite_lab.batch.scoring import PairwiseJudge, Scorer
from composite_lab.batch.store import Store
from composite_lab.errors import ConfigError
from composite_lab.loop import run_sync
from composite_lab.trace.frames import COLUMNS
from composite_lab.trace.model import Trace

FRAME = {
    "strategy": "string", "prompt_id": "string", "repeat": "Int64", "status": "string", "text": "string",
    "score": "Float64", "score_note": "string", "cost_usd": "Float64", "latency_s": "Float64",
    "prompt_tokens": "Int64", "completion_tokens": "Int64", "total_tokens": "Int64",
    "cached_tokens": "Int64", "reasoning_tokens": "Int64", "calls": "Int64", "failures": "Int64",
    "error_type": "string", "error_message": "string", "trace_id": "string",
}  # fmt: skip


@dataclass
class Comparison:
    """A row for each strategy, prompt and repeat; texts and traces stay in the store until asked for.

    `paid_usd` and `calls_paid` are what this session paid for; the frames' `cost_usd` is what each run
    costs by itself, whoever paid for its calls and when. `baseline` is the strategy that the others are
    measured against, and `scorer` what their answers were scored by.
    """

    plan: Plan
    store: Store
    baseline: str
    rows: dict[tuple[str, str, int], Row] = field(default_factory=dict)
    paid_usd: float = 0.0
    calls_paid: int = 0
    scorer: Scorer | PairwiseJudge | None = None

    def __repr__(self) -> str:
        plan = self.plan
        finished = sum(row.status in FINISHED for row in self.rows.values())
        undone = len(plan) - len(self.rows) + sum(row.status == UNDONE for row in self.rows.values())
        return (
            f"<Comparison of {', '.join(plan.strategies)}, {len(plan.prompts)} prompts: {finished} runs ok, "
            f"{len(plan) - finished - undone} failed, {undone} undone, {self.paid_usd:.6f} USD paid now>"
        )

    def to_dataframe(self) -> pd.DataFrame:
        """A row per strategy, prompt and repeat, in that order, also for runs that failed or are undone.

        `status` is ok, degraded, error or undone. `cost_usd` and `latency_s` (seconds, along the critical
        path) are those of a run made by itself. The prompts' columns come last.
        """
        frame = pd.DataFrame(list(self._frame_rows()))
        ordered = [*FRAME, *(name for name in frame if name not in FRAME)]
        return frame.reindex(columns=ordered).astype(FRAME)

    def calls_df(self) -> pd.DataFrame:
        """A row per call of every run and of the judges; `strategy_name` is the name in the comparison.

        The columns of `trace.to_dataframe()` follow. A call that two runs share is a row of each of them,
        and costs what was paid for it in one of them only.
        """
        frames = [
            trace.to_dataframe().assign(strategy_name=row.name, prompt_id=row.prompt, repeat_of=row.repeat)
            for row, trace in self._traces()
        ]
        own = {"strategy_name": "string", "prompt_id": "string", "repeat_of": "Int64"}
        columns = [*own, *(column.name for column in COLUMNS)]
        if not frames:
            dtypes = own | {column.name: column.dtype for column in COLUMNS}
            return pd.DataFrame(columns=columns).astype(dtypes)
        return pd.concat(frames, ignore_index=True).astype(own)[columns]

    def summary(self) -> pd.DataFrame:
        """A row per strategy: how many runs, failures and undone ones, score, price, latency, tokens.

        `n` prompts have a score; `score` is their mean with a 95 % interval, `score_method` names it.
        `cost_usd` is per run (a prompt asked once), failed ones included and judges not; `usd_per_correct`
        is there where answers are right or wrong. Latencies are percentiles in seconds and tokens means,
        of the runs that finished. NA is what is not known.
        """
        return evidence.summary(self)

    def differences(self, baseline: str | None = None) -> pd.DataFrame:
        """A row per strategy: how much better it is than the baseline, prompt by prompt.

        `difference` is the mean with its 95 % interval `low` to `high`, `p_holm` the p-value adjusted for
        the number of strategies; wins, losses and ties count prompts, of which `n` are scored on both
        sides. `verdict` says in words what that shows. Raises `ConfigError` for an unknown baseline.
        """
        return evidence.differences(self, baseline)

    def win_rates(self) -> pd.DataFrame:
        """Strategy by strategy, the share of prompts on which the row beats the column; a tie is half."""
        return evidence.win_matrix(self)

    def value_added(
        self,
        *,
        each_seat: bool = False,
        allow_judge_calls: bool = False,
        max_cost_usd: float | None = None,
    ) -> pd.DataFrame:
        """Did aggregation beat its own material? A row per ensemble and rival, from the same calls.

        The rivals are the seat that is best alone, a majority vote over the proposals and, for a Council,
        the opinion ranked first; `each_seat` adds the other seats. `difference` is final minus rival, and
        `p_holm` is adjusted for all rows. The best seat is chosen with hindsight, so it is a hard rival.

        A judge that scores costs money: `allow_judge_calls=True` lets it, up to `max_cost_usd` more. Its
        replies are kept in the store. Raises `ConfigError` without that, and without a scorer.
        """
        work = value.value_added(
            self, each_seat=each_seat, allow_judge_calls=allow_judge_calls, max_cost_usd=max_cost_usd
        )
        return run_sync(work)

    def trace(self, strategy: str, prompt_id: str, repeat: int = 0) -> Trace:
        """The trace of one run. Raises `KeyError` when there is none."""
        row = self.rows[strategy, str(prompt_id), repeat]
        trace = self.store.trace(row.key)
        if trace is None:
            raise KeyError(f"the run of {strategy} on {prompt_id} ended before any call was made")
        return trace

    def to_parquet(self, path: str | Path) -> None:
        """Write the frame to a Parquet file."""
        frame = self.to_dataframe()
        mixed = [name for name in frame if frame[name].dtype == object]
        for name in mixed:  # a target may be a number here and a text there; Parquet wants one type
            kinds = {type(value) for value in frame[name].dropna()}
            if len(kinds) > 1:
                frame[name] = frame[name].map(lambda value: value if value is None else str(value))
        try:
            frame.to_parquet(path, index=False)
        except ImportError as missing:
            raise ConfigError("writing Parquet needs pyarrow: pip install pyarrow") from missing

    def _frame_rows(self) -> Iterator[dict[str, Any]]:
        for (name, prompt, repeat), row in self._planned():
            facts = (self.store.run_facts(row.key) if row else None) or {}
            yield {
                **facts,
                "strategy": name,
                "prompt_id": prompt.id,
                "repeat": repeat,
                "status": row.status if row else UNDONE,
                "score": row.score if row else None,
                "score_note": row.score_note if row else None,
                "prompt": prompt.text,
                "target": prompt.target,
                **prompt.columns,
            }

    def _traces(self) -> Iterator[tuple[Row, Trace]]:
        for row in filter(None, (row for _, row in self._planned())):
            for key in filter(None, (row.key, row.judging)):
                if (trace := self.store.trace(key)) is not None:
                    yield row, trace

    def _planned(self) -> Iterator[tuple[tuple[str, Prompt, int], Row | None]]:
        """Every run of the plan in the order of the frames, with its row once it has one."""
        plan = self.plan
        for name, prompt, repeat in product(plan.strategies, plan.prompts, range(plan.repeats)):
            yield (name, prompt, repeat), self.rows.get((name, prompt.id, repeat))
