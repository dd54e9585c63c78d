"""LiteLLM's logging worker, one for each loop that is running.

The worker delivers the events of callbacks. LiteLLM has one for the whole process and moves it to whichever
loop called last. That goes well with one loop after the other; with two at once (a run in the background and
one in a cell) the worker's parts end up on different loops, which prints stack traces and loses events. So
a loop whose worker is at work elsewhere gets another one.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any

from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER, LoggingWorker

_workers = [GLOBAL_LOGGING_WORKER]
_lock = threading.Lock()


def have_one_for_each_loop() -> None:
    """Have LiteLLM's worker, to whom all events are given, hand them to the worker of the running loop."""
    GLOBAL_LOGGING_WORKER.ensure_initialized_and_enqueue = _enqueue  # type: ignore[method-assign]
    GLOBAL_LOGGING_WORKER.flush = _flush  # type: ignore[method-assign]


def _enqueue(async_coroutine: Coroutine[Any, Any, Any]) -> None:
    _worker_here().enqueue(async_coroutine)


async def _flush() -> None:
    """Wait until all events have been delivered, on whichever loop."""
    for worker in list(_workers):
        loop = _loop_of(worker)
        if loop in (None, asyncio.get_running_loop()):
            await LoggingWorker.flush(worker)
        else:
            ended = asyncio.run_coroutine_threadsafe(LoggingWorker.flush(worker), loop)
            await asyncio.wrap_future(ended)


def _worker_here() -> LoggingWorker:
    """The started worker of the running loop: its own, one whose loop has stopped, or a new one.

    From a loop that has stopped LiteLLM hands on what was still to be delivered.
    """
    here = asyncio.get_running_loop()
    with _lock:
        own = next((worker for worker in _workers if _loop_of(worker) is here), None)
        worker = own or next((worker for worker in _workers if _loop_of(worker) is None), None)
        if worker is None:
            worker = LoggingWorker()
            _workers.append(worker)
        worker.start()
    # It ends with its loop. Nobody waits for it, and asyncio need not complain that nobody does.
    if worker._worker_task is not None:
        worker._worker_task._log_destroy_pending = False  # type: ignore[attr-defined]
    return worker


def _loop_of(worker: LoggingWorker) -> asyncio.AbstractEventLoop | None:
    """The loop on which the worker is at work, None if it has none that runs."""
    loop: asyncio.AbstractEventLoop | None = getattr(worker, "_bound_loop", None)
    return loop if loop is not None and loop.is_running() else None


def _begin_anew() -> None:
    # In a forked child the parent's loops look as if they ran, and what is to be delivered is the parent's.
    global _lock  # noqa: PLW0603  (the old one may be held by a thread that is not here)
    _lock = threading.Lock()
    _workers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
