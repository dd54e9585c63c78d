"""Engines: where the runs of a comparison are carried out."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from composite_lab.batch.dask_engine import Dask, Processes, check_installed
from composite_lab.batch.plan import Plan
from composite_lab.batch.runs import Then, carry_out
from composite_lab.batch.session import Session
from composite_lab.errors import ConfigError

CHOICES = '"asyncio", "processes", Processes(workers=2), "dask", a scheduler\'s address or a Dask Client'


class Engine(Protocol):
    """Carries out every task of a plan, and awaits `then` after each."""

    async def carry_out(self, plan: Plan, session: Session, then: Then) -> None:
        """Ends when all tasks have ended.

        Raises `StoreError` when answers cannot be kept, `ConfigError` when no run can be begun, and
        `EngineError` when it has lost what carries them out.
        """


class Asyncio:
    """All runs in this process, on the caller's loop."""

    async def carry_out(self, plan: Plan, session: Session, then: Then) -> None:
        """As many runs at once as there are places."""
        await carry_out(plan.tasks(), session, then)


def engine_of(given: Any) -> Engine:
    """The engine that a caller means. Raises `ConfigError`."""
    match given:
        case "asyncio":
            return Asyncio()
        case "processes":
            return Processes()
        case "dask":
            return _dask_of(_default_client())
        case str() if "://" in given:
            return Dask(given)
        case Asyncio() | Processes() | Dask():
            return given
    distributed = sys.modules.get("distributed")  # whoever has a Client has imported it
    if distributed is not None and isinstance(given, distributed.Client):
        return _dask_of(given)
    raise ConfigError(f"engine is {CHOICES}, not {given!r}")


def _dask_of(client: Any) -> Dask:
    if client.scheduler is None:
        raise ConfigError(f"engine: {client!r} is not connected to a scheduler")
    return Dask(client.scheduler.address, client.security)


def _default_client() -> Any:
    check_installed('engine="dask"')
    from distributed import default_client

    try:
        return default_client()  # type: ignore[no-untyped-call]
    except ValueError:
        raise ConfigError(
            'engine="dask" takes the current dask.distributed.Client, and there is none: make one, or give a '
            'Client, a scheduler\'s address ("tcp://host:8786") or "processes"'
        ) from None
