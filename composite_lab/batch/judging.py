"""Judging: scoring the runs of a comparison. A model that judges is called as any other: kept and traced."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from composite_lab.batch.plan import Task
from composite_lab.batch.runs import FINISHED, Ended, Row, keep, run_facts
from composite_lab.batch.scoring import Ask, PairwiseJudge, Score, Scorer
from composite_lab.batch.session import Session
from composite_lab.errors import BudgetExceeded
from composite_lab.gateway import Gateway, Place
from composite_lab.gateway.memory import digest, remembering
from composite_lab.replies import Reply
from composite_lab.seats import Seat
from composite_lab.strategies.run import VERSION
from composite_lab.trace.model import Trace, in_stable_order

STAGE = "judging"
BETTER = {"A": 1.0, "B": 0.0, "tie": 0.5}


@dataclass
class Judging:
    """Scores the runs of a session."""

    session: Session

    async def score(self, scorer: Scorer, task: Task, ended: Ended) -> Row:
        """The run's row with its score; as it is when there is no answer to score."""
        if ended.row.status not in FINISHED:
            return ended.row

        async def measure(ask: Ask) -> Score:
            return await scorer.score(ended.text or "", task.prompt.target, about(task), ask=ask)

        return await self._judged(task, ended.row, scorer.identity(), measure)

    async def prefer(self, judge: PairwiseJudge, task: Task, ended: Ended, rival: Ended) -> Row:
        """The run's row with 1.0 where its answer is better than the rival's, 0.5 for a tie, else 0.0."""
        if not {ended.row.status, rival.row.status} <= set(FINISHED):
            return ended.row

        async def measure(ask: Ask) -> Score:
            found = await judge.compare(task.prompt.text, ended.text or "", rival.text or "", ask=ask)
            return Score(BETTER.get(str(found.better)), found.note)

        return await self._judged(task, ended.row, [judge.identity(), rival.row.key], measure)

    async def _judged(
        self, task: Task, row: Row, identity: Any, measure: Callable[[Ask], Awaitable[Score]]
    ) -> Row:
        memory = self.session.around(task.prompt.scope, task.repeat)
        gateways: list[Gateway] = []
        try:
            with remembering(memory):
                score = await measure(asker(gateways))
        except BudgetExceeded as spent:
            score = Score(None, f"{type(spent).__name__}: {spent}")
        if self.session.fault is not None:
            raise self.session.fault
        key = None
        if gateways:
            key = digest([row.key, identity])
            trace = _trace(gateways, task)
            keep(self.session, key, run_facts(trace, None), trace, memory)
        return replace(row, score=score.value, score_note=score.note, judging=key)


def about(task: Task) -> dict[str, Any]:
    """What a scorer is told of a question besides the target."""
    return task.prompt.columns | {"prompt": task.prompt.text, "id": task.prompt.id}


def asker(gateways: list[Gateway]) -> Ask:
    """How a judge is asked: each time through a gateway of its own, which is added to the list."""

    async def ask(seat: Seat, messages: list[dict[str, Any]], role: str) -> Reply:
        gateway = Gateway("judge", [seat], emit=lambda _: None, max_concurrency=1, retries=2)
        gateways.append(gateway)
        return await gateway.call(seat, messages, Place(STAGE, role))

    return ask


def _trace(gateways: list[Gateway], task: Task) -> Trace:
    first = gateways[0]
    calls = [
        call.model_copy(update={"trace_id": first.trace_id}) for gateway in gateways for call in gateway.calls
    ]
    return Trace(
        trace_id=first.trace_id,
        strategy="judge",
        model=calls[0].request_model if calls else "",
        started_at=first.started_at,
        latency_s=first.elapsed_s(),
        version=VERSION,
        messages=task.prompt.messages,
        calls=in_stable_order(calls),
    )
