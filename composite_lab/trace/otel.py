"""A finished trace as OpenTelemetry spans, named by the GenAI semantic conventions v1.41.0.

That is their last release inside OpenTelemetry's own conventions; `gen_ai.*` is still in development.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from composite_lab.errors import ConfigError
from composite_lab.redaction import printable
from composite_lab.trace.call import Call, function_of
from composite_lab.trace.model import FINAL_STAGES, Trace, by_parent

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanKind, Tracer

SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COMPOSITE = "composite"
PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "azure_text": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "cohere_chat": "cohere",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "text-completion-openai": "openai",
    "vertex_ai": "gcp.vertex_ai",
    "vertex_ai_beta": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "watsonx_text": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""LiteLLM's name of a provider and the conventions' own, where the two differ."""
OWN_ATTRIBUTES = (
    "trace_id", "call_id", "strategy", "stage", "role", "round", "seat", "seat_name", "sample", "attempt",
    "status", "cost_usd", "cost_source", "usage_source", "cache_hit", "time_to_first_token_s",
)  # fmt: skip
"""The attributes of a Call that become `composite_lab.*`."""

Attributes = dict[str, Any]


def export_trace(trace: Trace, *, tracer: Tracer | None = None, capture_content: bool = False) -> None:
    """The run as spans of the tracer, by default one named `composite_lab` of the global TracerProvider.

    Names and attributes follow the OpenTelemetry GenAI semantic conventions v1.41.0. The run is an
    INTERNAL `invoke_agent` span, a child of the current span if there is one. Below it each Call is a
    span: `chat`, of kind CLIENT, or INTERNAL for a composite, whose calls are its children;
    `execute_tool` for a tool. Tokens and costs stand on the calls only, so that sums are right. Prompts,
    answers, tool arguments and error messages are exported only with `capture_content`; values that are
    not known are left out. Raises `ConfigError` when opentelemetry is not installed.
    """
    try:
        from opentelemetry.trace import get_tracer
    except ImportError:
        raise ConfigError(
            "export_trace needs OpenTelemetry, which is not installed: pip install 'composite-lab[otel]'"
        ) from None
    if tracer is None:
        tracer = get_tracer("composite_lab", version("composite-lab"), schema_url=SCHEMA_URL)
    _Export(tracer, trace, capture_content).run()


class _Export:
    """One export under way."""

    def __init__(self, tracer: Tracer, trace: Trace, capture_content: bool) -> None:
        self.tracer = tracer
        self.trace = trace
        self.capture_content = capture_content
        self.below = by_parent(trace.calls)

    def run(self) -> None:
        from opentelemetry.trace import SpanKind

        attributes = _run_attributes(self.trace)
        if self.capture_content:
            attributes |= _run_content(self.trace)
        root = self.start(self.trace, SpanKind.INTERNAL, self.trace.model, attributes)
        self.calls(None, root)
        self.end(self.trace, root)

    def calls(self, parent_call_id: str | None, parent: Span) -> None:
        from opentelemetry.trace import SpanKind

        for call in self.below.get(parent_call_id, []):
            is_tool = call.stage == "tool"
            attributes = _tool_attributes(call) if is_tool else _chat_attributes(call)
            attributes |= {f"composite_lab.{name}": getattr(call, name) for name in OWN_ATTRIBUTES}
            if self.capture_content:
                attributes |= _tool_content(call) if is_tool else _chat_content(call)
            # A composite runs in this process: only its calls leave it.
            is_local = is_tool or call.provider == COMPOSITE
            kind = SpanKind.INTERNAL if is_local else SpanKind.CLIENT
            span = self.start(call, kind, call.request_model, attributes, parent)
            self.calls(call.call_id, span)
            self.end(call, span)

    def start(
        self,
        record: Call | Trace,
        kind: SpanKind,
        name: str,
        attributes: Attributes,
        parent: Span | None = None,
    ) -> Span:
        from opentelemetry.trace import set_span_in_context

        return self.tracer.start_span(
            f"{attributes['gen_ai.operation.name']} {name}",
            context=None if parent is None else set_span_in_context(parent),
            kind=kind,
            attributes={key: value for key, value in attributes.items() if value is not None},
            start_time=_nanoseconds(record.started_at),
        )

    def end(self, record: Call | Trace, span: Span) -> None:
        from opentelemetry.trace import StatusCode

        if record.status not in ("ok", "degraded"):
            cancelled = record.status == "cancelled"
            span.set_attribute("error.type", "cancelled" if cancelled else record.error_type or "_OTHER")
            # Providers and tools quote what they were sent in their error messages.
            span.set_status(StatusCode.ERROR, record.error_message if self.capture_content else None)
        span.end(_nanoseconds(record.started_at) + round(record.latency_s * 1_000_000_000))


def _nanoseconds(moment: datetime) -> int:
    # In integers: a float of the seconds since 1970 is exact to some 100 ns only.
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // timedelta(microseconds=1) * 1_000


def _run_attributes(trace: Trace) -> Attributes:
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": COMPOSITE,
        "gen_ai.agent.name": trace.model,
        "gen_ai.request.model": trace.model,
        "composite_lab.trace_id": trace.trace_id,
        "composite_lab.strategy": trace.strategy,
        "composite_lab.status": trace.status,
    }


def _chat_attributes(call: Call) -> Attributes:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDERS.get(call.provider, call.provider) if call.provider else None,
        "gen_ai.request.model": call.request_model,
        **_request_attributes(call.params),
        "gen_ai.response.model": call.response_model,
        "gen_ai.response.finish_reasons": [call.finish_reason] if call.finish_reason else None,
        "gen_ai.usage.input_tokens": call.prompt_tokens,
        "gen_ai.usage.output_tokens": call.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": call.cached_tokens,
        "gen_ai.usage.reasoning.output_tokens": call.reasoning_tokens,
    }


def _request_attributes(params: Mapping[str, Any]) -> Attributes:
    max_tokens = params.get("max_tokens")
    if max_tokens is None:
        max_tokens = params.get("max_completion_tokens")
    stop = params.get("stop")
    choices = _whole(params.get("n"))
    return {
        "gen_ai.request.temperature": _real(params.get("temperature")),
        "gen_ai.request.top_p": _real(params.get("top_p")),
        "gen_ai.request.frequency_penalty": _real(params.get("frequency_penalty")),
        "gen_ai.request.presence_penalty": _real(params.get("presence_penalty")),
        "gen_ai.request.max_tokens": _whole(max_tokens),
        "gen_ai.request.seed": _whole(params.get("seed")),
        "gen_ai.request.choice.count": None if choices == 1 else choices,
        "gen_ai.request.stop_sequences": [stop] if isinstance(stop, str) else _texts(stop),
    }


def _tool_attributes(call: Call) -> Attributes:
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": call.request_model,
        "gen_ai.tool.call.id": call.tool_calls[0].get("id") if call.tool_calls else None,
    }


def _real(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _texts(value: Any) -> list[str] | None:
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def _run_content(trace: Trace) -> Attributes:
    finals = [call for call in trace.calls if call.stage in FINAL_STAGES and call.parent_call_id is None]
    final = finals[-1] if finals and finals[-1].status == "ok" else None
    parts = _parts(trace.text, final.tool_calls if final else ())
    return {
        "gen_ai.input.messages": _messages(trace.messages),
        "gen_ai.output.messages": _output(parts, trace.status, final.finish_reason if final else None),
    }


def _chat_content(call: Call) -> Attributes:
    thought = [{"type": "reasoning", "content": call.reasoning}] if call.reasoning else []
    parts = [*thought, *_parts(call.text, call.tool_calls)]
    return {
        "gen_ai.input.messages": _messages(call.messages),
        "gen_ai.output.messages": _output(parts, call.status, call.finish_reason),
    }


def _tool_content(call: Call) -> Attributes:
    return {
        "gen_ai.tool.call.arguments": function_of(call.tool_calls[0])[1] if call.tool_calls else None,
        "gen_ai.tool.call.result": call.text if call.status == "ok" else None,
    }


def _messages(messages: Iterable[Mapping[str, Any]]) -> str:
    return _as_json([_message(message) for message in messages])


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    content, role = message.get("content"), message.get("role")
    if role == "tool":
        answered = {"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content}
        return {"role": role, "parts": [answered]}
    return {"role": role, "parts": _parts(content, message.get("tool_calls") or ())}


def _output(parts: list[dict[str, Any]], status: str, finish_reason: str | None) -> str | None:
    if not parts:
        return None
    # The conventions' schema requires a reason, also where a model gave none.
    reason = finish_reason or ("unknown" if status in ("ok", "degraded") else "error")
    reason = "tool_call" if reason == "tool_calls" else reason
    return _as_json([{"role": "assistant", "parts": parts, "finish_reason": reason}])


def _parts(content: Any, tool_calls: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """OpenAI's content and tool calls as the conventions' message parts; media parts stay as they are."""
    pieces = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    texts = [
        {"type": "text", "content": piece.get("text")} if piece.get("type") == "text" else piece
        for piece in pieces
        if piece.get("text") != ""
    ]
    return texts + [_requested(tool_call) for tool_call in tool_calls]


def _requested(tool_call: Mapping[str, Any]) -> dict[str, Any]:
    name, arguments = function_of(tool_call)
    asked: Any = arguments
    with suppress(ValueError):  # models write broken JSON, and then that is what they asked for
        asked = json.loads(arguments)
    return {
        "type": "tool_call",
        "id": tool_call.get("id"),
        "name": name,
        "arguments": asked,
    }


def _as_json(value: Any) -> str:
    return printable(json.dumps(value, ensure_ascii=False))
