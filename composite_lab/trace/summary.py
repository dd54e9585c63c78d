"""A trace in few words: totals, and the text that becomes `reasoning_content`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from composite_lab.trace.call import Call, Record, Usage

EXCERPT_CHARS = 1_000
"""How much of one answer `reasoning_content` quotes, in characters. The trace keeps all of it."""


class Summary(Record):
    """The totals of a run. Times in seconds, costs in USD.

    `calls` counts attempts. `cost_usd` adds up the known prices and is None when none is known;
    `unpriced_calls` may have cost something that nobody knows. `critical_path_s` is the longest
    chain of calls that waited for one another, `speedup` the summed latency over the wall time.
    """

    trace_id: str
    strategy: str
    status: str
    calls: int
    failures: int
    usage: Usage
    cost_usd: float | None
    unpriced_calls: int
    wall_time_s: float
    critical_path_s: float
    summed_latency_s: float
    speedup: float | None

    def __str__(self) -> str:
        cost = "cost unknown" if self.cost_usd is None else f"{self.cost_usd:.6f} USD"
        if self.cost_usd is not None and self.unpriced_calls:
            cost += f" (+ {self.unpriced_calls} of unknown price)"
        speedup = "" if self.speedup is None else f", {self.speedup:.1f} times faster than one by one"
        return (
            f"{self.strategy} {self.status}: {self.calls} calls, {self.failures} failed, "
            f"{self.usage.total_tokens} tokens, {cost}, {self.wall_time_s:.2f} s{speedup}"
        )


def total_cost(calls: Iterable[Call]) -> float | None:
    """The sum of the known costs in USD, None when no call has one."""
    known = [call.cost_usd for call in calls if call.cost_usd is not None]
    return sum(known) if known else None


def summarize(
    trace_id: str, strategy: str, status: str, calls: Sequence[Call], wall_time_s: float
) -> Summary:
    """The totals over `calls`, of which those below another call count their time only there."""
    top = [call for call in calls if call.parent_call_id is None]
    summed = sum(call.latency_s for call in top)
    return Summary(
        trace_id=trace_id,
        strategy=strategy,
        status=status,
        calls=len(calls),
        failures=sum(call.status != "ok" for call in calls),
        usage=Usage.of(calls),
        cost_usd=total_cost(calls),
        unpriced_calls=sum(_is_unpriced(call) for call in calls),
        wall_time_s=wall_time_s,
        critical_path_s=_critical_path(top),
        summed_latency_s=summed,
        speedup=summed / wall_time_s if wall_time_s > 0 and top else None,
    )


def stage_text(title: str, calls: Sequence[Call], wording: Callable[[Call], str] | None = None) -> str:
    """One section of `reasoning_content`: each seat's last attempt, errors by their type only.

    `wording` gives the text of a call where it should read otherwise than it came.
    """
    last = {(call.seat, call.sample): call for call in calls}
    answered = sum(call.status == "ok" for call in last.values())
    sampled = any(call.sample for call in calls)
    lines = [f"## {title}: {answered} of {len(last)} answered"]
    for call in last.values():
        sample = f", sample {call.sample + 1}" if sampled else ""
        head = f"### {call.role} {call.seat + 1}{sample} · {call.name}"
        text = wording(call) if wording else call.text or ""
        failed = f"(no answer: {call.error_type or call.status})"
        lines.append(f"{head}\n{excerpt(text) if call.status == 'ok' else failed}")
    return "\n\n".join(lines) + "\n\n"


def excerpt(text: str, limit: int = EXCERPT_CHARS) -> str:
    """The text, or its beginning and how much was left out."""
    text = text.strip()
    if len(text) <= limit:
        return text
    return f"{text[:limit].rstrip()} … [{len(text) - limit} more characters]"


def _is_unpriced(call: Call) -> bool:
    # A refused call is not billed; one that ran and was cut may be.
    return (
        call.cost_usd is None
        and call.status != "error"
        and call.usage_source != "children"
        and call.stage != "tool"
    )


def _critical_path(calls: Sequence[Call]) -> float:
    """Stages wait for each other, and so do a seat's attempts; the seats of a stage do not."""
    seats: dict[tuple[str, int, int, int], tuple[float, float]] = {}
    for call in calls:
        key = (call.stage, call.round, call.seat, call.sample)
        start, end = seats.get(key, (math.inf, 0.0))
        seats[key] = (min(start, call.start_offset_s), max(end, call.start_offset_s + call.latency_s))
    longest: dict[tuple[str, int], float] = {}
    for (stage, round_, _, _), (start, end) in seats.items():
        longest[stage, round_] = max(longest.get((stage, round_), 0.0), end - start)
    return sum(longest.values())
