"""Events of LiteLLM's callbacks, from several loops at once and one after the other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

from composite_lab.loop import run_sync

Enqueue = Callable[[], None]


@pytest.fixture
def delivered() -> list[asyncio.AbstractEventLoop]:
    """The loops on which events were delivered, filled by those of `enqueue`."""
    return []


@pytest.fixture
def enqueue(delivered: list[asyncio.AbstractEventLoop]) -> Enqueue:
    """Gives LiteLLM an event to deliver, as its calls do."""

    async def event() -> None:
        await asyncio.sleep(0)
        delivered.append(asyncio.get_running_loop())

    return lambda: GLOBAL_LOGGING_WORKER.ensure_initialized_and_enqueue(event())


def test_loops_that_run_at_once_deliver_their_own_events(
    delivered: list[Any], enqueue: Enqueue, caplog: pytest.LogCaptureFixture
) -> None:
    both_run = threading.Barrier(2)

    async def call() -> asyncio.AbstractEventLoop:
        for _ in range(50):
            enqueue()
            await asyncio.to_thread(both_run.wait, 30)
        await GLOBAL_LOGGING_WORKER.flush()
        return asyncio.get_running_loop()

    loops: list[Any] = []
    threads = [threading.Thread(target=lambda: loops.append(asyncio.run(call()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(map(id, delivered)) == sorted([*map(id, loops)] * 50)
    assert caplog.records == []


def test_events_of_a_loop_that_has_ended_are_delivered_by_the_next_one(
    delivered: list[Any], enqueue: Enqueue
) -> None:
    async def call() -> None:
        enqueue()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(call())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.close()

    async def later() -> None:
        enqueue()
        await GLOBAL_LOGGING_WORKER.flush()

    asyncio.run(later())
    assert len(delivered) == 2


def test_flushing_waits_for_events_on_other_loops(delivered: list[Any], enqueue: Enqueue) -> None:
    async def call() -> asyncio.AbstractEventLoop:
        enqueue()
        return asyncio.get_running_loop()

    private = run_sync(call())
    asyncio.run(GLOBAL_LOGGING_WORKER.flush())
    assert delivered == [private]
