"""Holding back an interrupt: for what must not be left half-done, above all a first import."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
