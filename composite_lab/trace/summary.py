"""A trace in few words: its totals, and the chain of calls that it waited for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from composite_lab.trace.call import Call, Record, Usage

AnyCall = TypeVar("AnyCall")


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
        calls = "call" if self.calls == 1 else "calls"
        cost = "cost unknown" if self.cost_usd is None else f"{self.cost_usd:.6f} USD"
        if self.cost_usd is not None and self.unpriced_calls:
            cost += f" (+ {self.unpriced_calls} of unknown price)"
        speedup = "" if self.speedup is None else f", {self.speedup:.1f} times faster than one by one"
        return (
            f"{harmless(self.strategy)} {self.status}: {self.calls} {calls}, {self.failures} failed, "
            f"{self.usage.total_tokens} tokens, {cost}, {self.wall_time_s:.2f} s{speedup}"
        )


def harmless(name: str) -> str:
    """The name, or its `repr` where it would do something to a terminal or hide something from a reader."""
    return name if name.isprintable() else repr(name)


def total_cost(calls: Iterable[Call]) -> float | None:
    """The sum of the known costs in USD, None when no call has one."""
    known = [call.cost_usd for call in calls if call.cost_usd is not None]
    return sum(known) if known else None


def is_unpriced(call: Call) -> bool:
    """Whether the call may have cost something that nobody knows."""
    # A refused call is not billed; one that ran and was cut may be, and so is one whose answer was empty.
    return (
        call.cost_usd is None
        and (call.status != "error" or call.finish_reason is not None or call.total_tokens is not None)
        and call.usage_source != "children"
        and call.stage != "tool"
    )


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
        unpriced_calls=sum(is_unpriced(call) for call in calls),
        wall_time_s=wall_time_s,
        critical_path_s=_chain_s(critical_path(top)),
        summed_latency_s=summed,
        speedup=summed / wall_time_s if wall_time_s > 0 and top else None,
    )


def critical_path(calls: Sequence[AnyCall]) -> list[AnyCall]:
    """The calls of the longest chain that waited for one another, by their start.

    Stages and rounds wait for each other, and so do a seat's attempts; the seats of a stage do not.
    So of each stage and round this has all attempts of the seat that took longest, with the pauses
    between them; of equals the first seat. Calls below one of `calls` are inside of its time and left
    out. Takes the Calls of one trace, or rows with the same attributes, like those that
    `trace.to_dataframe().itertuples()` gives.
    """
    rows: list[Any] = list(calls)
    known = {row.call_id for row in rows}
    seats: dict[tuple[str, int], dict[tuple[int, int], list[Any]]] = {}
    for row in rows:
        # In a frame, no parent is pandas' NA, which is in no set of names either.
        if row.parent_call_id not in known:
            stage = seats.setdefault((row.stage, row.round), {})
            stage.setdefault((row.seat, row.sample), []).append(row)
    slowest = [min(stage.items(), key=lambda seat: (-span_s(seat[1]), seat[0])) for stage in seats.values()]
    path = [row for _, attempts in slowest for row in attempts]
    return sorted(path, key=lambda row: (row.start_offset_s, row.attempt))


def excerpt(text: str, limit: int) -> str:
    """The text, or its beginning and how much was left out."""
    text = text.strip()
    if len(text) <= limit:
        return text
    return f"{text[:limit].rstrip()} … [{len(text) - limit} more characters]"


def _chain_s(path: Sequence[Call]) -> float:
    """Seconds from the first start to the last end of each link of a critical path, added up."""
    links: dict[tuple[str, int], list[Call]] = {}
    for call in path:
        links.setdefault((call.stage, call.round), []).append(call)
    return sum(map(span_s, links.values()))


def span_s(calls: Sequence[Any]) -> float:
    """Seconds from the first start to the last end."""
    start = min(call.start_offset_s for call in calls)
    end = max(call.start_offset_s + call.latency_s for call in calls)
    return float(end - start)
