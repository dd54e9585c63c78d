"""Pictures of comparisons: quality against price, latencies, and who beats whom.

Each takes a Comparison or the frame named, draws on `ax` or on a figure of its own, and returns the Axes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import ScaledTranslation

from composite_lab.batch.runs import FINISHED
from composite_lab.interrupts import interrupts_held
from composite_lab.notebook.drawing import (
    HATCH,
    VERBATIM,
    Entry,
    axes_for,
    cells_of,
    colours_of,
    ink_of,
    joined,
    name_rows,
    nothing,
    plain,
    plain_usd,
    put_legend,
    rows_of,
    write_beside,
)

JUDGED = ("strategy", "cost_usd", "score", "score_low", "score_high")
TIMED = ("strategy", "status", "latency_s")
ONE = "a Comparison"
MOST_DOTS = 500
"""How many runs of a strategy have a dot of their own."""
_CLOSE = 0.02  # of the axis: points nearer than that are drawn beside each other
_APART = 7.0  # how far, in points


def cost_quality(what: Any, *, ax: Axes | None = None) -> Axes:
    """What each strategy costs per run in USD, and how well it scores, with 95 % intervals.

    Filled points lie on the Pareto front, the dotted line: nothing else is as good for less. Points of
    about the same cost are moved a little apart. The frame is that of `comparison.summary()`.
    """
    with interrupts_held():
        from composite_lab.batch.stats import pareto_front  # scipy and statsmodels, as below

    frame = what.summary() if _is_comparison(what) else what
    rows = rows_of(frame, JUDGED, "comparison.summary()", ONE)
    known = [row for row in rows if row.cost_usd is not None and row.score is not None]
    ax = axes_for(ax, "cost per run (USD)", "mean score, with its 95 % interval", height=4.6, width=9)
    ax.grid(axis="both", alpha=0.3)
    if not known:
        return nothing(ax, "no strategy has a score and a known cost" if rows else "no strategies")
    colours = colours_of(row.strategy for row in rows)
    on_front = pareto_front([(row.cost_usd, row.score) for row in known])
    front = sorted((row.cost_usd, row.score) for row, on in zip(known, on_front, strict=True) if on)
    line = ax.plot(*zip(*front, strict=True), ":", color=(ink_of(ax), 0.6), linewidth=1.5, zorder=1)[0]
    widest = max(row.cost_usd for row in known)
    legend: list[Entry] = []
    for row, on, shift in zip(known, on_front, _shifts([row.cost_usd for row in known]), strict=True):
        colour = colours[row.strategy]
        moved = ax.transData + ScaledTranslation(shift / 72, 0, ax.figure.dpi_scale_trans)
        if row.score_low is not None and row.score_high is not None:
            ends = (row.score_low, row.score_high)
            ax.plot([row.cost_usd] * 2, ends, color=(colour, 0.55), linewidth=3, zorder=2, transform=moved)
        look: dict[str, Any] = {"markersize": 9, "markeredgewidth": 2, "color": colour}
        look["markerfacecolor"] = colour if on else ax.get_facecolor()
        ax.plot([row.cost_usd], [row.score], "o", zorder=3, transform=moved, **look)
        legend.append((plain(row.strategy), Line2D([], [], marker="o", linestyle="", **look)))
    legend.append(("Pareto front", line))
    ax.set_xlim(0, 1.12 * widest or 1)
    ax.set_ylim(*_score_limits(known))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(FuncFormatter(plain_usd))
    put_legend(ax, legend)
    if unknown := [row.strategy for row in rows if row not in known]:
        _below(ax, f"Not shown, because cost or score is unknown: {joined(unknown)}")
    return ax


def latencies(what: Any, *, ax: Axes | None = None) -> Axes:
    """How long the runs of each strategy took, in seconds along their critical paths: a dot per run.

    The bar spans the middle half, its line is the median; percentiles stand beside it. Runs that did not
    finish are counted only. The frame is that of `comparison.to_dataframe()`.
    """
    frame = what.to_dataframe() if _is_comparison(what) else what
    rows = rows_of(frame, TIMED, "comparison.to_dataframe()", ONE)
    strategies = list(dict.fromkeys(row.strategy for row in rows))
    ax = axes_for(ax, "latency of a run (s)", "strategy", height=1.3 + 0.75 * len(strategies))
    if not rows:
        return nothing(ax, "no runs")
    ends = [0.0]
    for place, (strategy, colour) in enumerate(colours_of(strategies).items()):
        runs = [row for row in rows if row.strategy == strategy]
        times = sorted(row.latency_s for row in runs if row.status in FINISHED and row.latency_s is not None)
        if times:
            _spread(ax, place, times, colour)
            ends.append(times[-1])
        write_beside(ax, times[-1] if times else 0.0, place, _told(times, len(runs)))
    name_rows(ax, list(map(plain, strategies)))
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.set_xlim(0, 1.6 * max(ends) or 1)
    return ax


def wins(what: Any, *, ax: Axes | None = None) -> Axes:
    """On which share of the prompts the strategy of a row beats that of a column; a tie is half a win.

    The frame is that of `comparison.win_rates()`.
    """
    frame = what.win_rates() if _is_comparison(what) else what
    rows_of(frame, (), "comparison.win_rates()", ONE)
    names, rivals = list(frame.index), list(frame.columns)
    size = {"height": 1.3 + 0.6 * len(names), "width": 4 + 1.2 * len(rivals)}
    ax = axes_for(ax, "… beats this one, on that share of the prompts", "this strategy …", **size)
    if not names:
        return nothing(ax, "no strategies")
    rates = frame.astype("Float64").to_numpy(dtype=float, na_value=float("nan"))
    # Pale enough for the style's own text colour to be read on each of them.
    ends = [to_rgba("C1", 0.7), to_rgba("C1", 0), to_rgba("C0", 0), to_rgba("C0", 0.7)]
    shades = LinearSegmentedColormap.from_list("wins", list(zip((0, 0.5, 0.5, 1), ends, strict=True)))
    ax.imshow(rates, cmap=shades, vmin=0, vmax=1, aspect="auto")
    for y, own in enumerate(rates):
        for x, rate in enumerate(own):
            if rate == rate:  # noqa: PLR0124  (not NaN)
                ax.text(x, y, f"{rate:.0%}".replace("%", " %"), ha="center", va="center", color=ink_of(ax))
            else:
                ax.add_patch(
                    Rectangle(
                        (x - 0.5, y - 0.5), 1, 1, fill=False, hatch=HATCH, edgecolor=(ink_of(ax), 0.25), lw=0
                    )
                )
    ax.set_xticks(range(len(rivals)), list(map(plain, rivals)), **VERBATIM)
    ax.set_yticks(range(len(names)), list(map(plain, names)), **VERBATIM)
    cells_of(ax, len(rivals), len(names))
    return ax


def _is_comparison(what: Any) -> bool:
    from composite_lab.batch.comparison import Comparison

    return isinstance(what, Comparison)


def _spread(ax: Axes, place: int, times: Sequence[float], colour: Any) -> None:
    drawn = times[:: -(-len(times) // MOST_DOTS)]
    scatter = random.Random(0)
    heights = [place + scatter.uniform(-0.26, 0.26) for _ in drawn]
    ax.plot(drawn, heights, "o", color=colour, alpha=0.35, markersize=4, markeredgewidth=0, zorder=2)
    first, middle, last = (times[round(share * (len(times) - 1))] for share in (0.25, 0.5, 0.75))
    ax.barh(place, last - first, left=first, height=0.62, color=[(colour, 0.25)], edgecolor=colour, zorder=1)
    ax.plot([middle] * 2, [place - 0.31, place + 0.31], color=colour, linewidth=2.5, zorder=3)


def _told(times: Sequence[float], runs: int) -> str:
    """The percentiles of a strategy's runs, and how many are not in them."""
    with interrupts_held():
        from composite_lab.batch.stats import percentiles

    found = [f"{name} {value:.2f} s" for name, value in percentiles(times).items() if value is not None]
    missing = runs - len(times)
    return "\n".join(
        [*(["  ".join(found)] if found else []), *([f"{missing} not finished"] if missing else [])]
    )


def _shifts(costs: Sequence[float]) -> list[float]:
    """How far each point is moved aside, in points, so that those of one cost can be told apart."""
    near = _CLOSE * max(costs)
    shifts = []
    for place, cost in enumerate(costs):
        alike = [other for other, its in enumerate(costs) if abs(its - cost) <= near]
        shifts.append(_APART * (alike.index(place) - (len(alike) - 1) / 2))
    return shifts


def _score_limits(rows: Sequence[Any]) -> tuple[float, float]:
    """From the lowest end of an interval to the highest, with some air."""
    seen = [end for row in rows for end in (row.score, row.score_low, row.score_high) if end is not None]
    low, high = min(seen), max(seen)
    air = 0.1 * (high - low) or 0.1
    return max(low - air, -0.03) if low >= 0 else low - air, min(
        high + air, 1.03
    ) if high <= 1 else high + air


def _below(ax: Axes, text: str) -> None:
    ax.annotate(
        text, (0, 0), xycoords="axes fraction", xytext=(0, -48), textcoords="offset points", va="top",
        fontsize="small", color=ink_of(ax), **VERBATIM,
    )  # fmt: skip
