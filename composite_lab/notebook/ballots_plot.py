"""A picture of ballots: who ranked or scored whom how."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from statistics import fmean
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.patches import Rectangle

from composite_lab.notebook import text as words
from composite_lab.notebook.drawing import (
    HATCH,
    axes_for,
    cells_of,
    ink_of,
    nothing,
    put_legend,
    rows_of,
)
from composite_lab.trace.call import label
from composite_lab.trace.model import Result, Trace

RANKED = ("trace_id", "reviewer", "candidate", "rank", "status", "place")
NEWER = ("score", "is_self")
"""Columns that older frames do not have."""
UNSEEN = "not shown (own answer, or none)"
_STRONG, _PALE = 0.6, 0.08  # pale enough for the style's own text colour to be read on each of them


class Cell(NamedTuple):
    """What one reviewer made of one candidate, in one run or in several."""

    numbers: list[float]
    own: bool


def ballots(what: Any, *, ax: Axes | None = None) -> Axes:
    """How each reviewer ranked each candidate: 1 is best; over several runs, the mean of the ranks.

    Of a review by a rubric it shows the mean scores instead, the higher the better; where only some of
    several runs have scores, ranks. Hatched is what a reviewer was not shown, like its own answer, which
    is marked where it was. A ballot without a ranking or scores is named beside its reviewer, and its
    cells have a dash.
    """
    what = what.trace if isinstance(what, Result) else what
    frame = what.ballots_df() if isinstance(what, Trace) else what
    newer = [name for name in NEWER if name in getattr(frame, "columns", ())]
    rows = rows_of(frame, [*RANKED, *newer], "trace.ballots_df()")
    reviewers, candidates = (
        sorted({getattr(row, name) for row in rows}) for name in ("reviewer", "candidate")
    )
    runs, ranked = len({row.trace_id for row in rows}), [row for row in rows if row.rank is not None]
    by_score = bool(ranked) and all(getattr(row, "score", None) is not None for row in ranked)
    shown = "score" if by_score else "rank"
    cells = _cells(rows, shown)
    size = {"height": 1.4 + 0.6 * len(reviewers), "width": 6 + 1.2 * len(candidates)}
    ax = axes_for(ax, f"candidate ({_told(by_score, runs)})", "reviewer", **size)
    if not rows:
        return nothing(ax, "no ballots")
    empty = Cell([], own=False)
    means = [[fmean(cells.get((r, c), empty).numbers or [nan]) for c in candidates] for r in reviewers]
    low, high = _range([getattr(row, shown) for row in ranked], by_score)
    ends = (_PALE, _STRONG) if by_score else (_STRONG, _PALE)
    shades = LinearSegmentedColormap.from_list(shown, [to_rgba("C0", alpha) for alpha in ends])
    ax.imshow(means, cmap=shades, vmin=low, vmax=high, aspect="auto")
    ink, unseen = ink_of(ax), None
    for y, reviewer in enumerate(reviewers):
        for x, candidate in enumerate(candidates):
            cell = cells.get((reviewer, candidate))
            if cell is None:
                blank = Rectangle(
                    (x - 0.5, y - 0.5), 1, 1, fill=False, hatch=HATCH, edgecolor=(ink, 0.3), lw=0
                )
                unseen = ax.add_patch(blank)
                continue
            number = words.score(means[y][x]) if by_score else f"{means[y][x]:.3g}"
            told = (number if cell.numbers else "—") + (" (own)" if cell.own else "")
            ax.text(x, y, told, ha="center", va="center", color=ink)
    ax.set_xticks(range(len(candidates)), [_candidate_name(rows, one, runs) for one in candidates])
    ax.set_yticks(range(len(reviewers)), [_reviewer_name(rows, one, runs) for one in reviewers])
    cells_of(ax, len(candidates), len(reviewers))
    if unseen:
        put_legend(ax, [(UNSEEN, unseen)])
    return ax


def _cells(rows: Sequence[Any], shown: str) -> dict[tuple[int, int], Cell]:
    """The numbers of each reviewer and candidate, none where a ballot holds none."""
    seen: dict[tuple[int, int], list[Any]] = {}
    for row in rows:
        seen.setdefault((row.reviewer, row.candidate), []).append(row)
    return {
        place: Cell(
            [getattr(row, shown) for row in same if row.rank is not None],
            own=all(getattr(row, "is_self", None) for row in same),
        )
        for place, same in seen.items()
    }


def _told(by_score: bool, runs: int) -> str:
    """What the numbers and shades are."""
    if by_score:
        over = "" if runs <= 1 else f" over {runs} runs"
        return f"in the cells its mean score by the rubric{over}, higher is better"
    return f"in the cells its {'rank' if runs <= 1 else f'mean rank over {runs} runs'}, 1 is best"


def _range(numbers: Sequence[float], by_score: bool) -> tuple[float, float]:
    """Between which numbers the shades run; never an empty range."""
    if not by_score:
        return 1, max([*numbers, 2])
    low, high = min(numbers), max(numbers)
    return (low, high) if low < high else (low - 1, high)


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
