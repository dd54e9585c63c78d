"""What pictures are drawn with: axes, rows with names, stacked bars, legends, texts made safe for them.

Names come from models, files and users: none of them begins a formula, hides or runs over the picture.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any, TypeVar

import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator

from composite_lab.notebook import text as words

LABEL_CHARS = 36
"""How much of a name a label shows, in characters."""
HATCH = "////"
VERBATIM: dict[str, Any] = {"parse_math": False, "usetex": False}
"""For texts that nobody vouches for: a dollar in them begins no formula."""
# matplotlib's own font has no pictures of control characters and would warn at every drawing.
NO_PICTURES = dict.fromkeys(range(0x2400, 0x2422), "\N{REPLACEMENT CHARACTER}")
Name = TypeVar("Name", bound=Hashable)
Entry = tuple[str, Artist]
"""A legend's entry."""
Part = tuple[str, Any, Sequence[float]]
"""A part of every bar: its name, its shade, its width in each."""


def axes_for(ax: Axes | None, x: str, y: str, *, height: float, width: float = 11) -> Axes:
    """The Axes given, or those of a new figure of that size in inches, in the style of all pictures."""
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


def put_legend(ax: Axes, entries: Sequence[Entry], title: str | None = None) -> None:
    """A legend at the right of the picture."""
    # Names are put in afterwards: matplotlib before 3.10 leaves out those that begin with an underscore.
    legend = ax.legend(
        [handle for _, handle in entries], ["."] * len(entries), title=title, frameon=False,
        loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, alignment="left",
    )  # fmt: skip
    legend.get_title().set(**VERBATIM)
    for text, (name, _) in zip(legend.get_texts(), entries, strict=True):
        text.set(text=name, **VERBATIM)


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Names at the rows, the first at the top."""
    ax.set_yticks(range(len(names)), names, **VERBATIM)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)


def stacked_bars(ax: Axes, bars: Sequence[str], parts: Sequence[Part], notes: Sequence[str]) -> list[Entry]:
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
        write_beside(ax, end, row, note)
    name_rows(ax, bars)
    ax.xaxis.set_major_locator(MaxNLocator(5) if any(ends) else FixedLocator([0]))
    ax.set_xlim(0, 1.6 * max(ends) or 1)
    return entries


def write_beside(ax: Axes, x: float, y: float, text: str) -> None:
    """A few words at the right of a point."""
    ax.annotate(
        text, (x, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize="small",
        color=ink_of(ax), **VERBATIM,
    )  # fmt: skip


def note_on(total: str | None, of: str, unknown: int, failed: int) -> str:
    """What stands behind a bar: its sum, and how many calls are not in it."""
    lines = [total] if total else []
    plus = "+ " if total else ""
    lines += [f"{plus}{unknown} call{'s' * (unknown > 1)} of unknown {of}"] if unknown else []
    lines += [f"{plus}{failed} failed without {of}"] if failed else []
    return "\n".join(lines)


def cells_of(ax: Axes, columns: int, rows: int) -> None:
    """Gaps between the cells of a matrix, as wide as the line that is drawn over them."""
    ax.set_xticks([x + 0.5 for x in range(columns - 1)], minor=True)
    ax.set_yticks([y + 0.5 for y in range(rows - 1)], minor=True)
    ax.grid(False)
    ax.grid(which="minor", color=ax.get_facecolor(), linewidth=3)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)


def plain_usd(value: float, _: object = None) -> str:
    """An amount at a tick: without an exponent and without zeros at its end."""
    return f"{value:.10f}".rstrip("0").rstrip(".")


def nothing(ax: Axes, why: str) -> Axes:
    """Empty Axes that say why they are."""
    ax.set(xticks=[], yticks=[])
    ax.text(0.5, 0.5, why, ha="center", va="center", color=ink_of(ax), transform=ax.transAxes)
    return ax


def colours_of(names: Iterable[Name]) -> dict[Name, Any]:
    """A colour for each name: those of the style, or if it has too few, steps of a colour map."""
    distinct = list(dict.fromkeys(names))
    cycle = plt.rcParams["axes.prop_cycle"].by_key().get("color", ["C0"])
    if len(distinct) > len(cycle):
        cycle = plt.get_cmap("turbo")([step / len(distinct) for step in range(len(distinct))])
    return dict(zip(distinct, cycle, strict=False))


def ink_of(ax: Axes) -> Any:
    """The colour that the style writes in."""
    return ax.xaxis.label.get_color()


def plain(text: object) -> str:
    """A name short enough for a label, without what a font has no picture of."""
    return words.one_line(str(text), LABEL_CHARS).translate(NO_PICTURES)


def joined(values: Iterable[str]) -> str:
    """Several names as one label."""
    return " · ".join(map(plain, values))


def title_of(columns: Sequence[str]) -> str:
    """Names of columns as people read them."""
    return ", ".join(plain(column).replace("_", " ") for column in columns)


def rows_of(frame: Any, needed: Sequence[str], source: str, instead: str = "a Trace, a Result") -> list[Any]:
    """A frame's rows with the columns that are needed as attributes; unknown is None."""
    if not (hasattr(frame, "columns") and hasattr(frame, "notna")):
        raise TypeError(
            f"cannot draw a {type(frame).__name__}: give {instead} or a frame like {source} "
            "(pandas.concat puts those of several runs together)"
        )
    check_columns(needed, list(frame.columns), f"the frame (it should be like {source})")
    columns = {
        name: [
            value if known else None for value, known in zip(frame[name], frame[name].notna(), strict=True)
        ]
        for name in dict.fromkeys(needed)
    }
    cells = zip(*columns.values(), strict=True)
    return [SimpleNamespace(**dict(zip(columns, row, strict=True))) for row in cells]


def check_columns(needed: Iterable[str], there: Sequence[Any], place: str) -> None:
    """Raise ValueError when a column is missing."""
    missing = [name for name in needed if name not in there]
    if missing:
        raise ValueError(
            f"no {', '.join(map(repr, missing))} in {place}; there are {', '.join(map(str, there))}"
        )
