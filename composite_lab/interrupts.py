"""Interrupts: held back while something must not be left half-done, and in cells of asynchronous code.

In a kernel's cell of asynchronous code, while synchronous code in it is blocked, ipykernel makes a
cancellation of the cell's task out of an interrupt. That task is not waiting but running, below us on the
stack, so asyncio marks it to be cancelled when it waits next. We end the work, the cell ends, and then the
mark cancels ipykernel's own waiting for the cell: neither reply nor idle is ever sent. So the interrupt ends
the work and leaves the task alone.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any


@contextmanager
def interrupts_held() -> Iterator[None]:
    """A Ctrl-C inside of this comes at its end.

    pandas, numpy and scipy cannot be imported again in a process in which an interrupt broke off their
    first import. For what ends by itself in a few seconds: nothing else can stop it.
    """
    before = signal.getsignal(signal.SIGINT)
    # Interrupts come to the main thread alone. Where one ends the process or nobody minds, none is held.
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            before(*came[-1])


@contextmanager
def end(work: Callable[[], object]) -> Iterator[None]:
    """Have an interrupt of such a cell call `work`, and do nothing else. Elsewhere all stays as it is."""
    theirs = _handler()
    if not (isinstance(theirs, _End) or _cancels_cells(theirs)):
        yield
        return
    signal.signal(signal.SIGINT, _End(work, theirs if isinstance(theirs, _End) else None))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, theirs)


def would_hang(caller: asyncio.Task[Any] | None) -> bool:
    """Whether the cell of this task would never end if it were cancelled while its loop is re-entered.

    By `asyncio.timeout`, for example, or by an interrupt between two runs.
    """
    handler = _handler()
    return (isinstance(handler, _End) or _cancels_cells(handler)) and not _is_open(caller)


def take_back(caller: asyncio.Task[Any] | None) -> None:
    """Take the mark from a task whose cancellation its synchronous code has already been told of.

    Does nothing to a task written in C, of which a kernel has one before asyncio is patched.
    """
    if _is_open(caller):
        caller._must_cancel = False  # type: ignore[union-attr]


class _End:
    """The handler of an interrupt. `outer` is that of the work within which this one was begun."""

    def __init__(self, work: Callable[[], object], outer: _End | None) -> None:
        self.work, self.outer = work, outer

    def __call__(self, *signal_and_frame: object) -> None:
        self.work()
        if self.outer is not None:
            self.outer(*signal_and_frame)


def _handler() -> Any:
    """The handler of interrupts, None where it can neither be changed nor run."""
    is_main = threading.current_thread() is threading.main_thread()
    return signal.getsignal(signal.SIGINT) if is_main else None


def _cancels_cells(handler: Any) -> bool:
    return str(getattr(handler, "__module__", "")).partition(".")[0] == "ipykernel"


def _is_open(task: asyncio.Task[Any] | None) -> bool:
    with suppress(AttributeError):  # as of what is written in C
        task._must_cancel = task._must_cancel  # type: ignore[union-attr]
        return True
    return task is None
