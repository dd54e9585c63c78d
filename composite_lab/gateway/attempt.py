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

from composite_lab.errors import CallTimeout, CompositeError, EmptyAnswer
from composite_lab.gateway.assembly import Assembly
from composite_lab.gateway.memory import Remembered, Request
from composite_lab.gateway.mending import mend
from composite_lab.gateway.models import cost_of, provider_of, recordable
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
            if self.seat.timeout_s is not None:
                response = await self._send_in_time(self.seat.timeout_s)
            elif self.stream is not None or self.is_composite:
                response = await self._send()
            else:  # what most calls are, without a detour
                response = await litellm.acompletion(**self._request())
        except asyncio.CancelledError:
            gateway.record(self._failed("cancelled", None))
            raise
        except Exception as error:
            status: Status = "timeout" if isinstance(error, Timeout | TimeoutError) else "error"
            gateway.redact_error(error)
            raise self._failure(status, error) from None
        return self._succeed(response)

    async def _send_in_time(self, timeout_s: float) -> Any:
        try:
            async with asyncio.timeout(timeout_s) as limit:
                return await self._send()
        except TimeoutError:
            if not limit.expired():
                raise
            raise CallTimeout(f"{self.seat} did not answer within timeout_s={timeout_s}") from None

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
        facts = self._facts("ok")
        hidden = response._hidden_params
        began_in_thoughts = (
            self.assembly.began_in_thoughts if self.assembly else mend(response, self.messages)
        )
        facts |= read_answer(response, hidden)
        if self.is_composite:
            facts["usage_source"] = "children"
        else:
            if facts["text"] or began_in_thoughts:
                learn(self.seat.model, self.seat.api_base, plainly=not began_in_thoughts)
            usage = read_usage(response)
            if self.tap and not self.tap.reasoning_tokens_were_told:
                usage |= {"reasoning_tokens": None} if "reasoning_tokens" in usage else {}
            facts |= usage
            litellm_cost = cost_of(response, hidden, self.seat.model, self.params)
            facts |= price(self.seat, usage, litellm_cost, facts["cache_hit"])
        notes = self._notes(facts)
        return self._reply(facts, response, notes)

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

    def _reply(self, facts: dict[str, Any], response: Any, notes: tuple[str, ...] = ()) -> Reply:
        """The Reply, recorded; one that holds nothing to go on with is recorded as failed."""
        empty = emptiness(facts, may_call_tools=bool(self.params.get("tools")))
        if empty is not None:
            message = f"{self.seat} answered without any text: {empty}"
            facts |= {"status": "error", "error_type": EmptyAnswer.__name__, "error_message": message}
        call = Call.model_validate(facts)
        self.gateway.record(call)
        return Reply(call, response, notes if empty is None else ())

    def remembered(self, earlier: Remembered) -> Reply:
        """The Reply that an earlier answer to the same request gives, without asking anybody."""
        self.started_at, self.start = datetime.now(UTC), time.perf_counter()
        facts = self._facts("ok") | earlier.as_fields()
        return self._reply(facts, litellm.ModelResponse(**earlier.response))

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

    def _failed(self, status: Status, error: Exception | None) -> Call:
        return Call(
            **self._facts(status),
            error_type=type(error).__name__ if error else None,
            error_message=self.gateway.redacted(str(error)) if error else None,
            text=printable(self.assembly.partial_text) or None if self.assembly else None,
            usage_source="children" if self.is_composite else "missing",
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
            "params": recordable(self.params) if self.params else {},
        }
