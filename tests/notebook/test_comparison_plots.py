"""What the pictures of comparisons say, read from the Axes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

import composite_lab as lab
from composite_lab.notebook.comparison_plots import MOST_DOTS
from tests.batch.test_evidence import add, made

HOSTILE = ["$\\frac{$", "_hidden", "a\nb\tc", "\x1b[31mred", "\u202eevil", "%", "", "x" * 5_000]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def drawn(ax: Axes) -> Axes:
    ax.figure.canvas.draw()
    return ax


def summary(*rows: tuple[Any, ...]) -> pd.DataFrame:
    names = ["strategy", "cost_usd", "score", "score_low", "score_high"]
    return pd.DataFrame(rows, columns=names).convert_dtypes()


def points(ax: Axes) -> list[Any]:
    return [line for line in ax.lines if line.get_marker() == "o"]


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    return [text.get_text() for text in found.get_texts()] if found else []


def test_points_stand_at_cost_and_score_and_the_filled_ones_are_on_the_front() -> None:
    frame = summary(("cheap", 0.1, 0.5, 0.4, 0.6), ("poor", 0.2, 0.4, 0.3, 0.5), ("dear", 0.3, 0.9, 0.8, 1.0))
    ax = drawn(lab.plots.cost_quality(frame))
    found = points(ax)
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in found] == [
        (0.1, 0.5),
        (0.2, 0.4),
        (0.3, 0.9),
    ]
    filled = [to_rgba(line.get_markerfacecolor()) == to_rgba(line.get_color()) for line in found]
    assert filled == [True, False, True]
    front = next(line for line in ax.lines if line.get_linestyle() == ":")
    assert list(front.get_xdata()) == [0.1, 0.3]
    assert legend(ax) == ["cheap", "poor", "dear", "Pareto front"]
    assert "USD" in ax.get_xlabel()


def test_intervals_are_drawn_where_there_are_some() -> None:
    ax = lab.plots.cost_quality(summary(("m", 0.1, 0.5, 0.4, 0.6), ("n", 0.2, 0.5, None, None)))
    bars = [list(line.get_ydata()) for line in ax.lines if line.get_linewidth() == 3]
    assert bars == [[0.4, 0.6]]


def test_points_of_one_cost_are_drawn_beside_each_other_and_keep_their_cost() -> None:
    ax = drawn(lab.plots.cost_quality(summary(("m", 0.1, 0.5, 0.4, 0.6), ("n", 0.1, 0.5, 0.4, 0.6))))
    first, second = points(ax)
    assert first.get_xdata()[0] == second.get_xdata()[0] == 0.1
    places = [line.get_transform().transform((0.1, 0.5))[0] for line in (first, second)]
    assert places[1] - places[0] > 5


def test_a_strategy_of_unknown_cost_is_named_and_not_drawn_at_zero() -> None:
    ax = drawn(lab.plots.cost_quality(summary(("m", 0.1, 0.5, 0.4, 0.6), ("mystery", None, 0.9, 0.8, 1))))
    assert len(points(ax)) == 1
    assert "unknown: mystery" in ax.texts[0].get_text()
    nothing = lab.plots.cost_quality(summary(("mystery", None, 0.9, 0.8, 1)))
    assert "known cost" in nothing.texts[0].get_text()


def test_a_comparison_is_drawn_like_its_frames() -> None:
    comparison = made({"a": [1, 0], "b": [1, 1]})
    for plot, frame in (
        (lab.plots.cost_quality, comparison.summary()),
        (lab.plots.latencies, comparison.to_dataframe()),
        (lab.plots.wins, comparison.win_rates()),
    ):
        whole, part = drawn(plot(comparison)), drawn(plot(frame))
        assert [line.get_xydata().tolist() for line in whole.lines] == [
            line.get_xydata().tolist() for line in part.lines
        ]
        assert [text.get_text() for text in whole.texts] == [text.get_text() for text in part.texts]


def test_latencies_have_a_dot_per_run_and_percentiles_and_count_what_did_not_finish() -> None:
    comparison = made({"m": [1, 1, 1, "error"], "n": ["error"] * 4})
    for number, latency in enumerate((1.0, 2.0, 4.0)):
        add(comparison, "m", number, 1, latency_s=latency)
    ax = drawn(lab.plots.latencies(comparison))
    assert list(points(ax)[0].get_xdata()) == [1.0, 2.0, 4.0]
    assert [text.get_text() for text in ax.texts] == [
        "p50 2.00 s  p90 3.60 s  p99 3.96 s\n1 not finished", "4 not finished",
    ]  # fmt: skip
    assert [text.get_text() for text in ax.get_yticklabels()] == ["m", "n"]
    assert "(s)" in ax.get_xlabel()


def test_of_very_many_runs_some_have_dots() -> None:
    frame = pd.DataFrame({"strategy": "m", "status": "ok", "latency_s": range(10 * MOST_DOTS)})
    assert len(points(lab.plots.latencies(frame))[0].get_xdata()) == MOST_DOTS


def test_wins_say_who_beats_whom() -> None:
    ax = drawn(lab.plots.wins(made({"a": [1, 1, 0, 0], "b": [1, 0, 0, 0]})))
    told = {tuple(map(round, text.get_position())): text.get_text() for text in ax.texts}
    assert told == {(1, 0): "62 %", (0, 1): "38 %"}  # column, row
    assert len([patch for patch in ax.patches if patch.get_hatch()]) == 2


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_hostile_names_are_drawn_as_they_are(style: str) -> None:
    comparison = made({name: [1, 0] for name in HOSTILE})
    with plt.style.context(style):
        for plot in (lab.plots.cost_quality, lab.plots.latencies, lab.plots.wins):
            ax = drawn(plot(comparison))
            names = [*legend(ax), *(text.get_text() for text in (*ax.get_yticklabels(), *ax.texts))]
            assert max(map(len, names)) < 120


def test_ax_is_drawn_on_and_anything_else_is_refused() -> None:
    comparison = made({"a": [1, 0], "b": [1, 1]})
    _, ax = plt.subplots()
    assert lab.plots.wins(comparison, ax=ax) is ax
    with pytest.raises(TypeError, match="a Comparison or a frame"):
        lab.plots.cost_quality(3)
    with pytest.raises(ValueError, match="'cost_usd'"):
        lab.plots.cost_quality(comparison.win_rates().reset_index())
    empty = pd.DataFrame(columns=["strategy", "status", "latency_s"])
    assert lab.plots.latencies(empty).texts[0].get_text() == "no runs"
