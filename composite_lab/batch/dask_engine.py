"""Runs spread over other processes: the workers of a Dask scheduler, or some of this machine."""

from __future__ import annotations

import asyncio
import importlib.util
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from composite_lab.batch.crew import Crew, connected
from composite_lab.batch.local_cluster import local_workers
from composite_lab.batch.orders import Unit, pack, units_of
from composite_lab.batch.plan import Plan, Task
from composite_lab.batch.runs import Ended, Then, earlier_end, end_of, run_task
from composite_lab.batch.session import Session
from composite_lab.errors import ConfigError


@dataclass(frozen=True)
class Dask:
    """Runs spread over the workers of the Dask scheduler at an address, with the security it asks for."""

    address: str
    security: Any = None

    async def carry_out(self, plan: Plan, session: Session, then: Then) -> None:
        """Connects only when a run has to be carried out."""
        check_installed(f'engine="{self.address}"')
        work = pack(plan)
        await _spread(plan, session, then, lambda: connected(self.address, self.security, session, work))


@dataclass(frozen=True)
class Processes:
    """Runs spread over processes of this machine, by default one for each CPU.

    They start when a run has to be carried out, which takes some seconds, and end with the comparison. To
    keep them, make a `dask.distributed.Client` and give that as the engine.
    """

    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"Processes(workers=…) must be at least 1, not {self.workers}")

    async def carry_out(self, plan: Plan, session: Session, then: Then) -> None:
        """Starts processes only when a run has to be carried out."""
        check_installed('engine="processes"')
        work = pack(plan)

        @asynccontextmanager
        async def crew() -> AsyncIterator[Crew]:
            async with (
                local_workers(self.workers) as address,
                connected(address, None, session, work) as crew,
            ):
                yield crew

        await _spread(plan, session, then, crew)


def check_installed(what: str) -> None:
    """Raise `ConfigError` where Dask is not installed."""
    if importlib.util.find_spec("distributed") is None:
        raise ConfigError(f"{what} needs Dask: pip install 'composite-lab[dask]'")


async def _spread(
    plan: Plan, session: Session, then: Then, connect: Callable[[], AbstractAsyncContextManager[Crew]]
) -> None:
    """Every unit of a plan, as many at once as it takes to fill the places."""
    units = units_of(plan)
    try:
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            hire = _Hire(connect, stack, group)
            async with asyncio.TaskGroup() as lanes:
                for _ in range(math.ceil(session.max_concurrency / len(plan.strategies))):
                    lanes.create_task(_lane(units, session, then, hire))
            hire.dismiss()
    except ExceptionGroup as faults:
        raise session.fault or _first(faults) from None
    if session.fault is not None:  # of what came at the very end
        raise session.fault


@dataclass
class _Hire:
    """The crew, there from the first time that it is asked for."""

    connect: Callable[[], AbstractAsyncContextManager[Crew]]
    stack: AsyncExitStack
    group: asyncio.TaskGroup
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _crew: Crew | None = None
    _talk: asyncio.Task[None] | None = None

    async def crew(self) -> Crew:
        async with self._lock:
            if self._crew is None:
                self._crew = await self.stack.enter_async_context(self.connect())
                self._talk = self.group.create_task(self._crew.talk())
            return self._crew

    def dismiss(self) -> None:
        if self._talk is not None:
            self._talk.cancel()


async def _lane(units: Iterator[Unit], session: Session, then: Then, hire: _Hire) -> None:
    async def finish(task: Task, ended: Ended | None) -> None:
        await then(task, ended or await run_task(task, session))

    for unit in units:
        ends = [(task, earlier_end(task, session)) for task in unit]
        todo = [task for task, ended in ends if ended is None]
        # Where the money is spent nothing may be sent to a model, and all answers there are are here.
        if todo and not session.is_spent:
            runs = await (await hire.crew()).carry_out(todo)
            ends = [(task, ended) for task, ended in ends if ended is not None]
            ends += [
                (task, end_of(task, run.facts, reused=False)) for task, run in zip(todo, runs, strict=True)
            ]
        async with asyncio.TaskGroup() as group:
            for task, ended in ends:
                group.create_task(finish(task, ended))


def _first(faults: ExceptionGroup[Exception]) -> Exception:
    first = faults.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first
