"""Worker: the runs of a comparison in another process, where its store is out of reach.

A worker has one loop, as any process with composite_lab, so that LiteLLM's connections stay open from one
order to the next. Many orders are under way on it at once.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import pickle
from dataclasses import dataclass, field
from typing import Any

from composite_lab.batch.orders import Delivery, Handed, Order, Terms, Work
from composite_lab.batch.rows import KeptAnswer, KeptRun
from composite_lab.batch.runs import run_task
from composite_lab.batch.session import Session
from composite_lab.errors import ConfigError
from composite_lab.loop import Background
from composite_lab.profiles import register_profile
from composite_lab.trace.model import Trace

LOOK_S = 1.0
"""How often an order under way looks whether anybody still wants it, in seconds."""


def hello() -> str:
    """The version of composite_lab on this worker."""
    from composite_lab import __version__

    return __version__


def carry_out(packed: bytes) -> Delivery:
    """The runs of a pickled `Order`. A Dask task; it leaves its thread to others, for it mostly waits."""
    from distributed import get_worker, secede

    worker = get_worker()
    key = worker.get_current_task()
    secede()  # type: ignore[no-untyped-call]
    background = Background(_carried_out(pickle.loads(packed)))
    background.start()
    while not concurrent.futures.wait([background.outcome], timeout=LOOK_S).done:
        task = worker.state.tasks.get(key)
        if task is None or task.state in ("cancelled", "released", "forgotten"):
            background.cancel()
    try:
        return background.outcome.result()
    except asyncio.CancelledError:
        raise RuntimeError("the comparison has ended") from None


async def exchange(comparison: str, terms: Terms) -> Handed:
    """Take new terms, and hand over what was paid for since the last time."""
    return await _on_private_loop(_exchanged(comparison, terms)) if comparison in _desks else Handed()


async def end(comparison: str) -> Handed:
    """Cancel what is under way for a comparison, take no more orders of it, and hand over the rest."""
    _ended.add(comparison)
    return await _on_private_loop(_given_up(comparison))


async def _on_private_loop(work: Any) -> Handed:
    background: Background[Handed] = Background(work)
    background.start()
    return await asyncio.wrap_future(background.outcome)


@dataclass
class _Desk:
    """One comparison on this worker: its session, and what is at hand of its store."""

    work: Work
    session: Session = field(init=False)
    under_way: set[asyncio.Task[Any]] = field(default_factory=set)
    answers: dict[str, KeptAnswer] = field(default_factory=dict)
    runs: dict[str, KeptRun] = field(default_factory=dict)
    counted: set[str] = field(default_factory=set)
    paid: list[KeptAnswer] = field(default_factory=list)
    newly_counted: list[str] = field(default_factory=list)

    def hand_over(self) -> Handed:
        """What the comparison does not know yet."""
        handed = Handed(self.paid, self.newly_counted)
        self.paid, self.newly_counted = [], []
        return handed

    def forget(self, keys: set[str]) -> None:
        """Keep nothing of an order that is done: no other has the same keys."""
        for key in keys:
            self.answers.pop(key, None)
        self.counted -= keys

    # --- what a session asks of a store

    def answer(self, key: str) -> KeptAnswer | None:
        return self.answers.get(key)

    def keep_answer(self, kept: KeptAnswer) -> None:
        self.answers.setdefault(kept.key, kept)
        self.paid.append(kept)

    def run_facts(self, key: str) -> dict[str, Any] | None:
        return self.runs[key].facts if key in self.runs else None

    def trace(self, key: str) -> Trace | None:
        run = self.runs.get(key)
        return Trace.model_validate_json(run.trace) if run and run.trace else None

    def keep_run(self, run: KeptRun) -> None:
        self.runs[run.key] = run

    def count_run(self, key: str) -> float:
        return sum(map(self.count_answer, self.runs[key].answers))

    def count_answer(self, key: str) -> float:
        if key in self.counted:
            return 0.0
        self.counted.add(key)
        self.newly_counted.append(key)
        return self.answers[key].cost_usd or 0.0


_desks: dict[str, _Desk] = {}
_ended: set[str] = set()


async def _carried_out(order: Order) -> Delivery:
    if order.comparison in _ended:
        raise asyncio.CancelledError
    desk = _desks.get(order.comparison) or _open(order)
    desk.answers.update((kept.key, kept) for kept in order.answers)
    desk.counted.update(order.counted)
    keys = {kept.key for kept in order.answers}
    this = asyncio.current_task()
    assert this is not None
    desk.under_way.add(this)
    try:
        async with asyncio.TaskGroup() as group:
            for errand in order.errands:
                group.create_task(run_task(errand.task(desk.work), desk.session))
        runs = [desk.runs[errand.key] for errand in order.errands]
        return Delivery(runs, desk.hand_over())
    finally:
        desk.under_way.discard(this)
        for errand in order.errands:
            run = desk.runs.pop(errand.key, None)
            keys.update(run.answers if run else ())
        desk.forget(keys)


def _open(order: Order) -> _Desk:
    try:
        work: Work = pickle.loads(order.work)
    except Exception as error:  # whatever importing what it refers to raises
        raise ConfigError(
            f"a worker cannot read the strategies: {type(error).__name__}: {error}. Install what they refer "
            "to on the workers, or define it in the script or notebook itself"
        ) from None
    for name, strategy in work.profiles.items():
        register_profile(name, strategy)
    desk = _Desk(work)
    terms = order.terms
    desk.session = Session(desk, terms.places, terms.max_cost_usd, total_usd=terms.total_usd)
    _desks[order.comparison] = desk
    return desk


async def _exchanged(comparison: str, terms: Terms) -> Handed:
    desk = _desks.get(comparison)
    if desk is None:
        return Handed()
    handed = desk.hand_over()
    untold = sum(desk.answers[key].cost_usd or 0.0 for key in handed.counted)
    desk.session.total_usd = terms.total_usd + untold
    desk.session.places.resize(terms.places)
    return handed


async def _given_up(comparison: str) -> Handed:
    desk = _desks.pop(comparison, None)
    if desk is None:
        return Handed()
    for task in desk.under_way:
        task.cancel()
    await asyncio.gather(*desk.under_way, return_exceptions=True)
    return desk.hand_over()
