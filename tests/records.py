"""Calls and traces made up for tests: what each needs, and the fields that the test is about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from composite_lab.trace.call import Call
from composite_lab.trace.model import Trace

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


def call(call_id: str = "c", **fields: Any) -> Call:
    needed: dict[str, Any] = {
        "trace_id": "t", "call_id": call_id, "strategy": "moa", "stage": "proposals", "role": "proposer",
        "request_model": "openai/a", "status": "ok", "started_at": NOON, "start_offset_s": 0.0,
        "latency_s": 1.0,
    }  # fmt: skip
    return Call(**(needed | fields))


def trace(*calls: Call, **fields: Any) -> Trace:
    needed: dict[str, Any] = {
        "trace_id": "t", "strategy": "moa", "model": "composite/moa/openai/a", "started_at": NOON,
        "latency_s": 1.0, "version": "0", "calls": calls,
    }  # fmt: skip
    return Trace(**(needed | fields))
