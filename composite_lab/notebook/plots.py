"""Pictures of runs, made with matplotlib so that a saved notebook keeps them.

Each takes a Trace, a Result, or a frame (`trace.to_dataframe()`; for `ballots`, `trace.ballots_df()`),
also a filtered one or those of several runs concatenated, draws on `ax` or on a figure of its own, and
returns the Axes. Colours are those of the matplotlib style in force, so light and dark ones both work.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from math import nan
from statistics import fmean
from types import SimpleNamespace
from typing import Any, TypeVar

import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from composite_lab.notebook import text as words
from composite_lab.trace.call import Call, label
from composite_lab.trace.model import Result, Trace
from composite_lab.trace.summary import critical_path, is_unpriced, total_cost

LABEL_CHARS = 36
"""How much of a name a label shows, in characters."""
BY = ("stage", "request_model")
TOKEN_KINDS = {
    "prompt (fresh)": ("C0", 0.85), "prompt (cached)": ("C0", 0.4),
    "completion (answer)": ("C1", 0.85), "completion (reasoning)": ("C1", 0.4),
}  # fmt: skip
HATCH = "////"
VERBATIM: dict[str, Any] = {"parse_math": False, "usetex": False}
"""For texts that nobody vouches for: a dollar in them begins no formula."""
# matplotlib's own font has no pictures of control characters and would warn at every drawing.
NO_PICTURES = dict.fromkeys(range(0x2400, 0x2422), "\N{REPLACEMENT CHARACTER}")
Name = TypeVar("Name", bound=Hashable)
Entry = tuple[str, Artist]
Part = tuple[str, Any, Sequence[float]]
TIMED = (
    "trace_id", "call_id", "parent_call_id", "stage", "role", "round", "seat", "sample", "attempt",
    "request_model", "status", "error_type", "start_offset_s", "latency_s", "time_to_first_token_s",
)  # fmt: skip
PRICED = ("stage", "status", "usage_source", "cost_usd")
COUNTED = (
    "stage", "status", "usage_source", "prompt_tokens", "completion_tokens", "cached_tokens",
    "reasoning_tokens",
)  # fmt: skip
RANKED = ("trace_id", "reviewer", "candidate", "rank", "status", "place")


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
    ax = _axes(ax, "time since the start of the run (s)", "calls", height=1.2 + 0.25 * len(calls))
    if not calls:
        return _nothing(ax, "no calls")
    ink, colours = _ink(ax), _colours(call.stage for call in calls)
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
            _beside(ax, end, row, _plain(call.error_type or call.status))
    legend: list[Entry] = [
        (_plain(stage), Patch(facecolor=(colour, 0.7), edgecolor=colour)) for stage, colour in colours.items()
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
    _name_rows(ax, _call_names(calls))
    # Room for the words beside a bar that failed late.
    wide = [end + 0.25 * max(ends) for call, end in zip(calls, ends, strict=True) if call.status != "ok"]
    ax.set_xlim(0, max([1.04 * max(ends), *wide]) or 1)
    _legend(ax, legend)
    return ax


def cost(what: Any, *, by: str | Sequence[str] = BY, ax: Axes | None = None) -> Axes:
    """What the calls cost in USD: a bar for each value of the first column of `by`, stacked by the second.

    Calls whose price nobody knows are counted beside the bar. Calls to a composite and calls of tools
    have no price of their own and are left out.
    """
    columns = _columns(by, most=2)
    calls = _own(_calls(what, PRICED + columns))
    bars = _grouped(calls, columns[:1])
    colours = _colours(_grouped(calls, columns[1:]))
    high = max(1.2 + 0.55 * len(bars), 0.6 + 0.25 * len(colours))
    ax = _axes(ax, "cost (USD)", _title(columns[:1]), height=high)
    if not calls:
        return _nothing(ax, "no calls")
    stacked = [_grouped(bar, columns[1:]) for bar in bars.values()]
    parts = [
        (_names(part), (colour, 0.8), [total_cost(groups.get(part, [])) or 0.0 for groups in stacked])
        for part, colour in colours.items()
    ]
    notes = []
    for bar in bars.values():
        total, unknown = total_cost(bar), sum(map(is_unpriced, bar))
        failed = sum(call.cost_usd is None for call in bar) - unknown
        notes.append(_note(None if total is None else words.usd(total), "price", unknown, failed))
    legend = _stack(ax, list(map(_names, bars)), parts, notes)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda usd, _: f"{usd:.10f}".rstrip("0").rstrip(".")))
    if columns[1:] and legend:
        _legend(ax, legend, _title(columns[1:]))
    return ax


def tokens(what: Any, *, by: str | Sequence[str] = BY, ax: Axes | None = None) -> Axes:
    """The tokens of the calls: a bar for each value of the columns `by`, stacked by kind of token.

    Cached tokens are a part of the prompt and reasoning tokens of the completion: each is drawn once.
    Calls whose usage nobody knows are counted beside the bar.
    """
    columns = _columns(by)
    calls = _own(_calls(what, COUNTED + columns))
    bars = _grouped(calls, columns)
    ax = _axes(ax, "tokens", _title(columns), height=1.2 + 0.55 * len(bars))
    if not calls:
        return _nothing(ax, "no calls")
    sums, notes = [], []
    for bar in bars.values():
        sums.append([sum(kind) for kind in zip(*map(_kinds, bar), strict=True)])
        counted = sum(_is_counted(call) for call in bar)
        failed = sum(call.status == "error" and not _is_counted(call) for call in bar)
        total = words.tokens(sum(sums[-1])) if counted else None
        notes.append(_note(total, "usage", len(bar) - counted - failed, failed))
    widths = zip(*sums, strict=True)
    parts = [(kind, shade, list(own)) for (kind, shade), own in zip(TOKEN_KINDS.items(), widths, strict=True)]
    legend = _stack(ax, list(map(_names, bars)), parts, notes)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    if legend:
        _legend(ax, legend)
    return ax


def ballots(what: Any, *, ax: Axes | None = None) -> Axes:
    """How each reviewer ranked each candidate: 1 is best; over several runs, the mean of the ranks.

    Hatched is what a reviewer was not shown, like its own answer. A ballot without a ranking is named
    beside its reviewer, and its cells have a dash.
    """
    what = what.trace if isinstance(what, Result) else what
    rows = _rows(what.ballots_df() if isinstance(what, Trace) else what, RANKED, "trace.ballots_df()")
    reviewers, candidates = (
        sorted({getattr(row, name) for row in rows}) for name in ("reviewer", "candidate")
    )
    runs = len({row.trace_id for row in rows})
    rank = "rank" if runs <= 1 else f"mean rank over {runs} runs"
    size = {"height": 1.4 + 0.6 * len(reviewers), "width": 6 + 1.2 * len(candidates)}
    ax = _axes(ax, f"candidate (in the cells its {rank}, 1 is best)", "reviewer", **size)
    if not rows:
        return _nothing(ax, "no ballots")
    ranks: dict[tuple[int, int], list[int]] = {}
    for row in rows:
        ranks.setdefault((row.reviewer, row.candidate), []).extend([] if row.rank is None else [row.rank])
    means = [[fmean(ranks.get((r, c)) or [nan]) for c in candidates] for r in reviewers]
    # Pale enough for the style's own text colour to be read on each of them.
    shades = LinearSegmentedColormap.from_list("ranks", [to_rgba("C0", 0.6), to_rgba("C0", 0.08)])
    worst = max((row.rank for row in rows if row.rank is not None), default=1)
    ax.imshow(means, cmap=shades, vmin=1, vmax=max(worst, 2), aspect="auto")
    ink, unseen = _ink(ax), None
    for y, reviewer in enumerate(reviewers):
        for x, candidate in enumerate(candidates):
            if (reviewer, candidate) in ranks:
                rank = f"{means[y][x]:.3g}" if ranks[reviewer, candidate] else "—"
                ax.text(x, y, rank, ha="center", va="center", color=ink)
            else:
                blank = Rectangle(
                    (x - 0.5, y - 0.5), 1, 1, fill=False, hatch=HATCH, edgecolor=(ink, 0.3), lw=0
                )
                unseen = ax.add_patch(blank)
    ax.set_xticks(range(len(candidates)), [_candidate_name(rows, one, runs) for one in candidates])
    ax.set_yticks(range(len(reviewers)), [_reviewer_name(rows, one, runs) for one in reviewers])
    # Gaps between the cells, as wide as the line that is drawn over them.
    ax.set_xticks([x + 0.5 for x in range(len(candidates) - 1)], minor=True)
    ax.set_yticks([y + 0.5 for y in range(len(reviewers) - 1)], minor=True)
    ax.grid(False)
    ax.grid(which="minor", color=ax.get_facecolor(), linewidth=3)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    if unseen:
        _legend(ax, [("not shown (own answer, or none)", unseen)])
    return ax


def _calls(what: Any, needed: Sequence[str]) -> list[Any]:
    """Calls, or a frame's rows that look like them: unknown is None in both."""
    what = what.trace if isinstance(what, Result) else what
    if not isinstance(what, Trace):
        return _rows(what, needed, "trace.to_dataframe()")
    _check_columns(needed, list(Call.model_fields), "a trace's calls")
    return list(what.calls)


def _rows(frame: Any, needed: Sequence[str], source: str) -> list[Any]:
    if not (hasattr(frame, "columns") and hasattr(frame, "notna")):
        raise TypeError(
            f"cannot draw a {type(frame).__name__}: give a Trace, a Result or a frame like {source} "
            "(pandas.concat puts those of several runs together)"
        )
    _check_columns(needed, list(frame.columns), f"the frame (it should be like {source})")
    columns = {
        name: [
            value if known else None for value, known in zip(frame[name], frame[name].notna(), strict=True)
        ]
        for name in dict.fromkeys(needed)
    }
    cells = zip(*columns.values(), strict=True)
    return [SimpleNamespace(**dict(zip(columns, row, strict=True))) for row in cells]


def _check_columns(needed: Iterable[str], there: Sequence[Any], place: str) -> None:
    missing = [name for name in needed if name not in there]
    if missing:
        raise ValueError(
            f"no {', '.join(map(repr, missing))} in {place}; there are {', '.join(map(str, there))}"
        )


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


def _stack(ax: Axes, bars: Sequence[str], parts: Sequence[Part], notes: Sequence[str]) -> list[Entry]:
    """Horizontal bars, each with its parts one behind another and its note; the legend's entries."""
    entries: list[Entry] = []
    ends = [0.0] * len(bars)
    for name, shade, widths in parts:
        drawn = [row for row, width in enumerate(widths) if width]
        if drawn:
            ax.barh(
                drawn, [widths[row] for row in drawn], left=[ends[row] for row in drawn], height=0.6,
                color=[shade], edgecolor=ax.get_facecolor(), linewidth=0.8, zorder=2,
            )  # fmt: skip
            ends = [end + width for end, width in zip(ends, widths, strict=True)]
            entries.append((name, Patch(color=shade)))
    for row, (end, note) in enumerate(zip(ends, notes, strict=True)):
        _beside(ax, end, row, note)
    _name_rows(ax, bars)
    ax.xaxis.set_major_locator(MaxNLocator(5) if any(ends) else FixedLocator([0]))
    ax.set_xlim(0, 1.6 * max(ends) or 1)
    return entries


def _note(total: str | None, of: str, unknown: int, failed: int) -> str:
    """What stands behind a bar: its sum, and how many calls are not in it."""
    lines = [total] if total else []
    plus = "+ " if total else ""
    lines += [f"{plus}{unknown} call{'s' * (unknown > 1)} of unknown {of}"] if unknown else []
    lines += [f"{plus}{failed} failed without {of}"] if failed else []
    return "\n".join(lines)


def _call_names(calls: Sequence[Any]) -> list[str]:
    """Role, seat and model, and what else tells a run's calls apart; an arrow for each call above."""
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
        who = ", ".join([f"{_plain(call.role)} {call.seat + 1}", *which])
        names.append(f"{'↳ ' * depth}{who} · {_plain(call.request_model)}")
    return names


def _candidate_name(rows: Sequence[Any], candidate: int, runs: int) -> str:
    place = next((row.place for row in rows if row.candidate == candidate), None)
    return label(candidate) + (f"\nplace {place}" if runs == 1 and place is not None else "")


def _reviewer_name(rows: Sequence[Any], reviewer: int, runs: int) -> str:
    ballots = {row.trace_id: row.status for row in rows if row.reviewer == reviewer}
    bad = [status for status in ballots.values() if status not in ("valid", "repaired")]
    if not bad:
        return str(reviewer + 1)
    return f"{reviewer + 1}\n" + (
        f"{bad[0]} ballot" if runs == 1 else f"{len(bad)} of {len(ballots)} ballots\ninvalid or failed"
    )


def _plain(text: object) -> str:
    return words.one_line(str(text), LABEL_CHARS).translate(NO_PICTURES)


def _names(values: Iterable[str]) -> str:
    return " · ".join(map(_plain, values))


def _title(columns: Sequence[str]) -> str:
    return ", ".join(_plain(column).replace("_", " ") for column in columns)


def _axes(ax: Axes | None, x: str, y: str, *, height: float, width: float = 11) -> Axes:
    if ax is None:
        # Higher pictures than this cannot be rendered.
        _, ax = plt.subplots(figsize=(width, min(max(height, 2.2), 300)), layout="constrained")
    elif not isinstance(ax, Axes):
        raise TypeError(f"ax={ax!r}: give one matplotlib Axes, like that of `_, ax = plt.subplots()`")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.set_xlabel(x)
    ax.set_ylabel(y, **VERBATIM)
    ax.grid(axis="x", alpha=0.3)
    ax.set_axisbelow(True)
    return ax


def _nothing(ax: Axes, why: str) -> Axes:
    ax.set(xticks=[], yticks=[])
    ax.text(0.5, 0.5, why, ha="center", va="center", color=_ink(ax), transform=ax.transAxes)
    return ax


def _ink(ax: Axes) -> Any:
    return ax.xaxis.label.get_color()


def _colours(names: Iterable[Name]) -> dict[Name, Any]:
    """A colour for each name: those of the style, or if it has too few, steps of a colour map."""
    distinct = list(dict.fromkeys(names))
    cycle = plt.rcParams["axes.prop_cycle"].by_key().get("color", ["C0"])
    if len(distinct) > len(cycle):
        cycle = plt.get_cmap("turbo")([step / len(distinct) for step in range(len(distinct))])
    return dict(zip(distinct, cycle, strict=False))


def _name_rows(ax: Axes, names: Sequence[str]) -> None:
    ax.set_yticks(range(len(names)), names, **VERBATIM)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)


def _beside(ax: Axes, x: float, y: float, text: str) -> None:
    ax.annotate(
        text, (x, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize="small",
        color=_ink(ax), **VERBATIM,
    )  # fmt: skip


def _legend(ax: Axes, entries: Sequence[Entry], title: str | None = None) -> None:
    # Names are put in afterwards: matplotlib before 3.10 leaves out those that begin with an underscore.
    legend = ax.legend(
        [handle for _, handle in entries], ["."] * len(entries), title=title, frameon=False,
        loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, alignment="left",
    )  # fmt: skip
    legend.get_title().set(**VERBATIM)
    for text, (name, _) in zip(legend.get_texts(), entries, strict=True):
        text.set(text=name, **VERBATIM)
