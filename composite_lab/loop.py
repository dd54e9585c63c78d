"""The one place where synchronous code meets the asynchronous core.

| the caller stands in            | the coroutine runs on                                           |
| ------------------------------- | --------------------------------------------------------------- |
| a thread without a loop         | a private daemon thread with one loop, kept for the process     |
| a running asyncio loop          | that same loop, re-entered by nest_asyncio2                     |
| a running loop of another kind, | the private loop; uvloop, for one, cannot be re-entered, and    |
| or one that somebody patched    | nest_asyncio, re-entering, loses a kernel's queued cells        |
| asynchronous code of a cell     | the private loop, if its task could not be rid of a second      |
|                                 | cancellation (see `interrupts`)                                 |

`Background` puts work on the private loop and returns at once.

In all three an interrupt, or the cancellation of the caller's own task, cancels the work, waits
until it has ended and leaves the loops usable.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextvars
import os
import select
import selectors
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from contextlib import suppress
from typing import Any, Generic, TypeGuard, TypeVar

from composite_lab import interrupts

END_S = 5.0
"""How long the end of the interpreter waits for cancelled work, in seconds."""
RUN = "composite_lab run"
"""The name of tasks whose loss at the end of the interpreter is told."""
POLL_S = 0.05
"""How often a blocked caller looks whether its own task was cancelled, in seconds."""
RUNNING = ("run_forever", "run_until_complete", "_run_once", "_check_running")
"""What nest_asyncio2 replaces in a loop's class. Where others did so before, the two would not get on."""

T = TypeVar("T")


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, from synchronous code, wherever that code runs.

    Raises what the coroutine raises; `KeyboardInterrupt` and `asyncio.CancelledError` come after the
    coroutine has been cancelled and has ended.
    """
    loop = _loop_to_reenter()
    return _run_on_private_loop(work) if loop is None else _run_nested(loop, work)


def iterate_sync(events: AsyncGenerator[T, None]) -> Iterator[T]:
    """The items of an async generator, from synchronous code. Closing the iterator closes the generator."""
    # One cell of a notebook may begin it and another go on, but all of it has to be on one loop.
    run = _run_on_private_loop if _loop_to_reenter() is None else run_sync
    try:
        while True:
            try:
                item = run(_next(events))
            except StopAsyncIteration:
                return
            yield item
    finally:
        if not sys.is_finalizing():  # by then the private loop has ended, and everything on it
            run(events.aclose())


async def _next(events: AsyncIterator[T]) -> T:
    return await anext(events)


def _current_task() -> asyncio.Task[Any] | None:
    with suppress(RuntimeError):  # no loop is running here
        return asyncio.current_task()
    return None


def _cancellations(task: asyncio.Task[Any] | None) -> int:
    return 0 if task is None else task.cancelling()


# --- a running asyncio loop, re-entered


def _loop_to_reenter() -> asyncio.BaseEventLoop | None:
    """The running loop, made ready for it. None if there is none or the private loop has to serve."""
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return None
    if not can_reenter(running):
        return None
    _patch(running)
    return None if interrupts.would_hang(asyncio.current_task()) else running


def _run_nested(loop: asyncio.BaseEventLoop, work: Coroutine[Any, Any, T]) -> T:
    caller = asyncio.current_task()
    before = _cancellations(caller)
    task = loop.create_task(work)
    watch = loop.create_task(_cancel_with(task, caller)) if caller is not None else None
    try:
        with interrupts.end(lambda: loop.call_soon_threadsafe(task.cancel)):
            result = loop.run_until_complete(task)
        if _cancellations(caller) > before:  # so late that `watch` had no turn
            raise asyncio.CancelledError  # noqa: TRY301  (the same way out as an interrupt's)
    except BaseException:
        # An interrupt leaves `task` suspended half-way; its own end needs the loop once more.
        task.cancel()
        with suppress(BaseException):
            loop.run_until_complete(task)
        if _cancellations(caller) > before:
            interrupts.take_back(caller)
        raise
    finally:
        if watch is not None:
            watch.cancel()
    return result


def can_reenter(loop: asyncio.AbstractEventLoop) -> TypeGuard[asyncio.BaseEventLoop]:
    """Whether nest_asyncio2 can re-enter the loop: it runs as asyncio wrote it, or as nest_asyncio2 did."""
    if not isinstance(loop, asyncio.BaseEventLoop):
        return False
    if hasattr(asyncio, "_nest_patched") and not hasattr(asyncio, "_nest_asyncio2"):
        return False
    return all(_is_known(getattr(loop, name, None)) for name in RUNNING)


def _is_known(method: Any) -> bool:
    module = str(getattr(method, "__module__", None))
    return module == "nest_asyncio2" or module.partition(".")[0] == "asyncio"


def _patch(loop: asyncio.BaseEventLoop) -> None:
    import nest_asyncio2

    # What it makes of `asyncio.run` knows no loop factory and leaves tasks behind at the end. Only this loop
    # has to be re-entered, so the function stays as it was.
    run = asyncio.run
    nest_asyncio2.apply(loop)
    asyncio.run = run


async def _cancel_with(task: asyncio.Task[Any], caller: asyncio.Task[Any]) -> None:
    # `asyncio.run` turns Ctrl-C into a cancellation of the main task, and `asyncio.timeout` cancels the
    # same way. That task is blocked below us on the stack and cannot act on it, so we look.
    before = caller.cancelling()
    while caller.cancelling() <= before:  # noqa: ASYNC110  (a task tells nobody that it was cancelled)
        await asyncio.sleep(POLL_S)
    task.cancel()


# --- the private loop


class _PrivateLoop:
    """One daemon thread with one loop, so that LiteLLM's connection pools and callbacks live on."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.loop = asyncio.SelectorEventLoop(self.selector)
        self.pid = os.getpid()
        self.has_ended = False
        started = threading.Event()
        self.thread = threading.Thread(target=self._serve, args=(started,), name="composite_lab", daemon=True)
        self.thread.start()
        started.wait()
        atexit.register(self.end)

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(started.set)
        while True:
            # These two end the loop as well as the task that raised them. The task's caller gets them; the
            # loop goes on for the others.
            with suppress(SystemExit, KeyboardInterrupt):
                self.loop.run_forever()

    def end(self) -> None:
        """Cancel all that is under way and wait until it has ended, as `asyncio.run` does at its end."""
        # Else the thread may be frozen in the middle of an import, and the interpreter would wait for the
        # import lock for ever.
        if self.pid != os.getpid():  # a forked child has the object and not the thread
            return
        self.has_ended = True
        if any(task.get_name() == RUN for task in asyncio.all_tasks(self.loop)) and sys.stderr is not None:
            sys.stderr.write(
                "composite_lab: the script ended while a run was still under way, so that was cancelled. "
                "Wait for it: result() of a handle, join() of a thread.\n"
            )
        ended = asyncio.run_coroutine_threadsafe(_cancel_all(), self.loop)
        concurrent.futures.wait([ended], timeout=END_S)


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


_private: _PrivateLoop | None = None
_private_lock = threading.Lock()


def _private_loop() -> asyncio.AbstractEventLoop:
    global _private  # noqa: PLW0603  (one per process is the point)
    with _private_lock:
        if _private is None:
            _private = _PrivateLoop()
        return _private.loop


def _forget_private_loop() -> None:
    # A forked child inherits the object but not the thread, and shares the parent's epoll set: when it closes
    # its copies of the connections, the parent would no longer hear from its own.
    global _private, _private_lock
    if _private is not None and hasattr(select, "epoll"):
        with select.epoll() as empty:
            os.dup2(empty.fileno(), _private.selector.fileno(), inheritable=False)
    _private, _private_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_private_loop)


class Background(Generic[T]):
    """A coroutine on the private loop, whatever the caller does meanwhile. `outcome` gets its end.

    Cancelled, it ends with `asyncio.CancelledError`, after what it had under way has ended.
    """

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        if sys.is_finalizing():
            work.close()
            raise RuntimeError("the interpreter is shutting down: run this before the script ends")
        self.outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._work = work
        self._task: asyncio.Task[T] | None = None
        self._loop = _private_loop()

    def start(self) -> None:
        """Have it begin, with the caller's context variables (LiteLLM's, OpenTelemetry's)."""
        self._loop.call_soon_threadsafe(self._begin, context=contextvars.copy_context())

    def cancel(self) -> None:
        """Have it end, also if it has not begun. Returns at once."""
        self._loop.call_soon_threadsafe(self._end)

    def _begin(self) -> None:
        if not self.outcome.done():
            self._task = self._loop.create_task(self._work, name=RUN)
            self._task.add_done_callback(self._hand_over)

    def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
        elif not self.outcome.done():
            self._work.close()
            self.outcome.set_exception(asyncio.CancelledError())

    def _hand_over(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.outcome.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())


def _run_on_private_loop(work: Coroutine[Any, Any, T]) -> T:
    caller = _current_task()
    before = _cancellations(caller)
    background = Background(work)
    try:
        with interrupts.end(background.cancel):
            background.start()
            while not concurrent.futures.wait([background.outcome], timeout=POLL_S).done:
                if _cancellations(caller) > before:
                    raise asyncio.CancelledError  # noqa: TRY301  (the same way out as an interrupt's)
    except BaseException:
        background.cancel()
        concurrent.futures.wait([background.outcome])
        raise
    try:
        return background.outcome.result()
    except asyncio.CancelledError:
        leave_if_ending()
        raise


def leave_if_ending() -> None:
    """End this thread without a word when the interpreter ends: what it waited for has been told of."""
    ending = _private is not None and _private.has_ended
    if ending and threading.current_thread() is not threading.main_thread():
        raise SystemExit
