"""A trace of many calls, for measuring without any."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from composite_lab import Call, Trace

BEGINNING = datetime(2025, 1, 1, tzinfo=UTC)


def large_trace(count: int) -> Trace:
    """A trace of `count` calls with what real ones have: unknown prices, failures, counts left out."""
    calls = [_call(number) for number in range(count)]
    return Trace(
        trace_id="trace-0", strategy="moa", model="composite/moa/openai/a", started_at=BEGINNING,
        latency_s=1.0, version="0", calls=calls,
    )  # fmt: skip


def _call(number: int) -> Call:
    failed, priced, counted = number % 50 == 0, number % 3 > 0, number % 7 > 0
    return Call(
        trace_id=f"trace-{number // 5}",
        call_id=f"call-{number}",
        strategy="moa",
        stage="aggregation" if number % 5 == 4 else "proposals",
        role="aggregator" if number % 5 == 4 else "proposer",
        seat=number % 5,
        provider="openai",
        request_model=f"openai/model-{number % 5}",
        response_model=None if failed else f"model-{number % 5}",
        status="error" if failed else "ok",
        error_type="RateLimitError" if failed else None,
        error_message="too many requests" if failed else None,
        finish_reason=None if failed else "stop",
        started_at=BEGINNING + timedelta(seconds=number),
        start_offset_s=number / 7,
        latency_s=1 + number % 11 / 10,
        time_to_first_token_s=0.2 if number % 5 == 4 else None,
        prompt_tokens=100 + number % 900 if counted else None,
        completion_tokens=20 + number % 300 if counted else None,
        total_tokens=120 + number % 1200 if counted else None,
        usage_source="provider" if counted else "missing",
        cost_usd=number / 1e6 if priced else None,
        cost_source="litellm" if priced else "missing",
        cache_hit=None if failed else False,
    )
