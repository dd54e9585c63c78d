"""Traces as OpenTelemetry spans: the tree, the times, the attributes, and no content unless asked for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.attributes import error_attributes
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import SpanKind, StatusCode, Tracer

import composite_lab as lab
from composite_lab import Call, Trace
from composite_lab.trace import otel
from composite_lab.trace.otel import export_trace
from tests import records
from tests.conftest import SeatMaker

NOON = datetime(2025, 3, 1, 12, 0, 0, 123_457, tzinfo=UTC)
NOON_NS = 1_740_830_400_123_457_000
QUESTION = "Why is the sky dark at night?"
ROOT = "invoke_agent composite/moa/openai/a"


class Tracing:
    """A tracer of the test's own, and the spans that it has exported."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer: Tracer = self.provider.get_tracer("test")

    def export(self, trace: Trace, **options: Any) -> list[ReadableSpan]:
        """The spans of this trace as they ended: parents last."""
        self.exporter.clear()
        export_trace(trace, tracer=self.tracer, **options)
        return list(self.exporter.get_finished_spans())


@pytest.fixture
def tracing() -> Iterator[Tracing]:
    own = Tracing()
    yield own
    own.provider.shutdown()


def call(call_id: str = "c", **fields: Any) -> Call:
    own = {"provider": "openai", "request_model": f"openai/{call_id}", "started_at": NOON}
    return records.call(call_id, **(own | fields))


def trace(*calls: Call, **fields: Any) -> Trace:
    return records.trace(*calls, **({"started_at": NOON, "latency_s": 2.5} | fields))


def tool_call(arguments: Any = "{}") -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": arguments}}


def named(spans: list[ReadableSpan], name: str) -> ReadableSpan:
    found = [span for span in spans if span.name == name]
    assert len(found) == 1, [span.name for span in spans]
    return found[0]


def attributes(spans: list[ReadableSpan], name: str) -> dict[str, Any]:
    return dict(named(spans, name).attributes or {})


def parents(spans: list[ReadableSpan]) -> dict[str, str | None]:
    """The name of each span's parent."""
    names = {span.context.span_id: span.name for span in spans}
    return {span.name: names[span.parent.span_id] if span.parent else None for span in spans}


def everything(spans: list[ReadableSpan]) -> str:
    return "\n".join(span.to_json() for span in spans)


def rich_trace() -> Trace:
    """A run in which every field that can hold content holds some, each with a word of its own."""
    conversation = [
        {"role": "system", "content": "SECRET-system"},
        {"role": "user", "content": [{"type": "text", "text": "SECRET-question"}]},
    ]
    requested = tool_call('{"city": "SECRET-arguments"}')
    answered = {"role": "tool", "tool_call_id": "call_1", "content": "SECRET-toolmessage"}
    asked = [*conversation, {"role": "assistant", "content": None, "tool_calls": [requested]}, answered]
    failed = {"status": "error", "error_type": "BadRequestError", "error_message": "SECRET-quoted"}
    return trace(
        call("p", messages=conversation, text="SECRET-opinion", reasoning="SECRET-thought"),
        call("f", messages=conversation, text="SECRET-partial", **failed),
        call("a", stage="aggregation", role="aggregator", messages=conversation, tool_calls=[requested],
             finish_reason="tool_calls"),
        call("w", stage="tool", role="tool", provider=None, request_model="weather", text="SECRET-result",
             tool_calls=[requested]),
        call("b", stage="aggregation", role="aggregator", messages=asked, text="SECRET-answer", round=1,
             finish_reason="stop"),
        status="error", error_type="RunTimeout", error_message="SECRET-causes", text="SECRET-answer",
        messages=conversation, reasoning="SECRET-summary", notes=["SECRET-note"],
        config={"prompts": "SECRET-prompts"},
    )  # fmt: skip


def test_a_run_is_one_tree_with_its_calls_below_it(tracing: Tracing) -> None:
    spans = tracing.export(trace(call("p"), call("q"), call("a", stage="aggregation")))
    assert parents(spans) == {
        ROOT: None, "chat openai/p": ROOT, "chat openai/q": ROOT, "chat openai/a": ROOT,
    }  # fmt: skip
    assert len({span.context.trace_id for span in spans}) == 1
    assert [span.kind for span in spans] == [*[SpanKind.CLIENT] * 3, SpanKind.INTERNAL]
    assert {span.status.status_code for span in spans} == {StatusCode.UNSET}


def test_calls_of_nested_composites_stand_below_the_call_of_the_composite(tracing: Tracing) -> None:
    inner = {"provider": "composite", "usage_source": "children"}
    spans = tracing.export(
        trace(
            call("deep", parent_call_id="second"),  # before its parents: the order of the calls is no matter
            call("first", request_model="composite/council/openai/x", **inner),
            call("second", request_model="composite/moa/openai/y", parent_call_id="first", **inner),
            call("last"),
        )
    )
    assert parents(spans) == {
        ROOT: None,
        "chat composite/council/openai/x": ROOT,
        "chat composite/moa/openai/y": "chat composite/council/openai/x",
        "chat openai/deep": "chat composite/moa/openai/y",
        "chat openai/last": ROOT,
    }
    composite = "chat composite/council/openai/x"
    assert named(spans, composite).kind is SpanKind.INTERNAL
    assert not any(name.startswith("gen_ai.usage") for name in attributes(spans, composite))
    assert named(spans, "chat openai/deep").kind is SpanKind.CLIENT


def test_a_call_whose_parent_is_not_in_the_trace_stands_below_the_run(tracing: Tracing) -> None:
    spans = tracing.export(trace(call("p", parent_call_id="elsewhere")))
    assert parents(spans)["chat openai/p"] == ROOT


def test_spans_begin_and_end_on_the_exact_nanosecond(tracing: Tracing) -> None:
    spans = tracing.export(trace(call("p", latency_s=0.123456789), call("q", latency_s=0.0)))
    root = named(spans, ROOT)
    assert (root.start_time, root.end_time) == (NOON_NS, NOON_NS + 2_500_000_000)
    proposal = named(spans, "chat openai/p")
    assert (proposal.start_time, proposal.end_time) == (NOON_NS, NOON_NS + 123_456_789)
    instant = named(spans, "chat openai/q")
    assert (instant.start_time, instant.end_time) == (NOON_NS, NOON_NS)


def test_a_time_without_a_zone_is_taken_as_utc(tracing: Tracing) -> None:
    spans = tracing.export(trace(call("p", started_at=NOON.replace(tzinfo=None))))
    assert named(spans, "chat openai/p").start_time == NOON_NS


def test_a_call_has_the_attributes_of_the_conventions_and_our_own(tracing: Tracing) -> None:
    full = call(
        "p", response_model="a-2025", finish_reason="length", prompt_tokens=10, completion_tokens=5,
        total_tokens=15, cached_tokens=4, reasoning_tokens=3, usage_source="provider", cost_usd=0.25,
        cost_source="litellm", cache_hit=False, round=1, seat=2, sample=3, attempt=4, seat_name="Ada",
        time_to_first_token_s=0.5,
        params={"temperature": 1, "max_tokens": 64, "top_p": 0.9, "seed": 7, "stop": ["END"], "n": 2,
                "frequency_penalty": 0.1, "presence_penalty": 0.2, "user": "someone"},
    )  # fmt: skip
    assert attributes(tracing.export(trace(full)), "chat openai/p") == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "openai/p", "gen_ai.response.model": "a-2025",
        "gen_ai.request.temperature": 1.0, "gen_ai.request.top_p": 0.9,
        "gen_ai.request.max_tokens": 64, "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("END",), "gen_ai.request.choice.count": 2,
        "gen_ai.request.frequency_penalty": 0.1, "gen_ai.request.presence_penalty": 0.2,
        "gen_ai.response.finish_reasons": ("length",),
        "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 4, "gen_ai.usage.reasoning.output_tokens": 3,
        "composite_lab.trace_id": "t", "composite_lab.call_id": "p", "composite_lab.strategy": "moa",
        "composite_lab.stage": "proposals", "composite_lab.role": "proposer", "composite_lab.round": 1,
        "composite_lab.seat": 2, "composite_lab.seat_name": "Ada", "composite_lab.sample": 3,
        "composite_lab.attempt": 4, "composite_lab.status": "ok", "composite_lab.cost_usd": 0.25,
        "composite_lab.cost_source": "litellm", "composite_lab.usage_source": "provider",
        "composite_lab.cache_hit": False, "composite_lab.time_to_first_token_s": 0.5,
    }  # fmt: skip


def test_the_run_has_its_model_and_status_and_no_totals(tracing: Tracing) -> None:
    spans = tracing.export(trace(call(prompt_tokens=10, cost_usd=0.25), status="degraded"))
    assert attributes(spans, ROOT) == {
        "gen_ai.operation.name": "invoke_agent", "gen_ai.provider.name": "composite",
        "gen_ai.agent.name": "composite/moa/openai/a", "gen_ai.request.model": "composite/moa/openai/a",
        "composite_lab.trace_id": "t", "composite_lab.strategy": "moa", "composite_lab.status": "degraded",
    }  # fmt: skip
    assert named(spans, ROOT).status.status_code is StatusCode.UNSET


def test_what_is_not_known_is_left_out_and_a_known_zero_is_not(tracing: Tracing) -> None:
    spans = tracing.export(trace(call("p", provider=None), call("q", completion_tokens=0, cost_usd=0.0)))
    unknown = attributes(spans, "chat openai/p")
    assert {name for name in unknown if name.startswith("gen_ai.")} == {
        "gen_ai.operation.name", "gen_ai.request.model",
    }  # fmt: skip
    assert "composite_lab.cost_usd" not in unknown
    free = attributes(spans, "chat openai/q")
    assert (free["gen_ai.usage.output_tokens"], free["composite_lab.cost_usd"]) == (0, 0.0)
    assert "gen_ai.usage.input_tokens" not in free


def test_request_parameters_that_are_not_of_the_conventions_type_are_left_out(tracing: Tracing) -> None:
    odd = {"temperature": "hot", "max_tokens": True, "seed": 1.5, "stop": [1], "top_p": None, "n": 1}
    plain = {"stop": "END", "max_completion_tokens": 9}
    spans = tracing.export(trace(call("p", params=odd), call("q", params=plain)))
    requested = {"gen_ai.request.model": "openai/p"}
    found = attributes(spans, "chat openai/p")
    assert {name: value for name, value in found.items() if "request" in name} == requested
    found = attributes(spans, "chat openai/q")
    assert (found["gen_ai.request.stop_sequences"], found["gen_ai.request.max_tokens"]) == (("END",), 9)


@pytest.mark.parametrize(
    ("status", "error_type", "exported"),
    [
        ("error", "RateLimitError", "RateLimitError"),
        ("timeout", "CallTimeout", "CallTimeout"),
        ("error", None, "_OTHER"),
        ("cancelled", None, "cancelled"),
        ("cancelled", "KeyboardInterrupt", "cancelled"),
    ],
)
def test_calls_and_runs_that_failed_are_spans_with_an_error(
    tracing: Tracing, status: str, error_type: str | None, exported: str
) -> None:
    failed = call("p", status=status, error_type=error_type)
    run = {"status": "error" if status == "timeout" else status, "error_type": error_type}
    spans = tracing.export(trace(failed, **run))
    for name in ("chat openai/p", ROOT):
        assert named(spans, name).status.status_code is StatusCode.ERROR
        assert attributes(spans, name)["error.type"] == exported
    assert attributes(spans, "chat openai/p")["composite_lab.status"] == status


def test_a_tool_is_an_internal_span_of_its_own(tracing: Tracing) -> None:
    row = call(
        "w", stage="tool", role="tool", provider=None, request_model="weather", tool_calls=[tool_call()]
    )
    spans = tracing.export(trace(row))
    assert named(spans, "execute_tool weather").kind is SpanKind.INTERNAL
    found = attributes(spans, "execute_tool weather")
    assert found["composite_lab.role"] == "tool"
    assert {name: value for name, value in found.items() if name.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "weather",
        "gen_ai.tool.call.id": "call_1",
    }  # fmt: skip


def test_no_content_is_exported_unless_asked_for(tracing: Tracing) -> None:
    spans = tracing.export(rich_trace())
    assert len(spans) == 6
    assert "SECRET" not in everything(spans)
    assert attributes(spans, "chat openai/f")["error.type"] == "BadRequestError"


def test_content_is_exported_as_the_messages_of_the_conventions(tracing: Tracing) -> None:
    spans = tracing.export(rich_trace(), capture_content=True)

    def content(name: str, direction: str = "output") -> Any:
        return json.loads(attributes(spans, name)[f"gen_ai.{direction}.messages"])

    def text(said: str) -> dict[str, str]:
        return {"type": "text", "content": f"SECRET-{said}"}

    question = [{"role": "system", "parts": [text("system")]}, {"role": "user", "parts": [text("question")]}]
    arguments = {"city": "SECRET-arguments"}
    request = {"type": "tool_call", "id": "call_1", "name": "weather", "arguments": arguments}
    response = {"type": "tool_call_response", "id": "call_1", "response": "SECRET-toolmessage"}
    thought = {"type": "reasoning", "content": "SECRET-thought"}
    assert content("chat openai/b", "input") == [
        *question, {"role": "assistant", "parts": [request]}, {"role": "tool", "parts": [response]},
    ]  # fmt: skip
    assert content(ROOT, "input") == question
    for name, parts, reason in [
        ("chat openai/p", [thought, text("opinion")], "unknown"),
        ("chat openai/f", [text("partial")], "error"),
        ("chat openai/a", [request], "tool_call"),
        ("chat openai/b", [text("answer")], "stop"),
        (ROOT, [text("answer")], "stop"),
    ]:
        assert content(name) == [{"role": "assistant", "parts": parts, "finish_reason": reason}]
    assert named(spans, "chat openai/f").status.description == "SECRET-quoted"
    tool = attributes(spans, "execute_tool weather")
    assert json.loads(tool["gen_ai.tool.call.arguments"]) == arguments
    assert tool["gen_ai.tool.call.result"] == "SECRET-result"


def test_odd_content_is_exported_as_it_is(tracing: Tracing) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    asked = [{"role": "user", "content": [picture]}, {"role": "user", "content": "half \ud83d"}]
    odd = call("p", messages=asked, tool_calls=[tool_call("{broken"), tool_call({"city": "東京"})])
    spans = tracing.export(trace(odd, call("q")), capture_content=True)
    found = attributes(spans, "chat openai/p")
    shown, half = json.loads(found["gen_ai.input.messages"])
    assert shown["parts"] == [picture]
    assert half["parts"] == [{"type": "text", "content": "half ?"}]
    (output,) = json.loads(found["gen_ai.output.messages"])
    assert [part["arguments"] for part in output["parts"]] == ["{broken", {"city": "東京"}]
    assert "東京" in found["gen_ai.output.messages"]
    assert "gen_ai.output.messages" not in attributes(spans, "chat openai/q")


def test_a_failed_tool_has_no_result(tracing: Tracing) -> None:
    row = call("w", stage="tool", role="tool", request_model="weather", status="error", text="Error: down")
    found = attributes(tracing.export(trace(row), capture_content=True), "execute_tool weather")
    assert not any(name.startswith("gen_ai.tool.call") for name in found)


def test_a_run_without_calls_is_a_root_alone(tracing: Tracing) -> None:
    spans = tracing.export(trace(), capture_content=True)
    assert parents(spans) == {ROOT: None}
    assert json.loads(attributes(spans, ROOT)["gen_ai.input.messages"]) == []


def test_a_thousand_calls_are_a_thousand_spans(tracing: Tracing) -> None:
    nested = [call(f"c{n}", parent_call_id=f"c{n // 10}" if n >= 10 else None) for n in range(1_000)]
    spans = tracing.export(trace(*nested))
    assert len(spans) == 1_001
    below = parents(spans)
    assert below["chat openai/c999"] == "chat openai/c99"
    assert below["chat openai/c99"] == "chat openai/c9"
    assert below["chat openai/c9"] == ROOT


def test_the_run_joins_the_callers_current_span(tracing: Tracing) -> None:
    with tracing.tracer.start_as_current_span("request") as outer:
        spans = tracing.export(trace(call("p")))
    root = named(spans, ROOT)
    assert root.parent is not None
    assert root.parent.span_id == outer.get_span_context().span_id
    assert {span.context.trace_id for span in spans} == {outer.get_span_context().trace_id}


def test_attribute_names_and_operations_exist_in_the_installed_conventions(tracing: Tracing) -> None:
    modules = (gen_ai_attributes, error_attributes)
    known = {value for module in modules for value in vars(module).values() if isinstance(value, str)}
    written = set(re.findall(r'"((?:gen_ai|error)\.[a-z_.]+)"', Path(otel.__file__).read_text()))
    assert len(written) > 20
    assert written <= known
    spans = tracing.export(rich_trace(), capture_content=True)
    operations = {member.value for member in gen_ai_attributes.GenAiOperationNameValues}
    assert {attributes([span], span.name)["gen_ai.operation.name"] for span in spans} <= operations
    providers = {member.value for member in gen_ai_attributes.GenAiProviderNameValues}
    assert set(otel.PROVIDERS.values()) <= providers
    assert not otel.PROVIDERS.keys() & providers
    assert Schemas.V1_41_0.value == otel.SCHEMA_URL


def test_providers_have_the_conventions_names(tracing: Tracing) -> None:
    spans = tracing.export(trace(call("p", provider="vertex_ai"), call("q", provider="hosted_vllm")))
    found = [attributes(spans, f"chat openai/{name}")["gen_ai.provider.name"] for name in "pq"]
    assert found == ["gcp.vertex_ai", "hosted_vllm"]


def test_a_real_run_is_exported_without_its_texts(tracing: Tracing, seat: SeatMaker) -> None:
    council = seat("c").model_copy(update={"model": "composite/council/openai/c"})
    moa = lab.MoA(aggregator=seat("a"), proposers=[seat("b"), seat("x+status=400"), council])
    result = moa.run(QUESTION, temperature=0.5)
    spans = tracing.export(result.trace)
    assert len(spans) == len(result.trace.calls) + 1
    assert QUESTION not in everything(spans)
    assert not [made.text for made in result.trace.calls if made.text and made.text in everything(spans)]
    by_id = {attributes([span], span.name).get("composite_lab.call_id"): span for span in spans}
    for made in result.trace.calls:
        parent = by_id[made.call_id].parent
        assert parent is not None
        assert parent.span_id == by_id[made.parent_call_id].context.span_id
    assert any(made.parent_call_id for made in result.trace.calls)
    assert named(spans, "chat openai/x+status=400").status.status_code is StatusCode.ERROR
    final = attributes(spans, "chat openai/a")
    assert final["gen_ai.request.temperature"] == 0.5
    assert final["gen_ai.usage.output_tokens"] > 0
    shown = everything(tracing.export(result.trace, capture_content=True))
    assert QUESTION in shown


def in_a_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_the_package_does_not_import_opentelemetry() -> None:
    code = (
        "import sys, composite_lab, composite_lab.trace.otel\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'opentelemetry'])"
    )
    assert in_a_process(code) == "[]"


BUILD = """
from datetime import UTC, datetime
from composite_lab import ConfigError, Trace
from composite_lab.trace.otel import export_trace
trace = Trace(trace_id="t", strategy="moa", model="m", started_at=datetime.now(UTC), latency_s=1, version="0")
"""


def test_missing_opentelemetry_is_said_with_what_to_install() -> None:
    code = (
        f"import sys\nsys.modules['opentelemetry'] = None\n{BUILD}\n"
        "try:\n    export_trace(trace)\nexcept ConfigError as error:\n    print(error)"
    )
    assert "pip install 'composite-lab[otel]'" in in_a_process(code)


def test_without_a_tracer_the_global_provider_has_one_of_our_name_and_version() -> None:
    code = BUILD + (
        "from opentelemetry import trace as api\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import SimpleSpanProcessor\n"
        "from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter\n"
        "export_trace(trace)\n"  # nothing is set up: nothing happens
        "exporter, provider = InMemorySpanExporter(), TracerProvider()\n"
        "provider.add_span_processor(SimpleSpanProcessor(exporter))\n"
        "api.set_tracer_provider(provider)\n"
        "export_trace(trace)\n"
        "(span,) = exporter.get_finished_spans()\n"
        "scope = span.instrumentation_scope\n"
        "print(scope.name, scope.version, scope.schema_url)"
    )
    assert in_a_process(code) == f"composite_lab {lab.__version__} {otel.SCHEMA_URL}"
