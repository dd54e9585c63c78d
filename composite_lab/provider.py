"""composite_lab as a LiteLLM provider: `litellm.completion(model="composite/moa/<model>")`.

Four hooks, one implementation: the asynchronous ones run a strategy, the synchronous ones run these.
Errors become LiteLLM's here and nowhere else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from typing import Any

import litellm
import openai
from litellm.llms.custom_llm import CustomLLM
from litellm.types.utils import (
    CompletionTokensDetailsWrapper,
    Delta,
    ModelResponse,
    ModelResponseStream,
    PromptTokensDetailsWrapper,
    StreamingChoices,
    Usage,
)

from composite_lab.errors import BudgetExceeded, CompositeError, ConfigError, QuorumError
from composite_lab.loop import iterate_sync, run_sync
from composite_lab.seats import COMPOSITE_PREFIX, unknown_name
from composite_lab.strategies.base import Strategy, reasoning_heading
from composite_lab.strategies.council import Council
from composite_lab.strategies.moa import MoA
from composite_lab.trace.events import (
    Event,
    Finished,
    ReasoningDelta,
    StageFinished,
    TextDelta,
    ToolCallDelta,
)
from composite_lab.trace.model import Result, Trace

PROVIDER = COMPOSITE_PREFIX.rstrip("/")
STRATEGIES: dict[str, type[Strategy]] = {MoA.kind: MoA, Council.kind: Council}
FORMS = "composite/moa/<model> or composite/council/<model>"
OLDER_SPELLINGS = {"council_models": "members", "review_models": "reviewers", "chairman_model": "chairman"}
NESTED = ("optional_params", "extra_body")
NOT_FOR_SUB_CALLS = {"stream", "stream_options", "max_retries"}
TRACE_ATTRIBUTE = "composite_trace"


class CompositeLLM(CustomLLM):
    """LiteLLM's four hooks. It calls them with keywords only, so they take them as a mapping."""

    def completion(self, *_: Any, **request: Any) -> ModelResponse:
        """Answer `litellm.completion`."""
        return run_sync(self._complete(request))

    async def acompletion(self, *_: Any, **request: Any) -> ModelResponse:
        """Answer `litellm.acompletion`."""
        return await self._complete(request)

    def streaming(self, *_: Any, **request: Any) -> Iterator[ModelResponseStream]:  # type: ignore[override]
        """Answer `litellm.completion(stream=True)`."""
        return iterate_sync(self._stream(request))

    def astreaming(self, *_: Any, **request: Any) -> AsyncIterator[ModelResponseStream]:  # type: ignore[override]
        """Answer `litellm.acompletion(stream=True)`."""
        return self._stream(request)

    async def _complete(self, request: dict[str, Any]) -> ModelResponse:
        try:
            strategy, params = read_request(request)
            result = await strategy.arun(request["messages"], **params)
        except Exception as error:
            raise to_litellm(error, request["model"]) from error.__cause__
        return _fill(request["model_response"], result)

    async def _stream(self, request: dict[str, Any]) -> AsyncGenerator[ModelResponseStream, None]:
        try:
            strategy, params = read_request(request)
            chunks = _Chunks(strategy, request)
            events = strategy.astream(request["messages"], **params)
            try:
                async for event in events:
                    for chunk in chunks.of(event):
                        yield chunk
            finally:
                await events.aclose()
        except Exception as error:
            raise to_litellm(error, request["model"]) from error.__cause__


handler = CompositeLLM()


def register() -> None:
    """Make LiteLLM know `composite/…` models. Safe to call again; other custom providers stay."""
    others = [item for item in litellm.custom_provider_map if item["provider"] != PROVIDER]
    litellm.custom_provider_map = [*others, {"provider": PROVIDER, "custom_handler": handler}]
    litellm.utils.custom_llm_setup()


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


def strategy_from_model(model: str, options: Mapping[str, Any]) -> Strategy:
    """The strategy that a model string (with or without `composite/`) and options describe.

    Raises `ConfigError`.
    """
    kind, _, inner = model.removeprefix(COMPOSITE_PREFIX).partition("/")
    if kind not in STRATEGIES:
        raise ConfigError(f"{unknown_name(kind, STRATEGIES, 'strategy')} in {model!r}: use {FORMS}")
    if not inner.strip("/"):
        raise ConfigError(
            f"there is no model in {model!r}: use {FORMS}, for example composite/{kind}/openai/gpt-4o"
        )
    chosen = STRATEGIES[kind]
    final: Any = {chosen.final_role: inner}
    return chosen(**(final | dict(options)))


def read_request(request: Mapping[str, Any]) -> tuple[Strategy, dict[str, Any]]:
    """What LiteLLM hands to a hook, as a strategy and the parameters of its final call."""
    given: dict[str, Any] = dict(request.get("optional_params") or {})
    for name in NESTED:
        nested = given.pop(name, None) or {}
        if not isinstance(nested, dict):
            raise ConfigError(f"{name} must be a dict of options, not {nested!r}")
        given |= nested
    given = {name: value for name, value in given.items() if name not in NOT_FOR_SUB_CALLS}
    kind = request["model"].removeprefix(COMPOSITE_PREFIX).partition("/")[0]
    known = STRATEGIES[kind].model_fields if kind in STRATEGIES else {}
    options: dict[str, Any] = {}
    params: dict[str, Any] = {}
    for spelling, value in given.items():
        name = OLDER_SPELLINGS.get(spelling, spelling)
        target = options if name in known else params
        if name in target:
            raise ConfigError(f"{name} is given twice, also as {spelling}: keep one")
        target[name] = value
    return strategy_from_model(request["model"], options), params | _outer_params(request)


def _outer_params(request: Mapping[str, Any]) -> dict[str, Any]:
    """What belongs to the final call but reaches a hook outside of `optional_params`."""
    logged = getattr(request.get("logging_obj"), "model_call_details", None) or {}
    litellm_params = request.get("litellm_params") or {}
    outer = {
        "api_key": request.get("api_key"),
        "api_base": request.get("api_base"),
        "extra_headers": request.get("headers") or None,
        "user": logged.get("user"),
        "drop_params": litellm_params.get("drop_params"),
    }
    return {name: value for name, value in outer.items() if value is not None}


# --- answering


def totals(trace: Trace) -> dict[str, Any]:
    """A run in numbers, as JSON that survives caches and the proxy."""
    summary = trace.summary()
    return {
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
        usage.cost = trace.cost_usd  # type: ignore[attr-defined]  # where LiteLLM's callbacks look
    return usage


def _fill(response: ModelResponse, result: Result) -> ModelResponse:
    trace = result.trace
    if result.response is not None:
        response.choices = result.response.choices
    else:
        response.choices[0].message.content = result.text  # type: ignore[union-attr]
        response.choices[0].finish_reason = "stop"
    message = response.choices[0].message  # type: ignore[union-attr]
    message.reasoning_content = trace.reasoning
    own_fields = getattr(message, "provider_specific_fields", None) or {}
    message.provider_specific_fields = {**own_fields, "composite": totals(trace)}
    response.model = trace.model
    response.usage = usage_of(trace)  # type: ignore[attr-defined]
    response._hidden_params["response_cost"] = trace.cost_usd
    response._hidden_params[TRACE_ATTRIBUTE] = trace
    return response


class _Chunks:
    """The events of one run as the chunks that LiteLLM expects, in the order that it needs."""

    def __init__(self, strategy: Strategy, request: Mapping[str, Any]) -> None:
        self.strategy = strategy
        self.logging_obj = request.get("logging_obj")
        self.model = f"{COMPOSITE_PREFIX}{request['model']}"
        self.reasoned = False

    def of(self, event: Event) -> Iterator[ModelResponseStream]:
        """The chunks of one event; most have none or one."""
        match event:
            case StageFinished(summary=summary):
                yield self._chunk(reasoning_content=summary)
            case ReasoningDelta(text=text):
                heading = "" if self.reasoned else reasoning_heading(self.strategy)
                self.reasoned = True
                yield self._chunk(reasoning_content=heading + text)
            case TextDelta(text=text, choice=choice):
                yield self._chunk(choice, content=text)
            case ToolCallDelta():
                function = {"name": event.name, "arguments": event.arguments}
                call = {"index": event.index, "id": event.id, "type": "function", "function": function}
                yield self._chunk(event.choice, tool_calls=[call])
            case Finished(result=result):
                yield from self._last(result)

    def _last(self, result: Result) -> Iterator[ModelResponseStream]:
        # Usage before the bare finish chunk: after it, LiteLLM puts an estimate of its own in its place.
        trace = result.trace
        if self.logging_obj is not None:
            setattr(self.logging_obj, TRACE_ATTRIBUTE, trace)
        if result.response is None:  # the answer was not streamed by a model but stood in for one
            yield self._chunk(content=result.text)
        last = self._chunk(provider_specific_fields={"composite": totals(trace)})
        last.usage = usage_of(trace)  # type: ignore[attr-defined]
        yield last
        choices = result.response.choices if result.response is not None else []
        for index, choice in enumerate(choices or [None]):
            yield self._chunk(index, finish_reason=choice.finish_reason if choice else "stop")

    def _chunk(self, choice: int = 0, finish_reason: str | None = None, **delta: Any) -> ModelResponseStream:
        content = StreamingChoices(
            index=choice, delta=Delta(role="assistant", **delta), finish_reason=finish_reason
        )
        return ModelResponseStream(model=self.model, choices=[content])


# --- errors


def to_litellm(error: Exception, model: str) -> Exception:
    """The LiteLLM exception for any error of a run, with the `trace` still on it."""
    mapped = _mapped(error, f"{COMPOSITE_PREFIX}{model}")
    trace = getattr(error, "trace", None)
    if trace is not None:
        mapped.trace = trace  # type: ignore[attr-defined]
    return mapped


def _mapped(error: Exception, model: str) -> Exception:
    whose = {"model": model, "llm_provider": PROVIDER}
    if isinstance(error, openai.APIError):  # LiteLLM's own are all of this family
        return error
    if isinstance(error, ConfigError | BudgetExceeded):
        return litellm.BadRequestError(message=str(error), **whose)
    if isinstance(error, QuorumError):
        kinds = {type(cause) for cause in error.causes}
        first = error.causes[0] if error.causes else None
        if len(kinds) == 1 and isinstance(first, openai.APIError):
            first.message = str(error)  # all failed alike, a wrong key for example: say so with that class
            return first
        return litellm.APIError(status_code=502, message=str(error), **whose)
    if isinstance(error, TimeoutError):
        return litellm.Timeout(message=str(error), **whose)
    if isinstance(error, CompositeError):
        return litellm.APIError(status_code=502, message=str(error), **whose)
    return litellm.InternalServerError(message=f"{type(error).__name__}: {error}", **whose)
