"""Crew: the workers behind a Dask scheduler, as the comparison that sends them orders sees them.

A few words are exchanged with every worker twice a second: answers that were paid for come in, the places
and the money go out. So the death of a worker or an interrupt loses little that was paid for, and what the
comparison costs is known while orders are under way.
"""

from __future__ import annotations

import asyncio
import pickle
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, cast

from composite_lab.batch import worker
from composite_lab.batch.orders import Delivery, Handed, Order, Terms, Unit, errand_of
from composite_lab.batch.rows import KeptRun
from composite_lab.batch.runs import run_facts
from composite_lab.batch.session import Session
from composite_lab.batch.store import Store
from composite_lab.errors import ConfigError, EngineError, StoreError

CONNECT_S = 5.0
EXCHANGE_S = 0.5
"""How often workers are asked for the answers they paid for, in seconds."""
END_S = 10.0
"""How long the workers' last answers are waited for, in seconds."""


@asynccontextmanager
async def connected(address: str, security: Any, session: Session, work: bytes) -> AsyncIterator[Crew]:
    """The workers of the scheduler at an address. At the end they forget the comparison.

    Raises `ConfigError` when nobody is there, or a worker cannot do what it should.
    """
    from distributed import Client

    # Also where the caller has a client: that one may live on another loop, and what ends with this one
    # are the orders of this comparison only.
    client: Any = Client(  # type: ignore[no-untyped-call]
        address, security=security, asynchronous=True, set_as_default=False, timeout=CONNECT_S
    )
    try:
        await client
    except (OSError, ValueError) as error:
        raise ConfigError(f"engine: there is no Dask scheduler at {address}: {error}") from error
    async with client:
        crew = Crew(client, address, session, work)
        await crew.greet()
        try:
            yield crew
        finally:
            await crew.end()


class Crew:
    """Takes units to workers, and what they bring about into the store of a session."""

    def __init__(self, client: Any, address: str, session: Session, work: bytes) -> None:
        self.id = uuid.uuid4().hex
        self.size = 1
        self._client = client
        self._address = address
        self._session = session
        self._store = cast(Store, session.store)  # where orders are sent from, it is one
        self._work = work
        self._sent: set[Any] = set()
        self._exchanging: asyncio.Task[None] | None = None

    async def greet(self) -> None:
        """Have every worker load composite_lab, and see that it can and is the same as here."""
        here = worker.hello()
        said = await self._client.run(worker.hello, on_error="return")
        for address, version in said.items():
            if version != here and not isinstance(version, OSError):  # an OSError: it is leaving
                raise ConfigError(
                    f"the worker {address} does not have composite_lab {here}: it says {version!r}. Install "
                    "the same version on all workers"
                )
        self.size = max(1, len(said))

    async def carry_out(self, unit: Unit) -> list[KeptRun]:
        """The runs of a unit, kept in the store. One that keeps killing its workers has failed."""
        from distributed import KilledWorker

        order = self._client.submit(
            worker.carry_out,
            pickle.dumps(self._order(unit)),
            key=f"composite_lab-{uuid.uuid4().hex}",
            pure=False,
        )
        self._sent.add(order)
        try:
            delivery: Delivery = await order
            runs = delivery.runs
            self._take(delivery.handed)
        except KilledWorker as error:
            runs = [KeptRun(task.key, run_facts(None, error), "", ()) for task in unit]
        except CancelledError as error:
            raise self._gone() from error
        self._sent.discard(order)
        order.release()
        for run in runs:
            with self._kept():
                self._store.keep_run(run)
            self._session.count_run(run.key)
        return runs

    async def talk(self) -> None:
        """Exchange answers, places and money with the workers for as long as this is not cancelled."""
        while True:
            await asyncio.sleep(EXCHANGE_S)
            # What comes in has left the worker: a cancellation must not lose it.
            self._exchanging = asyncio.create_task(self._exchange())
            await asyncio.shield(self._exchanging)

    async def end(self) -> None:
        """Cancel what is under way, and keep what was paid for."""
        with suppress(OSError, TimeoutError, CancelledError, EngineError, StoreError):
            async with asyncio.timeout(END_S):
                if self._exchanging is not None:
                    await self._exchanging
                for handed in (await self._client.run(worker.end, self.id, on_error="ignore")).values():
                    self._take(handed)
                for order in self._sent:
                    if order.status == "finished":
                        self._take((await order).handed)

    async def _exchange(self) -> None:
        try:
            said = await self._client.run(worker.exchange, self.id, self._terms(), on_error="ignore")
        except OSError as error:
            raise self._gone() from error
        self.size = max(1, len(said))
        for handed in said.values():
            self._take(handed)

    def _terms(self) -> Terms:
        session = self._session
        return Terms(max(1, session.max_concurrency // self.size), session.total_usd, session.max_cost_usd)

    def _order(self, unit: Unit) -> Order:
        scope = unit[0].prompt.scope
        return Order(
            self.id,
            self._work,
            self._terms(),
            [errand_of(task) for task in unit],
            self._store.answers_of(scope),
            self._store.counted_of(scope),
        )

    def _take(self, handed: Handed) -> None:
        session = self._session
        for kept in handed.answers:
            session.paid_usd += kept.cost_usd or 0.0
            session.calls_paid += 1
            with self._kept():
                self._store.keep_answer(kept)
        session.total_usd += sum(map(self._store.count_answer, handed.counted))

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except StoreError as fault:  # nothing more is to be paid that cannot be kept
            self._session.fault = fault
            raise

    def _gone(self) -> EngineError:
        return EngineError(
            f"the Dask scheduler at {self._address} is gone or was restarted. What the workers had told of "
            "is kept: run the same comparison again to go on"
        )
