"""Session: the money, the places and the earlier answers that the runs of one comparison share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from composite_lab.batch.places import Places
from composite_lab.batch.rows import KeptAnswer, KeptRun
from composite_lab.errors import BudgetExceeded, StoreError
from composite_lab.gateway.memory import Remembered, Request
from composite_lab.trace.model import Trace


class Keeper(Protocol):
    """What a session needs of a `Store`, or of what stands in for it where the store is out of reach."""

    def answer(self, key: str) -> KeptAnswer | None:
        """The answer to a request, if it was paid for."""

    def keep_answer(self, kept: KeptAnswer) -> None:
        """Keep an answer. The first that came for a key stays."""

    def run_facts(self, key: str) -> dict[str, Any] | None:
        """What the row of a run shows, if the run is kept."""

    def trace(self, key: str) -> Trace | None:
        """The trace of a kept run, if it is sound."""

    def keep_run(self, run: KeptRun) -> None:
        """Keep a run that has ended."""

    def count_run(self, key: str) -> float:
        """What a kept run adds to the money that was counted (USD)."""

    def count_answer(self, key: str) -> float:
        """What an answer cost in USD, the first time it is counted."""


@dataclass
class Session:
    """One comparison under way. Costs in USD.

    `paid_usd` is what was paid since it began; `total_usd`, kept only when there is a cap, is what all
    answers that it stands on cost together, also those that an earlier session paid for.
    """

    store: Keeper
    max_concurrency: int
    max_cost_usd: float | None = None
    paid_usd: float = 0.0
    total_usd: float = 0.0
    calls_paid: int = 0
    fault: StoreError | None = None
    _pending: dict[str, asyncio.Event] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.places = Places(self.max_concurrency)

    @property
    def is_spent(self) -> bool:
        """True when the cap is reached."""
        return self.max_cost_usd is not None and self.total_usd >= self.max_cost_usd

    def around(self, scope: str, repeat: int) -> RunMemory:
        """What one run sees of this session."""
        return RunMemory(self, scope, repeat)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """A fault of the store inside of this ends the comparison: nothing is paid that cannot be kept."""
        try:
            yield
        except StoreError as fault:
            self.fault = fault
            raise

    def count_run(self, key: str) -> None:
        """Count the money behind a run that is taken as it is."""
        if self.max_cost_usd is not None:
            self.total_usd += self.store.count_run(key)


@dataclass
class RunMemory:
    """The session as the calls of one run see it: a `composite_lab.gateway.memory.Memory`."""

    session: Session
    scope: str
    repeat: int
    used: list[str] = field(default_factory=list)
    is_pretence: bool = False

    @property
    def has_cap(self) -> bool:
        """True when every price must be known."""
        return self.session.max_cost_usd is not None

    async def recall(self, key: str, _: Request) -> Remembered | None:
        """The earlier answer, after waiting for whoever is paying for it just now."""
        pending = self.session._pending
        while True:
            kept = self.session.store.answer(key)
            if kept is not None:
                self._use(key)
                return kept.answer()
            if key not in pending:
                pending[key] = asyncio.Event()
                return None
            await pending[key].wait()

    def remember(self, key: str, answer: Remembered) -> None:
        """Keep an answer that was just paid for."""
        session = self.session
        session.paid_usd += answer.cost_usd or 0.0
        session.calls_paid += 1
        with session.keeping():
            session.store.keep_answer(KeptAnswer.of(key, self.scope, answer))
        self._use(key)

    def let_go(self, key: str) -> None:
        """Wake those who wait for an answer."""
        self.session._pending.pop(key).set()

    def check_budget(self) -> None:
        """Raise when the comparison may not pay for another call."""
        session = self.session
        if session.fault is not None:
            raise session.fault
        if session.is_spent:
            raise BudgetExceeded(
                f"the comparison has cost {session.total_usd:.6f} USD and max_cost_usd is "
                f"{session.max_cost_usd}: the next call was not sent. Raise it to go on"
            )

    def slot(self) -> AbstractAsyncContextManager[Any]:
        """A place among the calls under way in the whole comparison."""
        return self.session.places

    def _use(self, key: str) -> None:
        self.used.append(key)
        if self.has_cap:
            self.session.total_usd += self.session.store.count_answer(key)
