"""Experiment: a comparison that can be carried out: its plan, its store, its scorer, its engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from composite_lab.batch.comparison import Comparison
from composite_lab.batch.engines import Engine, engine_of
from composite_lab.batch.judging import Judging
from composite_lab.batch.plan import Plan, StrategyLike, Task
from composite_lab.batch.progress import Bar
from composite_lab.batch.prompts import Prompts
from composite_lab.batch.runs import Ended, Row
from composite_lab.batch.scoring import PairwiseJudge, RubricJudge, Scorer, as_scorer
from composite_lab.batch.session import Session
from composite_lab.batch.store import Store
from composite_lab.errors import ConfigError
from composite_lab.gateway.models import check_price
from composite_lab.seats import Seat, unknown_name


@dataclass
class Experiment:
    """Everything that `compare` was given, checked; `comparison` fills while it is carried out."""

    plan: Plan
    comparison: Comparison
    scorer: Scorer | PairwiseJudge | None
    engine: Engine
    max_concurrency: int
    max_cost_usd: float | None
    progress: bool

    @classmethod
    def of(
        cls,
        strategies: Mapping[str, StrategyLike],
        prompts: Prompts,
        *,
        scorer: Any = None,
        store: str | Path | Store | None = None,
        repeats: int = 1,
        max_concurrency: int = 64,
        max_cost_usd: float | None = None,
        baseline: str | None = None,
        engine: Any = "asyncio",
        progress: bool = True,
        params: Mapping[str, Any] | None = None,
    ) -> Experiment:
        """The experiment that these options of `compare` describe; they are explained there.

        Raises `ConfigError` for what cannot work, before anything is paid for.
        """
        if max_concurrency < 1:
            raise ConfigError(f"max_concurrency must be at least 1, not {max_concurrency}")
        if max_cost_usd is not None and max_cost_usd < 0:
            raise ConfigError(f"max_cost_usd must be 0 or more, in USD, not {max_cost_usd}")
        chosen = scorer if scorer is None or isinstance(scorer, PairwiseJudge) else as_scorer(scorer)
        plan = Plan.of(strategies, prompts, repeats, params, capped=max_cost_usd is not None)
        if isinstance(chosen, RubricJudge | PairwiseJudge) and max_cost_usd is not None:
            check_price(cast(Seat, chosen.judge))
        first = next(iter(plan.strategies))
        if baseline is not None and baseline not in plan.strategies:
            raise ConfigError(unknown_name(baseline, plan.strategies, "baseline"))
        kept = store if isinstance(store, Store) else Store(store)
        return cls(
            plan,
            Comparison(plan, kept, baseline or first, scorer=chosen),
            chosen,
            engine_of(engine),
            max_concurrency,
            max_cost_usd,
            progress,
        )

    async def carry_out(self) -> Comparison:
        """Carry out what is not done yet, score it, and return the comparison."""
        comparison, plan = self.comparison, self.plan
        session = Session(comparison.store, self.max_concurrency, self.max_cost_usd)
        judging = Judging(session)
        rivals: dict[tuple[str, int], list[tuple[Task, Ended]]] = {}

        def enter(task: Task, row: Row) -> None:
            comparison.rows[task.name, task.prompt.id, task.repeat] = row
            comparison.paid_usd, comparison.calls_paid = session.paid_usd, session.calls_paid

        async def then(task: Task, ended: Ended) -> None:
            row = ended.row
            if isinstance(self.scorer, Scorer):
                row = await judging.score(self.scorer, task, ended)
            elif isinstance(self.scorer, PairwiseJudge):
                waiting = rivals.setdefault((task.prompt.id, task.repeat), [])
                waiting.append((task, ended))
                if len(waiting) == len(plan.strategies):
                    del rivals[task.prompt.id, task.repeat]
                    for other, its_row in await self._preferred(self.scorer, judging, waiting):
                        enter(other, its_row)
                    row = comparison.rows[task.name, task.prompt.id, task.repeat]
            enter(task, row)
            bar.tell(row, session)

        with comparison.store.in_use(), Bar(len(plan), self.progress) as bar:
            await self.engine.carry_out(plan, session, then)
        return comparison

    async def _preferred(
        self, judge: PairwiseJudge, judging: Judging, ended: list[tuple[Task, Ended]]
    ) -> list[tuple[Task, Row]]:
        """The rows of all answers to one prompt, each judged against the baseline's."""
        rival = next(end for task, end in ended if task.name == self.comparison.baseline)
        return [
            (task, end.row if end is rival else await judging.prefer(judge, task, end, rival))
            for task, end in ended
        ]
