"""Writing an answer: a run as LiteLLM's response, whole or in chunks, with the trace on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from litellm.types.utils import (
    CompletionTokensDetailsWrapper,
    Delta,
    ModelResponse,
    ModelResponseStream,
    PromptTokensDetailsWrapper,
    StreamingChoices,
    Usage,
)

from composite_lab.errors import ConfigError
from composite_lab.provider.request import Order
from composite_lab.seats import COMPOSITE_PREFIX
from composite_lab.trace.events import (
    DetailsDelta,
    Event,
    Finished,
    ReasoningDelta,
    Section,
    StageFinished,
    TextDelta,
    ToolCallDelta,
)
from composite_lab.trace.model import Result, Trace

TRACE_ATTRIBUTE = "composite_trace"
ENDPOINT_FIELDS = ("api_base", "api_version", "credentials", "extra_headers")


def trace_of(answer: Any) -> Trace:
    """The Trace behind a Result, a LiteLLM response or stream, or an error.

    A stream has its trace once it is read to the end. Raises `ConfigError` when the object has none: a
    response that came from a cache or over a network carries only the totals, in
    `message.provider_specific_fields["composite"]`.
    """
    places = (
        lambda: answer.trace,
        lambda: answer._hidden_params[TRACE_ATTRIBUTE],
        lambda: getattr(answer.logging_obj, TRACE_ATTRIBUTE),
        lambda: trace_of(answer.original_exception),
    )
    if isinstance(answer, Trace):
        return answer
    for look in places:
        try:
            trace = look()
        except (AttributeError, KeyError, TypeError):
            continue
        if isinstance(trace, Trace):
            return trace
    raise ConfigError(
        f"{type(answer).__name__} carries no trace: give the Result, response, stream (read to its end) or "
        "error of a composite that ran in this process"
    )


def told(trace: Trace, order: Order) -> dict[str, Any]:
    """What `provider_specific_fields["composite"]` says: JSON that survives caches and the proxy.

    The run in numbers and, if it was ordered, all of it: `Trace.model_validate(told["trace"])`.
    """
    summary = trace.summary()
    numbers = {
        "trace_id": trace.trace_id,
        "strategy": trace.strategy,
        "status": trace.status,
        "calls": summary.calls,
        "failures": summary.failures,
        "cost_usd": summary.cost_usd,
        "unpriced_calls": summary.unpriced_calls,
        "latency_s": round(trace.latency_s, 6),
        "notes": trace.notes,
    }
    if trace.verdict is not None:
        numbers["verdict"] = trace.verdict.model_dump(include={"choice", "confidence", "status"})
    if not order.full_trace:
        return numbers
    full = trace.model_dump(mode="json")
    if order.is_remote:  # where the owner's servers are is nothing for a client
        full["config"] = _without_endpoints(full["config"])
    return numbers | {"trace": full}


def _without_endpoints(config: Any) -> Any:
    if isinstance(config, dict):
        return {
            name: _without_endpoints(value) for name, value in config.items() if name not in ENDPOINT_FIELDS
        }
    return [_without_endpoints(value) for value in config] if isinstance(config, list) else config


def usage_of(trace: Trace) -> Usage:
    """The tokens and the cost of a whole run in LiteLLM's form."""
    total = trace.usage
    usage = Usage(
        prompt_tokens=total.prompt_tokens,
        completion_tokens=total.completion_tokens,
        total_tokens=total.total_tokens,
        prompt_tokens_details=PromptTokensDetailsWrapper(cached_tokens=total.cached_tokens),
        completion_tokens_details=CompletionTokensDetailsWrapper(reasoning_tokens=total.reasoning_tokens),
    )
    if trace.cost_usd is not None:
        usage.cost = trace.cost_usd  # where LiteLLM's callbacks look
    return usage


def fill(request: Mapping[str, Any], result: Result, order: Order) -> ModelResponse:
    """LiteLLM's response object with the answer, the totals and the trace of a run."""
    response: ModelResponse = request["model_response"]
    trace = result.trace
    if result.response is not None:
        response.choices = result.response.choices
        for name, value in _further_fields(result.response).items():
            setattr(response, name, value)
    else:
        response.choices[0].message.content = result.text
        response.choices[0].finish_reason = "stop"
    message = response.choices[0].message if response.choices else None
    if message is not None:
        if trace.reasoning:
            message.reasoning_content = trace.reasoning
        own_fields = getattr(message, "provider_specific_fields", None) or {}
        message.provider_specific_fields = {**own_fields, "composite": told(trace, order)}
    response.model = f"{COMPOSITE_PREFIX}{request['model']}"
    response.usage = usage_of(trace)  # type: ignore[attr-defined]
    response._hidden_params["response_cost"] = trace.cost_usd
    response._hidden_params[TRACE_ATTRIBUTE] = trace
    _mark_total(request.get("logging_obj"), trace)
    return response


def _further_fields(response: Any) -> dict[str, Any]:
    """What the final model's response says besides its choices: service tier, citations and the like."""
    found = {"system_fingerprint": response.system_fingerprint, **(response.model_extra or {})}
    return {name: value for name, value in found.items() if value is not None and name != "usage"}


def _mark_total(logging_obj: Any, trace: Trace) -> None:
    """Tell LiteLLM's callbacks that this event holds the sum of events that they get as well."""
    details = getattr(logging_obj, "model_call_details", None) or {}
    params = details.get("litellm_params")
    if isinstance(params, dict):
        mark = {
            "composite_role": "total",
            "composite_strategy": trace.strategy,
            "composite_trace_id": trace.trace_id,
        }
        params["metadata"] = {**(params.get("metadata") or {}), **mark}


class Chunks:
    """The events of one run as the chunks that LiteLLM expects, in the order that it needs."""

    def __init__(self, order: Order, request: Mapping[str, Any]) -> None:
        self.order = order
        self.logging_obj = request.get("logging_obj")
        self.model = f"{COMPOSITE_PREFIX}{request['model']}"
        self.begun = False

    def of(self, event: Event) -> Iterator[ModelResponseStream]:
        """The chunks of one event; most have none or one."""
        match event:
            case StageFinished(summary=text) | Section(text=text):
                if text:
                    yield self._chunk(reasoning_content=text)
            case ReasoningDelta(text=text, choice=choice):
                yield self._chunk(choice, reasoning_content=text)
            case TextDelta(text=text, choice=choice):
                yield self._chunk(choice, content=text)
            case ToolCallDelta(choice=choice):
                yield self._chunk(choice, tool_calls=[_tool_call(event)])
            case DetailsDelta(fields=fields, choice=choice):
                yield self._chunk(choice, **fields)
            case Finished(result=result):
                yield from self._last(result)

    def _last(self, result: Result) -> Iterator[ModelResponseStream]:
        # Usage before the bare finish chunk: after it, LiteLLM puts an estimate of its own in its place.
        trace = result.trace
        if self.logging_obj is not None:
            setattr(self.logging_obj, TRACE_ATTRIBUTE, trace)
            _mark_total(self.logging_obj, trace)
        last = self._chunk(provider_specific_fields={"composite": told(trace, self.order)})
        last.usage = usage_of(trace)
        if result.response is not None:
            for name, value in _further_fields(result.response).items():
                setattr(last, name, value)
        yield last
        choices = result.response.choices if result.response is not None else []
        for index, choice in enumerate(choices or [None]):
            yield self._chunk(index, finish_reason=choice.finish_reason if choice else "stop")

    def _chunk(
        self, choice: int = 0, finish_reason: str | None = None, logprobs: Any = None, **delta: Any
    ) -> ModelResponseStream:
        role = None if self.begun else "assistant"
        self.begun = True
        content = StreamingChoices(
            index=choice, delta=Delta(role=role, **delta), finish_reason=finish_reason, logprobs=logprobs
        )
        return ModelResponseStream(model=self.model, choices=[content])


def _tool_call(event: ToolCallDelta) -> dict[str, Any]:
    what = {"name": event.name, "input" if event.type == "custom" else "arguments": event.arguments}
    call = {**event.fields, "index": event.index, "id": event.id, "type": event.type, event.type: what}
    if event.type == "custom" and event.name is None:
        del what["name"]
    return call
