"""One attempt at one sub-call: sent through LiteLLM, timed, read, priced and recorded."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import litellm
from litellm.exceptions import Timeout

from composite_lab.errors import CallTimeout, CompositeError, EmptyAnswer, ReplyTooLarge, UnreadableReply
from composite_lab.gateway.assembly import Assembly
from composite_lab.gateway.memory import Remembered, Request
from composite_lab.gateway.mending import mend
from composite_lab.gateway.models import cost_of, provider_of, recorded_params
from composite_lab.gateway.place import ENCLOSING, CallFailed, Enclosing
from composite_lab.gateway.plainness import learn, speaks_plainly
from composite_lab.gateway.tap import Tap
from composite_lab.redaction import printable
from composite_lab.replies import Reply, emptiness, price, read_answer, read_usage
from composite_lab.seats import reveal
from composite_lab.trace.call import Call, Status
from composite_lab.trace.events import Event, Observer

if TYPE_CHECKING:
    from composite_lab.gateway.gateway import Gateway


ODD = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading a reply raises that keeps to no form. LiteLLM's own errors are none of these."""


class Attempt:
    """One attempt. Its `run` returns the Reply or raises `CallFailed`; either way there is a Call."""

    first_token_s: float | None = None
    shown: bool = False
    assembly: Assembly | None = None
    tap: Tap | None = None

    def __init__(
        self, gateway: Gateway, call_id: str, request: Request, number: int, stream: Observer | None
    ) -> None:
        self.gateway = gateway
        self.call_id = call_id
        self.seat, self.messages, self.params, self.place = request
        self.number = number
        self.stream = stream
        self.is_composite = self.seat.is_composite

    async def run(self) -> Reply:
        gateway = self.gateway
        gateway.check_budget()
        self.started_at, self.start = datetime.now(UTC), time.perf_counter()
        try:
            response = await self._send_in_time()
        except asyncio.CancelledError:
            gateway.record(self._failed("cancelled", None))
            raise
        except Exception as error:
            status: Status = "timeout" if isinstance(error, Timeout | TimeoutError) else "error"
            gateway.redact_error(error)
            raise self._failure(status, self._readable(error)) from None
        return self._succeed(response)

    async def _send_in_time(self) -> Any:
        """The response within the time that the seat has or, if it has none, every plain call has."""
        own, common = self.seat.timeout_s, self.gateway.call_timeout_s
        seconds = own or (None if self.is_composite else common)
        try:
            async with asyncio.timeout(seconds) as limit:
                return await self._send()
        except TimeoutError:
            if not limit.expired():
                raise
            which = "timeout_s" if own else "call_timeout_s"
            raise CallTimeout(f"{self.seat} did not answer within {which}={seconds}") from None

    async def _send(self) -> Any:
        with self._as_enclosing():
            if self.stream is None:
                return await litellm.acompletion(**self._request())
            return await self._listen(self.stream)

    async def _listen(self, observer: Observer) -> Any:
        """The whole reply out of a stream, its pieces told as they come."""
        plainly = self.is_composite or speaks_plainly(self.seat.model, self.seat.api_base)
        self.assembly = assembly = Assembly(self.messages, plainly=plainly)
        stream = await litellm.acompletion(
            **self._request(), stream=True, stream_options={"include_usage": True}
        )
        self.tap = tap = Tap.into(stream)
        try:
            async for chunk in stream:
                self._note_first_token(chunk)
                self._tell(assembly.take(chunk, with_details=tap is None), observer)
                self._check_size(assembly.chars)
                self._tell_details(assembly, observer)
                # LiteLLM does not pause between chunks that arrived together, and who listens has to.
                await asyncio.sleep(0)
        finally:
            await stream.aclose()
        self._tell_details(assembly, observer)
        self._tell(assembly.end(tap.finish_reasons if tap else None), observer)
        response = assembly.response(usage_was_told=tap is None or tap.usage_was_told)
        if stream.custom_llm_provider == "cached_response":  # what LiteLLM calls its own cache
            response._hidden_params["cache_hit"] = True
        return response

    def _check_size(self, chars: int) -> None:
        most = self.gateway.max_reply_chars
        if most is not None and chars > most:
            raise ReplyTooLarge(f"{self.seat} answered with more than max_reply_chars={most} characters")

    def _note_first_token(self, chunk: Any) -> None:
        if self.first_token_s is None and any(
            choice.delta.content or choice.delta.tool_calls for choice in chunk.choices
        ):
            self.first_token_s = time.perf_counter() - self.start

    def _tell(self, events: list[Event], observer: Observer) -> None:
        for event in events:
            self.shown = True
            observer(event)

    def _tell_details(self, assembly: Assembly, observer: Observer) -> None:
        for choice, fields in self.tap.details() if self.tap else ():
            self._tell(assembly.add_details(choice, fields), observer)

    def _request(self) -> dict[str, Any]:
        seat, place, gateway = self.seat, self.place, self.gateway
        request = {
            **self.params,
            "model": seat.model,
            "messages": self.messages,
            "num_retries": 0,
            "max_retries": 0,
            "litellm_call_id": self.call_id,
            "litellm_trace_id": gateway.trace_id,
            "metadata": {
                **gateway.metadata,
                "composite_trace_id": gateway.trace_id,
                "composite_call_id": self.call_id,
                "composite_strategy": gateway.strategy,
                "composite_stage": place.stage,
                "composite_role": place.role,
                "composite_seat": place.seat,
            },
        }
        for name, secret in seat.credentials.items():
            request[name] = reveal(secret)
        if seat.api_base is not None:
            request["api_base"] = seat.api_base
        if seat.api_version is not None:
            request["api_version"] = seat.api_version
        if seat.api_key is not None and (key := reveal(seat.api_key)):
            request["api_key"] = key
        if seat.timeout_s is not None:
            request["timeout"] = seat.timeout_s
        if (cache := self._cache_control()) is not None:
            request["cache"] = cache
        if seat.extra_headers:
            stated = {name: reveal(value) for name, value in seat.extra_headers.items()}
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
        if not self.is_composite:
            yield
            return
        token = ENCLOSING.set(Enclosing(self.gateway, self.call_id))
        try:
            yield
        finally:
            ENCLOSING.reset(token)

    def _succeed(self, response: Any) -> Reply:
        try:
            facts, notes = self._read(response)
            call = self._call_of(facts)
        except Exception as error:  # a form of reply that nobody thought of takes no other call with it
            fault = self._readable(error)
            call = self._failed("error", fault, self._paid(response))
            self.gateway.record(call)
            raise CallFailed(call, fault, shown=self.shown) from None
        self.gateway.record(call)
        return Reply(call, response, notes if call.status == "ok" else ())

    def _readable(self, error: Exception) -> Exception:
        """The error of a call. One of Python's own means that a reply, or a chunk of it, was odd."""
        if isinstance(error, CompositeError) or not isinstance(error, ODD):
            return error
        said = f"{self.seat} sent a reply that cannot be read: {type(error).__name__}: {error}"
        return UnreadableReply(self.gateway.redacted(said))

    def _read(self, response: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The fields of the Call, and what is to be told of the answer."""
        facts = self._facts("ok")
        began_in_thoughts = (
            self.assembly.began_in_thoughts if self.assembly else mend(response, self.messages)
        )
        facts |= read_answer(response, response._hidden_params)
        self._check_size(
            sum(map(len, (facts["text"] or "", facts["reasoning"] or "", str(facts["tool_calls"]))))
        )
        if self.is_composite:
            facts["usage_source"] = "children"
        else:
            if facts["text"] or began_in_thoughts:
                learn(self.seat.model, self.seat.api_base, plainly=not began_in_thoughts)
            facts |= self._paid(response)
        return facts, self._notes(facts)

    def _paid(self, response: Any) -> dict[str, Any]:
        """The Call fields that hold tokens and cost, as far as the reply tells them."""
        hidden = response._hidden_params
        usage = read_usage(response)
        if self.tap and not self.tap.reasoning_tokens_were_told and "reasoning_tokens" in usage:
            usage["reasoning_tokens"] = None
        litellm_cost = cost_of(response, hidden, self.seat.model, self.params)
        return usage | price(self.seat, usage, litellm_cost, bool(hidden.get("cache_hit")))

    def _notes(self, facts: dict[str, Any]) -> tuple[str, ...]:
        """What a streamed answer should not have been; sets what nobody told to None."""
        assembly = self.assembly
        if assembly is None:
            return ()
        notes = []
        if assembly.finish_reason is None:
            facts["finish_reason"] = None
            if self.tap and not self.tap.usage_was_told:
                notes.append(
                    f"the stream of {self.seat} ended without saying why, so its answer may be cut short"
                )
        if assembly.showed_thoughts:
            notes.append(f"thoughts of {self.seat} were shown as text before their end was marked")
        return tuple(notes)

    def _call_of(self, facts: dict[str, Any]) -> Call:
        """The Call of an answer; one that holds nothing to go on with has failed."""
        empty = emptiness(facts, may_call_tools=bool(self.params.get("tools")))
        if empty is not None:
            message = f"{self.seat} answered without any text: {empty}"
            facts |= {"status": "error", "error_type": EmptyAnswer.__name__, "error_message": message}
        return Call.model_validate(facts)

    def remembered(self, earlier: Remembered) -> Reply:
        """The Reply that an earlier answer to the same request gives, without asking anybody."""
        self.started_at, self.start = datetime.now(UTC), time.perf_counter()
        call = self._call_of(self._facts("ok") | earlier.as_fields())
        self.gateway.record(call)
        return Reply(call, litellm.ModelResponse(**earlier.response))

    def failed_as(self, earlier: Call, remembered: Remembered) -> NoReturn:
        """Raise the failure that an earlier run recorded, without asking anybody."""
        self.started_at, self.start = datetime.now(UTC), time.perf_counter()
        failure = {"error_type": earlier.error_type, "error_message": earlier.error_message}
        call = Call(**self._facts(earlier.status), **(remembered.as_fields() | failure))
        self.gateway.record(call)
        raise CallFailed(call, CompositeError(f"in the replayed run: {earlier.error_type}"))

    def _failure(self, status: Status, error: Exception) -> CallFailed:
        call = self._failed(status, error)
        self.gateway.record(call)
        return CallFailed(call, error, shown=self.shown)

    def _failed(self, status: Status, error: Exception | None, paid: dict[str, Any] | None = None) -> Call:
        unpaid = {"usage_source": "children" if self.is_composite else "missing"}
        return Call(
            **self._facts(status),
            error_type=type(error).__name__ if error else None,
            error_message=self.gateway.redacted(str(error)) if error else None,
            text=printable(self.assembly.partial_text) or None if self.assembly else None,
            **(paid or unpaid),
        )

    def _facts(self, status: Status) -> dict[str, Any]:
        seat, place, gateway = self.seat, self.place, self.gateway
        return {
            "trace_id": gateway.trace_id,
            "call_id": self.call_id,
            "strategy": gateway.strategy,
            "stage": place.stage,
            "role": place.role,
            "round": place.round,
            "seat": place.seat,
            "sample": place.sample,
            "attempt": self.number,
            "provider": provider_of(seat.model),
            "request_model": seat.model,
            "seat_name": seat.name,
            "status": status,
            "started_at": self.started_at,
            "start_offset_s": self.start - gateway._start,
            "latency_s": time.perf_counter() - self.start,
            "time_to_first_token_s": self.first_token_s,
            "messages": self.messages,
            "params": recorded_params(self.params) if self.params else {},
        }
