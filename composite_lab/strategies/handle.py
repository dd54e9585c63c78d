"""RunHandle: a run that goes on in the background, as its starter holds it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from composite_lab.errors import RunCancelled
from composite_lab.loop import Background, leave_if_ending
from composite_lab.trace.events import Event, Failed, Finished, Observer
from composite_lab.trace.model import Result, Trace

if TYPE_CHECKING:
    from composite_lab.strategies.base import Strategy


class RunHandle:
    """A run under way, from `start()`. It ends on its own; nobody has to wait for it.

    `result()` waits for the answer, `await handle` does so in async code; `cancel()` ends the calls in
    flight. `events` are what has happened so far, `trace` is there as soon as the run has ended, however
    it ended. `messages` is the conversation it was asked.
    """

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.messages: list[dict[str, Any]] = []
        self.events: list[Event] = []
        self._observers: list[Observer] = []
        self._lock = threading.RLock()
        self._background: Background[Result] | None = None

    def __repr__(self) -> str:
        trace = self.trace
        about = trace.summary() if trace else f"{self.strategy.kind} {self.status}"
        return f"<RunHandle {about}>"

    @property
    def status(self) -> Literal["running", "ok", "degraded", "error", "cancelled"]:
        """How the run stands; a run that was cancelled is running until its calls have ended."""
        trace = self.trace
        if trace is not None:
            return trace.status
        return "cancelled" if self.done else "running"

    @property
    def done(self) -> bool:
        """True once there is a result or an error."""
        return self.trace is not None or self._outcome().done()

    @property
    def trace(self) -> Trace | None:
        """The trace of the ended run, also of one that failed or was cancelled; None while it runs."""
        last = self.events[-1] if self.events else None
        if isinstance(last, Finished):
            return last.result.trace
        return last.trace if isinstance(last, Failed) else None

    def result(self, timeout_s: float | None = None) -> Result:
        """Wait for the answer, at most `timeout_s` seconds.

        Raises what the run raises, `RunCancelled` after `cancel()`, and `TimeoutError` when it is not
        ready yet. An interrupt ends the waiting, not the run.
        """
        outcome = self._outcome()
        if not concurrent.futures.wait([outcome], timeout=timeout_s).done:
            raise TimeoutError(f"no answer after {timeout_s} s; the run goes on, cancel() ends it")
        return self._settled(outcome)

    def cancel(self) -> None:
        """End the calls in flight. Returns at once; does nothing to a run that has ended."""
        if self._background is not None:
            self._background.cancel()

    def observe(self, observer: Observer) -> None:
        """Tell what has happened so far, then what happens next, on the run's own thread."""
        with self._lock:
            for event in self.events:
                observer(event)
            self._observers.append(observer)

    def __await__(self) -> Generator[Any, None, Result]:
        return self._wait().__await__()

    async def _wait(self) -> Result:
        outcome = self._outcome()
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def tell(_: object) -> None:
            with suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(ended.set)

        outcome.add_done_callback(tell)
        await ended.wait()  # not the outcome itself: who stops waiting does not stop the run
        return self._settled(outcome)

    def begin(self, work: Coroutine[Any, Any, Result], messages: list[dict[str, Any]]) -> None:
        """Start the run's work; called once, by `start()`."""
        self.messages = messages
        self._background = Background(work)
        self._background.start()

    def tell(self, event: Event) -> None:
        """Keep an event and hand it on."""
        with self._lock:
            self.events.append(event)
            observers = list(self._observers)
        for observer in observers:
            observer(event)

    def _outcome(self) -> concurrent.futures.Future[Result]:
        if self._background is None:
            raise RuntimeError("a RunHandle comes from start()")
        return self._background.outcome

    def _settled(self, outcome: concurrent.futures.Future[Result]) -> Result:
        try:
            return outcome.result()
        except asyncio.CancelledError:
            leave_if_ending()
            answered = sum(call.status == "ok" for call in self.trace.calls) if self.trace else 0
            error = RunCancelled(
                f"the run was cancelled when {answered} calls had been answered: see its trace"
            )
            error.trace = self.trace
            raise error from None
