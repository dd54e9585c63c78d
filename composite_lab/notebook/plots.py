"""Pictures of runs, made with matplotlib so that a saved notebook keeps them.

Each takes a Trace, a Result, or a frame (`trace.to_dataframe()`; for `ballots`, `trace.ballots_df()`),
also a filtered one or those of several runs concatenated, draws on `ax` or on a figure of its own, and
returns the Axes. Colours are those of the matplotlib style in force, so light and dark ones both work.
Those of comparisons, `cost_quality`, `latencies` and `wins`, are in comparison_plots.py, `ballots` in
ballots_plot.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from composite_lab.notebook import text as words
from composite_lab.notebook.ballots_plot import ballots
from composite_lab.notebook.comparison_plots import cost_quality, latencies, wins
from composite_lab.notebook.drawing import (
    HATCH,
    Entry,
    axes_for,
    check_columns,
    colours_of,
    ink_of,
    joined,
    name_rows,
    note_on,
    nothing,
    plain,
    plain_usd,
    put_legend,
    rows_of,
    stacked_bars,
    title_of,
    write_beside,
)
from composite_lab.trace.call import Call
from composite_lab.trace.model import Result, Trace
from composite_lab.trace.summary import critical_path, is_unpriced, total_cost

__all__ = ["ballots", "cost", "cost_quality", "latencies", "timeline", "tokens", "wins"]

BY = ("stage", "name")
TOKEN_KINDS = {
    "prompt (fresh)": ("C0", 0.85), "prompt (cached)": ("C0", 0.4),
    "completion (answer)": ("C1", 0.85), "completion (reasoning)": ("C1", 0.4),
}  # fmt: skip
TIMED = (
    "trace_id", "call_id", "parent_call_id", "stage", "role", "round", "seat", "sample", "attempt",
    "name", "status", "error_type", "start_offset_s", "latency_s", "time_to_first_token_s",
)  # fmt: skip
PRICED = ("stage", "status", "usage_source", "cost_usd", "finish_reason", "total_tokens")
COUNTED = (
    "stage", "status", "usage_source", "prompt_tokens", "completion_tokens", "cached_tokens",
    "reasoning_tokens",
)  # fmt: skip


def timeline(what: Any, *, ax: Axes | None = None) -> Axes:
    """When each call of one run was under way: a bar per attempt, in seconds since the run's start.

    Colours tell the stages apart; what failed or was cancelled is hatched, the critical path (see
    `trace.summary.critical_path`) has a bold edge, a dot marks the first token where that is known.
    Raises ValueError for a frame of several traces.
    """
    calls = _calls(what, TIMED)
    traces = sorted({str(call.trace_id) for call in calls})
    if len(traces) > 1:
        raise ValueError(
            f"a timeline shows one trace and this frame has {len(traces)}: "
            f"choose one, for example frame[frame.trace_id == {traces[0]!r}]"
        )
    ax = axes_for(ax, "time since the start of the run (s)", "calls", height=1.2 + 0.25 * len(calls))
    if not calls:
        return nothing(ax, "no calls")
    ink, colours = ink_of(ax), colours_of(call.stage for call in calls)
    path = {id(call) for call in critical_path(calls)}
    ends = [call.start_offset_s + call.latency_s for call in calls]
    for row, (call, end) in enumerate(zip(calls, ends, strict=True)):
        failed, bold, colour = call.status != "ok", id(call) in path, colours[call.stage]
        ax.barh(
            row, call.latency_s, left=call.start_offset_s, height=0.7, zorder=3 if bold else 2,
            facecolor=(colour, 0.15 if failed else 0.7), hatch=HATCH if failed else None,
            edgecolor=ink if bold else colour, linewidth=1.8 if bold else 0.8,
        )  # fmt: skip
        if failed:
            write_beside(ax, end, row, plain(call.error_type or call.status))
    legend: list[Entry] = [
        (plain(stage), Patch(facecolor=(colour, 0.7), edgecolor=colour)) for stage, colour in colours.items()
    ]
    legend.append(("critical path", Patch(facecolor="none", edgecolor=ink, linewidth=1.8)))
    if any(call.status != "ok" for call in calls):
        legend.append(("failed or cancelled", Patch(facecolor="none", edgecolor=ink, hatch=HATCH)))
    streamed = {row: call for row, call in enumerate(calls) if call.time_to_first_token_s is not None}
    if streamed:
        firsts = [call.start_offset_s + call.time_to_first_token_s for call in streamed.values()]
        look: dict[str, Any] = {
            "markersize": 5,
            "color": ax.get_facecolor(),
            "markeredgecolor": ink,
            "zorder": 4,
        }
        legend.append(("first token", ax.plot(firsts, list(streamed), "o", **look)[0]))
    name_rows(ax, _call_names(calls))
    # Room for the words beside a bar that failed late.
    wide = [end + 0.25 * max(ends) for call, end in zip(calls, ends, strict=True) if call.status != "ok"]
    ax.set_xlim(0, max([1.04 * max(ends), *wide]) or 1)
    put_legend(ax, legend)
    return ax


def cost(what: Any, *, by: str | Sequence[str] = BY, ax: Axes | None = None) -> Axes:
    """What the calls cost in USD: a bar for each value of the first column of `by`, stacked by the second.

    Calls whose price nobody knows are counted beside the bar. Calls to a composite and calls of tools
    have no price of their own and are left out.
    """
    columns = _columns(by, most=2)
    calls = _own(_calls(what, PRICED + columns))
    bars = _grouped(calls, columns[:1])
    colours = colours_of(_grouped(calls, columns[1:]))
    high = max(1.2 + 0.55 * len(bars), 0.6 + 0.25 * len(colours))
    ax = axes_for(ax, "cost (USD)", title_of(columns[:1]), height=high)
    if not calls:
        return nothing(ax, "no calls")
    stacked = [_grouped(bar, columns[1:]) for bar in bars.values()]
    parts = [
        (joined(part), (colour, 0.8), [total_cost(groups.get(part, [])) or 0.0 for groups in stacked])
        for part, colour in colours.items()
    ]
    notes = []
    for bar in bars.values():
        total, unknown = total_cost(bar), sum(map(is_unpriced, bar))
        failed = sum(call.cost_usd is None for call in bar) - unknown
        notes.append(note_on(None if total is None else words.usd(total), "price", unknown, failed))
    legend = stacked_bars(ax, list(map(joined, bars)), parts, notes)
    ax.xaxis.set_major_formatter(FuncFormatter(plain_usd))
    if columns[1:] and legend:
        put_legend(ax, legend, title_of(columns[1:]))
    return ax


def tokens(what: Any, *, by: str | Sequence[str] = BY, ax: Axes | None = None) -> Axes:
    """The tokens of the calls: a bar for each value of the columns `by`, stacked by kind of token.

    Cached tokens are a part of the prompt and reasoning tokens of the completion: each is drawn once.
    Calls whose usage nobody knows are counted beside the bar.
    """
    columns = _columns(by)
    calls = _own(_calls(what, COUNTED + columns))
    bars = _grouped(calls, columns)
    ax = axes_for(ax, "tokens", title_of(columns), height=1.2 + 0.55 * len(bars))
    if not calls:
        return nothing(ax, "no calls")
    sums, notes = [], []
    for bar in bars.values():
        sums.append([sum(kind) for kind in zip(*map(_kinds, bar), strict=True)])
        counted = sum(_is_counted(call) for call in bar)
        failed = sum(call.status == "error" and not _is_counted(call) for call in bar)
        total = words.tokens(sum(sums[-1])) if counted else None
        notes.append(note_on(total, "usage", len(bar) - counted - failed, failed))
    widths = zip(*sums, strict=True)
    parts = [(kind, shade, list(own)) for (kind, shade), own in zip(TOKEN_KINDS.items(), widths, strict=True)]
    legend = stacked_bars(ax, list(map(joined, bars)), parts, notes)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    if legend:
        put_legend(ax, legend)
    return ax


def _calls(what: Any, needed: Sequence[str]) -> list[Any]:
    """Calls, or a frame's rows that look like them: unknown is None in both."""
    what = what.trace if isinstance(what, Result) else what
    if not isinstance(what, Trace):
        return rows_of(what, needed, "trace.to_dataframe()")
    check_columns(needed, [*Call.model_fields, "name"], "a trace's calls")
    return list(what.calls)


def _columns(by: str | Sequence[str], most: int | None = None) -> tuple[str, ...]:
    columns = (by,) if isinstance(by, str) else tuple(by)
    if not columns or (most and len(columns) > most):
        raise ValueError(f"by={by!r}: give one column{f' or {most}' if most else ' or more'}, like by={BY!r}")
    return columns


def _own(calls: Sequence[Any]) -> list[Any]:
    """Calls that have tokens and a price of their own."""
    return [call for call in calls if call.usage_source != "children" and call.stage != "tool"]


def _key(call: Any, columns: Sequence[str]) -> tuple[str, ...]:
    values = [getattr(call, column) for column in columns]
    return tuple("unknown" if value is None else str(value) for value in values)


def _grouped(calls: Iterable[Any], columns: Sequence[str]) -> dict[tuple[str, ...], list[Any]]:
    groups: dict[tuple[str, ...], list[Any]] = {}
    for call in calls:
        groups.setdefault(_key(call, columns), []).append(call)
    return groups


def _is_counted(call: Any) -> bool:
    return call.prompt_tokens is not None or call.completion_tokens is not None


def _kinds(call: Any) -> tuple[int, int, int, int]:
    """A call's tokens in the order of `TOKEN_KINDS`, adding up to prompt and completion."""
    prompt, completion = call.prompt_tokens or 0, call.completion_tokens or 0
    cached = min(call.cached_tokens or 0, prompt)
    reasoning = min(call.reasoning_tokens or 0, completion)
    return prompt - cached, cached, completion - reasoning, reasoning


def _call_names(calls: Sequence[Any]) -> list[str]:
    """Role, seat and its name, and what else tells a run's calls apart; an arrow for each call above."""
    parents = {call.call_id: call.parent_call_id for call in calls}
    told = {(call.stage, name) for call in calls for name in ("round", "sample") if getattr(call, name)}
    names = []
    for call in calls:
        depth, above = 0, call.parent_call_id
        while above in parents and depth < len(calls):
            depth, above = depth + 1, parents[above]
        which = [
            f"{name} {getattr(call, name) + 1}" for name in ("round", "sample") if (call.stage, name) in told
        ]
        which += [f"attempt {call.attempt + 1}"] if call.attempt else []
        who = ", ".join([f"{plain(call.role)} {call.seat + 1}", *which])
        names.append(f"{'↳ ' * depth}{who} · {plain(call.name)}")
    return names
