"""The one door to LiteLLM: a sub-call goes in, recorded Calls and one reply come out.

A Gateway lives as long as one run. It holds what the run's calls share: the limiter, the money spent,
the secrets to redact and the record of calls. It knows no strategy.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import litellm
import stamina

from composite_lab.errors import BudgetExceeded, CallTimeout, CompositeError, ConfigError, TruncatedStream
from composite_lab.redaction import printable, redact, redact_error
from composite_lab.replies import Reply, price, read_answer, read_usage
from composite_lab.seats import COMPOSITE_PREFIX, MAX_DEPTH, Seat, nesting_depth, unknown_name
from composite_lab.trace.call import Call, Status
from composite_lab.trace.events import CallFinished, Observer, ReasoningDelta, TextDelta, ToolCallDelta

# A composite fails call by call and retries what is worth it; LiteLLM's advertisement a failed call would
# drown a notebook.
litellm.suppress_debug_info = True

MAX_RETRY_AFTER_S = 120.0
"""A server that asks for a longer pause than this is not waited for."""
WAIT_INITIAL_S = 0.5
WAIT_MAX_S = 20.0

_OWN_PARAMS = {"stream", "stream_options", "max_retries", "request_timeout", "timeout", "deployment_id"}
FINAL_PARAMS = (
    {*litellm.OPENAI_CHAT_COMPLETION_PARAMS, "top_k", "min_p", "repetition_penalty", "drop_params",
     "allowed_openai_params", "extra_body"} - _OWN_PARAMS
)  # fmt: skip
"""Call parameters that a run hands on to its final call."""


class CallFailed(Exception):
    """A sub-call failed for good. `call` is its last attempt, `cause` the exception behind it."""

    def __init__(self, call: Call, cause: Exception) -> None:
        super().__init__(f"{call.role} {call.seat} ({call.name}): {type(cause).__name__}: {cause}")
        self.call = call
        self.cause = cause


@dataclass(frozen=True)
class Place:
    """Where in a run a call stands. `draw` tells apart calls of one stage that are otherwise alike."""

    stage: str
    role: str
    round: int = 0
    seat: int = 0
    sample: int = 0
    draw: int = 0


@dataclass(frozen=True)
class _Enclosing:
    """The call of an outer composite inside of which this run happens."""

    gateway: Gateway
    call_id: str


_enclosing: ContextVar[_Enclosing | None] = ContextVar("composite_lab_enclosing", default=None)


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
    ) -> None:
        seats = list(seats)
        self.trace_id = str(uuid.uuid4())
        self.strategy = strategy
        self.calls: list[Call] = []
        self.spent_usd = 0.0
        self._emit = emit
        self._max_concurrency = max_concurrency
        self._limiter = asyncio.Semaphore(max_concurrency)
        self._retries = retries
        self._max_cost_usd = max_cost_usd
        self._secrets = [*secrets, *(secret for seat in seats for secret in seat.secrets())]
        self._enclosing = _enclosing.get()
        self._depth: int = self._enclosing.gateway._depth + 1 if self._enclosing else 1
        self.started_at = datetime.now(UTC)
        self._start = time.perf_counter()
        for seat in seats:
            self._check(seat)

    @property
    def is_nested(self) -> bool:
        """True when this run is a sub-call of another composite."""
        return self._enclosing is not None

    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._start

    def redacted(self, text: str) -> str:
        """The text without the secrets of this run's seats."""
        return redact(printable(text), self._secrets)

    async def call(
        self,
        seat: Seat,
        messages: list[dict[str, Any]],
        place: Place,
        params: dict[str, Any] | None = None,
        *,
        stream: bool = False,
    ) -> Reply:
        """The reply of one sub-call after as many attempts as it takes and is worth.

        With `stream` its pieces go to the observer as they come, and it is not repeated once one has.
        Raises `CallFailed`, or `BudgetExceeded` when the money is spent.
        """
        retries = seat.retries if seat.retries is not None else 0 if seat.is_composite else self._retries
        async for attempt in stamina.retry_context(
            on=_pause_before_retry,
            attempts=retries + 1,
            timeout=None,
            wait_initial=WAIT_INITIAL_S,
            wait_max=WAIT_MAX_S,
            wait_jitter=WAIT_INITIAL_S,
        ):
            with attempt:
                sub_call = _SubCall(self, seat, messages, place, attempt.num - 1, params or {}, stream)
                if seat.is_composite:  # its own calls take their own places in its own limiter
                    return await sub_call.run()
                async with self._limiter:
                    return await sub_call.run()
        raise AssertionError("stamina always returns or raises")

    def check_budget(self) -> None:
        """Raise `BudgetExceeded` when this run, or one around it, has spent what it may."""
        if self._max_cost_usd is not None and self.spent_usd >= self._max_cost_usd:
            raise BudgetExceeded(
                f"the calls so far cost {self.spent_usd:.6f} USD and max_cost_usd is {self._max_cost_usd}: "
                "the next call was not sent"
            )
        if self._enclosing:
            self._enclosing.gateway.check_budget()

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
        return self._enclosing is not None and self._enclosing.gateway._capped()

    def _check(self, seat: Seat) -> None:
        if self._depth + nesting_depth(seat.model) > MAX_DEPTH:
            raise ConfigError(
                f"{seat.model!r} nests composites deeper than {MAX_DEPTH}: use a plain model further out"
            )
        provider = provider_of(seat.plain_model)
        stated = seat.input_cost_per_token is not None
        if self._capped() and not stated and not _has_price(seat.plain_model, provider):
            raise ConfigError(
                f"max_cost_usd needs to know what {seat.model!r} costs, and LiteLLM has no price for it: "
                "state input_cost_per_token and output_cost_per_token on its Seat"
            )


class _SubCall:
    """One attempt."""

    def __init__(
        self, gateway: Gateway, seat: Seat, messages: list[dict[str, Any]], place: Place, attempt: int,
        params: dict[str, Any], stream: bool,
    ) -> None:  # fmt: skip
        self.gateway = gateway
        self.seat = seat
        self.messages = messages
        self.place = place
        self.attempt = attempt
        self.params = params | seat.call_params(place.sample)
        self.stream = stream
        self.call_id = str(uuid.uuid4())
        self.first_token_s: float | None = None
        self.partial: list[str] = []

    async def run(self) -> Reply:
        gateway = self.gateway
        gateway.check_budget()
        self.started_at, self.start = datetime.now(UTC), time.perf_counter()
        try:
            async with asyncio.timeout(self.seat.timeout_s) as limit:
                response = await self._send()
        except asyncio.CancelledError:
            gateway.record(self._failed("cancelled", None))
            raise
        except TimeoutError as error:
            if not limit.expired():
                raise self._failure("timeout", error) from None
            late = CallTimeout(f"{self.seat} did not answer within timeout_s={self.seat.timeout_s}")
            raise self._failure("timeout", late) from None
        except Exception as error:
            status: Status = "timeout" if isinstance(error, litellm.Timeout) else "error"
            redact_error(error, gateway._secrets)
            raise self._failure(status, error) from None
        return self._succeed(response)

    async def _send(self) -> Any:
        with self._as_enclosing():
            if not self.stream:
                return await litellm.acompletion(**self._request())
            stream = await litellm.acompletion(
                **self._request(), stream=True, stream_options={"include_usage": True}
            )
            chunks = []
            try:
                async for chunk in stream:
                    self._tell(chunk)
                    chunks.append(chunk)
                if stream.received_finish_reason is None:
                    raise TruncatedStream(f"{self.seat} stopped in the middle of its answer")
            finally:
                await stream.aclose()
        return litellm.stream_chunk_builder(chunks, messages=self.messages)

    def _request(self) -> dict[str, Any]:
        seat, place = self.seat, self.place
        request = {
            **self.params,
            "model": seat.model,
            "messages": self.messages,
            "num_retries": 0,
            "max_retries": 0,
            "litellm_trace_id": self.gateway.trace_id,
            "metadata": {
                "composite_trace_id": self.gateway.trace_id,
                "composite_call_id": self.call_id,
                "composite_strategy": self.gateway.strategy,
                "composite_stage": place.stage,
                "composite_role": place.role,
                "composite_seat": place.seat,
            },
            **{name: value.get_secret_value() for name, value in seat.credentials.items()},
        }
        optional = {
            "api_base": seat.api_base,
            "api_version": seat.api_version,
            "api_key": seat.api_key.get_secret_value() if seat.api_key else None,
            "timeout": seat.timeout_s,
            "cache": self._cache_control(),
        }
        request |= {name: value for name, value in optional.items() if value is not None}
        if seat.extra_headers:
            stated = {name: value.get_secret_value() for name, value in seat.extra_headers.items()}
            request["extra_headers"] = {**(request.get("extra_headers") or {}), **stated}
        return request

    def _cache_control(self) -> dict[str, str] | None:
        # LiteLLM's cache key knows neither the endpoint nor that two like calls are two samples.
        if litellm.cache is None or (self.place.draw == 0 and self.seat.api_base is None):
            return None
        endpoint = hashlib.sha256((self.seat.api_base or "").encode()).hexdigest()[:12]
        outer = getattr(litellm.cache, "namespace", None)
        namespace = f"composite_lab:{endpoint}:{self.place.draw}"
        return {"namespace": f"{outer}:{namespace}" if outer else namespace}

    @contextmanager
    def _as_enclosing(self) -> Iterator[None]:
        if not self.seat.is_composite:
            yield
            return
        token = _enclosing.set(_Enclosing(self.gateway, self.call_id))
        try:
            yield
        finally:
            _enclosing.reset(token)

    def _tell(self, chunk: Any) -> None:
        for choice in chunk.choices:
            delta = choice.delta
            if self.first_token_s is None and (delta.content or delta.tool_calls):
                self.first_token_s = time.perf_counter() - self.start
            if reasoning := getattr(delta, "reasoning_content", None):
                self.gateway._emit(ReasoningDelta(reasoning))
            if delta.content:
                self.partial.append(delta.content)
                self.gateway._emit(TextDelta(delta.content, choice.index))
            for piece in delta.tool_calls or []:
                function = piece.function
                self.gateway._emit(
                    ToolCallDelta(
                        piece.index, piece.id, function.name, function.arguments or "", choice.index
                    )
                )

    def _succeed(self, response: Any) -> Reply:
        if self.seat.is_composite:
            money: dict[str, Any] = {"usage_source": "children"}
        else:
            usage = read_usage(response)
            cache_hit = bool(response._hidden_params.get("cache_hit"))
            money = usage | price(self.seat, usage, _litellm_cost(response, self.seat.model), cache_hit)
        call = Call(**self._facts("ok"), **read_answer(response), **money)
        self.gateway.record(call)
        return Reply(call, response)

    def _failure(self, status: Status, error: Exception) -> CallFailed:
        call = self._failed(status, error)
        self.gateway.record(call)
        return CallFailed(call, error)

    def _failed(self, status: Status, error: Exception | None) -> Call:
        return Call(
            **self._facts(status),
            error_type=type(error).__name__ if error else None,
            error_message=self.gateway.redacted(str(error)) if error else None,
            text=printable("".join(self.partial)) or None,
            usage_source="children" if self.seat.is_composite else "missing",
        )

    def _facts(self, status: Status) -> dict[str, Any]:
        place, gateway = self.place, self.gateway
        return {
            "trace_id": gateway.trace_id,
            "call_id": self.call_id,
            "strategy": gateway.strategy,
            "stage": place.stage,
            "role": place.role,
            "round": place.round,
            "seat": place.seat,
            "sample": place.sample,
            "attempt": self.attempt,
            "provider": provider_of(self.seat.model),
            "request_model": self.seat.model,
            "seat_name": self.seat.name,
            "status": status,
            "started_at": self.started_at,
            "start_offset_s": self.start - gateway._start,
            "latency_s": time.perf_counter() - self.start,
            "time_to_first_token_s": self.first_token_s,
            "messages": self.messages,
            "params": recordable(self.params),
        }


def provider_of(model: str) -> str:
    """LiteLLM's name for the provider behind a model string. Raises `ConfigError` if there is none."""
    if model.startswith(COMPOSITE_PREFIX):
        return COMPOSITE_PREFIX.rstrip("/")
    try:
        return str(litellm.get_llm_provider(model)[1])
    except litellm.BadRequestError:
        raise ConfigError(
            f"LiteLLM knows no provider for model {model!r}: write it as <provider>/<model>, "
            "for example openai/gpt-4o or ollama/llama3"
        ) from None


def check_final_params(params: Iterable[str], options: Iterable[str]) -> None:
    """Raise `ConfigError` for a name that is neither a strategy's option nor a parameter of a model call."""
    for name in params:
        if name not in FINAL_PARAMS:
            raise ConfigError(
                unknown_name(name, [*options, *FINAL_PARAMS])
                + ". A parameter of one provider goes into `params` of that Seat"
            )


def recordable(value: Any) -> Any:
    """A parameter as it is recorded: JSON as it is, anything else (a class, a function) by its name."""
    if isinstance(value, dict):
        return {str(name): recordable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [recordable(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return getattr(value, "__name__", type(value).__name__)


def _has_price(model: str, provider: str) -> bool:
    try:
        litellm.cost_per_token(
            model=model, custom_llm_provider=provider, prompt_tokens=1, completion_tokens=1
        )
    except Exception:
        return False
    return True


def _litellm_cost(response: Any, model: str) -> float | None:
    cost = response._hidden_params.get("response_cost")
    if cost is None:
        try:
            cost = litellm.completion_cost(completion_response=response, model=model)
        except Exception:  # LiteLLM raises a bare Exception for a model without a price
            return None
    return float(cost)


def _pause_before_retry(failure: Exception) -> bool | float:
    """Whether a failed call is worth another attempt: True, False, or the pause the server asked for (s)."""
    if not isinstance(failure, CallFailed) or isinstance(failure.cause, ConfigError):
        return False
    if failure.call.text:  # a streamed answer that was shown half cannot be taken back
        return False
    cause = failure.cause
    code = getattr(cause, "status_code", None)
    transient = (
        isinstance(cause, CompositeError | TimeoutError) or code in (408, 409, 429) or (code or 0) >= 500
    )
    if not transient:
        return False
    pause = _retry_after(cause)
    return True if pause is None else pause <= MAX_RETRY_AFTER_S and pause


def _retry_after(error: Exception) -> float | None:
    headers = getattr(error, "litellm_response_headers", None)
    if headers is None:
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
