"""Gateway: what the sub-calls of one run share."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any

import stamina

from composite_lab.errors import BudgetExceeded, ConfigError
from composite_lab.gateway.attempt import Attempt
from composite_lab.gateway.memory import MEMORY, Memory, Remembered, Request
from composite_lab.gateway.models import check_price, provider_of
from composite_lab.gateway.place import ENCLOSING, CallFailed, Place
from composite_lab.gateway.portable import make_portable
from composite_lab.gateway.quiet import silence
from composite_lab.gateway.retrying import WAIT_INITIAL_S, WAIT_MAX_S, pause_before_retry
from composite_lab.gateway.workers import have_one_for_each_loop
from composite_lab.redaction import printable, redact, redact_error
from composite_lab.replies import Reply
from composite_lab.seats import MAX_DEPTH, Seat, is_secret_name, nesting_depth
from composite_lab.trace.call import Call
from composite_lab.trace.events import CallFinished, Observer

silence()
have_one_for_each_loop()

CALL_TIMEOUT_S = 600.0
"""How long a call may take by the clock whose seat says nothing else: LiteLLM's own bounds only silence."""
MAX_REPLY_CHARS = 10_000_000
SHORTEST_SECRET = 6
"""Local servers take keys like `none` or `x`; masking these would only spoil every text."""


class Gateway:
    """The sub-calls of one run: limited, retried, timed, priced and recorded.

    Raises `ConfigError` when composites nest deeper than `MAX_DEPTH`, and, with `max_cost_usd`, when a
    seat's price is not known.
    """

    def __init__(
        self,
        strategy: str,
        seats: Iterable[Seat],
        *,
        emit: Observer,
        max_concurrency: int,
        retries: int,
        max_cost_usd: float | None = None,
        secrets: Iterable[str] = (),
        metadata: Mapping[str, Any] | None = None,
        call_timeout_s: float | None = CALL_TIMEOUT_S,
        max_reply_chars: int | None = MAX_REPLY_CHARS,
    ) -> None:
        seats = list(seats)
        self.trace_id = str(uuid.uuid4())
        self.strategy = strategy
        self.metadata = dict(metadata or {})
        """What LiteLLM's callbacks are told with each sub-call besides where it stands."""
        self.call_timeout_s = call_timeout_s
        self.max_reply_chars = max_reply_chars
        self.calls: list[Call] = []
        self._numbers = count(1)
        self.spent_usd = 0.0
        self._emit = emit
        self._max_concurrency = max_concurrency
        self._limiter = asyncio.Semaphore(max_concurrency)
        self._retries = retries
        self._max_cost_usd = max_cost_usd
        self._known_secrets = [*secrets, *(secret for seat in seats for secret in seat.secrets())]
        self._enclosing = ENCLOSING.get()
        self._depth: int = self._enclosing.gateway._depth + 1 if self._enclosing else 1
        self.started_at = datetime.now(UTC)
        self._start = time.perf_counter()
        capped = self._capped()
        for seat in seats:
            self._check(seat, capped)

    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._start

    @property
    def _secrets(self) -> list[str]:
        """What is taken out of errors: the keys of this run, and those that LiteLLM reads by itself."""
        by_name = (value for name, value in os.environ.items() if is_secret_name(name))
        return [secret for secret in (*self._known_secrets, *by_name) if len(secret) >= SHORTEST_SECRET]

    def redacted(self, text: str) -> str:
        """The text without the secrets of this run's seats."""
        return redact(printable(text), self._secrets)

    def redact_error(self, error: BaseException) -> None:
        """Take the secrets of this run's seats out of an error, and let it go to other processes."""
        redact_error(error, self._secrets)
        make_portable(error)

    def call(
        self,
        seat: Seat,
        messages: list[dict[str, Any]],
        place: Place,
        params: dict[str, Any] | None = None,
        *,
        stream: Observer | None = None,
    ) -> Coroutine[Any, Any, Reply]:
        """The reply of one sub-call after as many attempts as it takes and is worth; to be awaited.

        With `stream` its pieces go to that observer as they come, and it is not repeated once one has.
        Raises `CallFailed`, or `BudgetExceeded` when the money is spent.
        """
        own = seat.call_params(place.sample)
        request = Request(seat, messages, params | own if params else own, place)
        memory = MEMORY.get()
        if memory is None or stream is not None or seat.is_composite:
            return self._pay(request, stream)
        return self._recall_or_pay(memory, request)

    async def _recall_or_pay(self, memory: Memory, request: Request) -> Reply:
        key = request.key(memory.repeat)
        earlier = await memory.recall(key, request)
        if earlier is not None:
            return self._attempt(request).remembered(earlier)
        try:
            reply = await self._pay(request, None)
            memory.remember(key, Remembered.of(reply.call, reply.response))
        finally:
            memory.let_go(key)
        return reply

    def replay(
        self, seat: Seat, messages: list[dict[str, Any]], place: Place, earlier: Call, cost_usd: float | None
    ) -> Reply:
        """The reply that an earlier run got to the same sub-call; nobody is asked.

        `cost_usd` is what it cost then. Raises `CallFailed` when it failed then.
        """
        attempt = self._attempt(Request(seat, messages, seat.call_params(place.sample), place))
        remembered = Remembered.recorded(earlier, cost_usd)
        return (
            attempt.remembered(remembered)
            if earlier.status == "ok"
            else attempt.failed_as(earlier, remembered)
        )

    async def _pay(self, request: Request, stream: Observer | None) -> Reply:
        try:
            return await self._pay_once(request, 0, stream)
        except CallFailed as failure:
            first = failure
        seat = request.seat
        retries = seat.retries if seat.retries is not None else 0 if seat.is_composite else self._retries
        async for attempt in stamina.retry_context(
            on=pause_before_retry,
            attempts=retries + 1,
            timeout=None,
            wait_initial=WAIT_INITIAL_S,
            wait_max=WAIT_MAX_S,
            wait_jitter=WAIT_INITIAL_S,
        ):
            with attempt:
                if attempt.num == 1:  # made above: most calls succeed at once, and a retry loop is not free
                    raise first
                return await self._pay_once(request, attempt.num - 1, stream)
        raise AssertionError("stamina always returns or raises")

    async def _pay_once(self, request: Request, number: int, stream: Observer | None) -> Reply:
        attempt = self._attempt(request, number, stream)
        if attempt.is_composite:  # its own calls take their own places in its own limiter
            return await attempt.run()
        async with self._limiter if self._is_alone else self._slot():
            return await attempt.run()

    def _attempt(self, request: Request, number: int = 0, stream: Observer | None = None) -> Attempt:
        # Shaped like a UUID. The run's own random one makes it unique; one more for each call costs CPU.
        call_id = f"{self.trace_id[:24]}{next(self._numbers):012x}"
        return Attempt(self, call_id, request, number, stream)

    @property
    def _is_alone(self) -> bool:
        return self._enclosing is None and MEMORY.get() is None

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """A place among the calls under way: in this run, in those around it, in the comparison."""
        async with self._limiter:
            if self._enclosing is not None:
                async with self._enclosing.gateway._slot():
                    yield
            elif (memory := MEMORY.get()) is not None:
                async with memory.slot():
                    yield
            else:
                yield

    def check_budget(self) -> None:
        """Raise `BudgetExceeded` when this run, or one around it, has spent what it may."""
        if self._max_cost_usd is not None and self.spent_usd >= self._max_cost_usd:
            raise BudgetExceeded(
                f"the calls so far cost {self.spent_usd:.6f} USD and max_cost_usd is {self._max_cost_usd}: "
                "the next call was not sent"
            )
        if self._enclosing:
            self._enclosing.gateway.check_budget()
        elif (memory := MEMORY.get()) is not None:
            memory.check_budget()

    def record(self, call: Call) -> None:
        """Keep a call, count its cost and tell the observer."""
        self.calls.append(call)
        if call.cost_usd is not None:
            self._charge(call.cost_usd)
        self._emit(CallFinished(call))

    def hand_calls_up(self, calls: Iterable[Call]) -> None:
        """Put a finished run's calls under the call of the enclosing run, if there is one."""
        if self._enclosing is None:
            return
        outer = self._enclosing.gateway
        shift = self._start - outer._start
        for call in calls:
            moved = {
                "trace_id": outer.trace_id,
                "parent_call_id": call.parent_call_id or self._enclosing.call_id,
                "start_offset_s": call.start_offset_s + shift,
            }
            outer.calls.append(call.model_copy(update=moved))

    def _charge(self, cost_usd: float) -> None:
        self.spent_usd += cost_usd
        if self._enclosing:
            self._enclosing.gateway._charge(cost_usd)

    def _capped(self) -> bool:
        if self._max_cost_usd is not None:
            return True
        if self._enclosing is not None:
            return self._enclosing.gateway._capped()
        memory = MEMORY.get()
        return memory is not None and memory.has_cap

    def _check(self, seat: Seat, capped: bool) -> None:
        if self._depth + nesting_depth(seat.model) > MAX_DEPTH:
            raise ConfigError(
                f"{seat.model!r} nests composites deeper than {MAX_DEPTH}: use a plain model further out"
            )
        plain = seat.plain_model
        if plain is None:  # a profile: the run inside of this call checks its models
            return
        provider_of(plain)
        if capped:
            check_price(seat)

    @property
    def is_recorded(self) -> bool:
        """True when the run is one of its own and real: not a sub-call, not one of an estimate."""
        memory = MEMORY.get()
        return self._enclosing is None and not (memory is not None and memory.is_pretence)
