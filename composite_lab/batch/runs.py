"""Runs: carrying out the tasks of a plan against a store, and what is kept of each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from composite_lab.batch.plan import Task
from composite_lab.batch.rows import KeptRun
from composite_lab.batch.session import RunMemory, Session
from composite_lab.errors import BudgetExceeded, StoreError
from composite_lab.gateway.memory import remembering
from composite_lab.trace.call import Call, Usage
from composite_lab.trace.model import Trace
from composite_lab.trace.summary import summarize

FINISHED = ("ok", "degraded")
UNDONE = "undone"
"""The status of a run that was left because the money was spent."""


@dataclass(frozen=True, slots=True)
class Row:
    """The end of one run, in few words: all else is in the store, under `key`."""

    name: str
    prompt: str
    repeat: int
    key: str
    status: str
    reused: bool
    score: float | None = None
    score_note: str | None = None
    judging: str | None = None
    """Where in the store the judge's calls are."""


@dataclass(frozen=True)
class Ended:
    """A run that has ended: its row, and the text of its answer."""

    row: Row
    text: str | None


Then = Callable[[Task, Ended], Awaitable[None]]
"""What is done with each run that has ended."""


async def carry_out(tasks: Iterable[Task], session: Session, then: Then) -> None:
    """Every task, as many at once as there are places; `then` is awaited after each.

    Ends early only for a `StoreError`: what cannot be kept is not to be paid for.
    """
    todo = iter(tasks)

    async def work() -> None:
        for task in todo:
            await then(task, await run_task(task, session))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(session.max_concurrency):
                group.create_task(work())
    except ExceptionGroup as faults:
        raise session.fault or faults.exceptions[0] from None


async def run_task(task: Task, session: Session) -> Ended:
    """One run, or its end from the store if it has finished before."""
    return earlier_end(task, session) or await _run(task, session)


def earlier_end(task: Task, session: Session) -> Ended | None:
    """How a run ended that the store has as finished. Its money counts."""
    if not task.reusable:
        return None
    facts = session.store.run_facts(task.key)
    if facts is None or facts["status"] not in FINISHED:
        return None
    if session.store.trace(task.key) is None:  # damaged, and what it was made of is in the store
        return None
    session.count_run(task.key)
    return end_of(task, facts, reused=True)


async def _run(task: Task, session: Session) -> Ended:
    memory = session.around(task.prompt.scope, task.repeat)
    error: Exception | None = None
    try:
        with remembering(memory):
            result = await task.strategy.arun(task.prompt.messages, **task.params)
        trace: Trace | None = result.trace
    except StoreError:
        raise
    except Exception as fault:  # whatever a provider's client raises: it becomes a row
        error, trace = fault, getattr(fault, "trace", None)
    if session.fault is not None:
        raise session.fault
    facts = run_facts(trace, error)
    if isinstance(error, BudgetExceeded) and session.is_spent:
        facts["status"] = UNDONE
    keep(session, task.key, facts, trace, memory)
    return end_of(task, facts, reused=False)


def keep(session: Session, key: str, facts: dict[str, Any], trace: Trace | None, memory: RunMemory) -> None:
    """Keep the end of a run. A failure of the store ends the comparison."""
    kept = trace.model_dump_json() if trace else ""
    with session.keeping():
        session.store.keep_run(KeptRun(key, facts, kept, tuple(memory.used)))


def run_facts(trace: Trace | None, error: Exception | None) -> dict[str, Any]:
    """What the row of a run shows, as JSON. Cost (USD) and latency (s) are those of a run made alone:

    an answer from the store counts with what it cost and took when it was paid for, and waiting for a
    place among other runs does not count.
    """
    calls = as_paid(trace.calls if trace else [])
    told = summarize("", "", "", calls, 0.0)
    usage = Usage.of(calls)
    return {
        "status": trace.status if trace else "error",
        "text": trace.text if trace else None,
        "cost_usd": told.cost_usd,
        "latency_s": told.critical_path_s if calls else None,
        **(usage.model_dump() if calls else {}),
        "calls": told.calls,
        "failures": told.failures,
        "error_type": type(error).__name__ if error else None,
        "error_message": (trace.error_message if trace else str(error)) if error else None,
        "trace_id": trace.trace_id if trace else None,
    }


def as_paid(calls: Iterable[Call]) -> list[Call]:
    """The calls, those from the store with the cost and latency of when they were paid for."""
    return [
        call
        if call.original_latency_s is None
        else call.model_copy(
            update={"cost_usd": call.original_cost_usd, "latency_s": call.original_latency_s}
        )
        for call in calls
    ]


def end_of(task: Task, facts: dict[str, Any], *, reused: bool) -> Ended:
    """The end of a run that the store has these facts of."""
    row = Row(task.name, task.prompt.id, task.repeat, task.key, facts["status"], reused)
    return Ended(row, facts["text"])
