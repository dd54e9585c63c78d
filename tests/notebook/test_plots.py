"""What the plots say, read from the Axes and not from pixels: lengths, labels, hatches, legends, counts."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

import composite_lab as lab
from composite_lab import Ballot, Call, Result, Standing, Trace
from composite_lab.notebook import plots
from composite_lab.notebook.ballots_plot import RANKED
from composite_lab.testing import FakeServer
from tests import records
from tests.records import trace

HOSTILE = [
    "$\\frac{$",
    "openai/$x$",
    "_hidden",
    "a\nb\tc",
    "\x1b[31mred",
    "\u202eevil",
    "\ud800",
    "%",
    "",
    "x" * 5_000,
]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def call(call_id: str = "c", start: float = 0.0, latency: float = 1.0, **fields: Any) -> Call:
    return records.call(call_id, start_offset_s=start, latency_s=latency, **fields)


def priced(stage: str, model: str, usd: float | None, **fields: Any) -> Call:
    return call(stage=stage, request_model=model, cost_usd=usd, usage_source="provider", **fields)


def counted(prompt: int | None, completion: int | None, **fields: Any) -> Call:
    return call(prompt_tokens=prompt, completion_tokens=completion, **({"usage_source": "provider"} | fields))


def ballot(reviewer: int, members: list[int], ranking: str | None, status: str = "valid") -> Ballot:
    labels = [f"Response {letter}" for letter in "ABCDE"[: len(members)]]
    ranked = [f"Response {letter}" for letter in ranking] if ranking else None
    return Ballot(reviewer=reviewer, labels=labels, members=members, ranking=ranked, status=status)


def drawn(ax: Axes) -> Axes:
    """After all that a notebook does to show it."""
    ax.figure.canvas.draw()
    return ax


def rows(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_yticklabels()]


def notes(ax: Axes) -> dict[int, str]:
    """The words beside the bars, by row."""
    return {round(text.xy[1]): text.get_text() for text in ax.texts}


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    return [text.get_text() for text in found.get_texts()] if found else []


def widths(ax: Axes) -> dict[str, dict[int, float]]:
    """For each entry of a stacked plot's legend, the length of its bar in each row."""
    found = {}
    for name, bars in zip(legend(ax) or [""], ax.containers, strict=True):
        found[name] = {round(bar.get_y() + bar.get_height() / 2): bar.get_width() for bar in bars}
    return found


RETRIED = trace(
    call("a", 0.0, 2.0, stage="proposals", time_to_first_token_s=0.5),
    call("b0", 0.0, 1.0, seat=1, status="error", error_type="RateLimitError", request_model="openai/b"),
    call("b1", 1.5, 1.0, seat=1, attempt=1, request_model="openai/b"),
    call("c", 0.1, 1.2, seat=2, status="cancelled", request_model="openai/c"),
    call("z", 2.5, 4.0, stage="aggregation", role="aggregator", request_model="openai/z"),
)


# timeline


@pytest.mark.parametrize("as_what", ["trace", "result", "frame"])
def test_timeline_has_a_bar_per_attempt_from_its_start_for_its_latency(as_what: str) -> None:
    what = {
        "trace": RETRIED,
        "result": Result(text="", message={}, trace=RETRIED),
        "frame": RETRIED.to_dataframe(),
    }[as_what]
    ax = drawn(plots.timeline(what))
    bars = [(bar.get_x(), bar.get_width(), round(bar.get_y() + 0.35)) for bar in ax.patches]
    assert bars == [(0.0, 2.0, 0), (0.0, 1.0, 1), (1.5, 1.0, 2), (0.1, 1.2, 3), (2.5, 4.0, 4)]
    assert rows(ax) == [
        "proposer 1 · openai/a",
        "proposer 2 · openai/b",
        "proposer 2, attempt 2 · openai/b",
        "proposer 3 · openai/c",
        "aggregator 1 · openai/z",
    ]
    assert ax.yaxis_inverted()
    assert ax.get_xlabel() == "time since the start of the run (s)"


def test_timeline_has_a_colour_per_stage_and_says_which() -> None:
    ax = plots.timeline(RETRIED)
    colours = [to_rgba(bar.get_facecolor(), 1) for bar in ax.patches]
    assert colours[0] == colours[1] == colours[3] != colours[4]
    assert legend(ax)[:2] == ["proposals", "aggregation"]
    keys = [to_rgba(patch.get_facecolor(), 1) for patch in ax.get_legend().get_patches()[:2]]
    assert keys == [colours[0], colours[4]]


def test_timeline_hatches_what_did_not_succeed_and_names_the_error() -> None:
    ax = plots.timeline(RETRIED)
    assert [bool(bar.get_hatch()) for bar in ax.patches] == [False, True, False, True, False]
    assert notes(ax) == {1: "RateLimitError", 3: "cancelled"}
    assert "failed or cancelled" in legend(ax)
    assert "failed or cancelled" not in legend(plots.timeline(trace(call())))


def test_words_beside_a_late_failure_stay_inside_of_the_picture() -> None:
    ax = drawn(plots.timeline(trace(call(latency=3.0, status="error", error_type="InternalServerError"))))
    (words,) = ax.texts
    assert words.get_window_extent().x1 <= ax.get_window_extent().x1


def test_timeline_marks_the_critical_path_with_a_bold_edge_not_with_colour_alone() -> None:
    ax = plots.timeline(RETRIED)
    bold = [bar.get_linewidth() > 1.5 for bar in ax.patches]
    assert bold == [False, True, True, False, True]
    key = dict(zip(legend(ax), ax.get_legend().get_patches(), strict=False))["critical path"]
    assert key.get_linewidth() > 1.5


def test_timeline_marks_the_first_token_only_where_it_is_known() -> None:
    (marks,) = plots.timeline(RETRIED).lines
    assert list(zip(marks.get_xdata(), marks.get_ydata(), strict=True)) == [(0.5, 0)]
    assert "first token" in legend(plots.timeline(RETRIED))
    ax = plots.timeline(trace(call(start=2.0, time_to_first_token_s=0.25), call(start=1.0)))
    assert list(ax.lines[0].get_xdata()) == [2.25]
    without = plots.timeline(trace(call()))
    assert not without.lines
    assert "first token" not in legend(without)


def test_timeline_tells_rounds_samples_and_calls_of_a_nested_composite_apart() -> None:
    ax = plots.timeline(
        trace(
            call("a", request_model="composite/moa/openai/x"),
            call("b", parent_call_id="a", request_model="openai/x"),
            call("c", sample=1, round=1),
            call("d", parent_call_id="not there", stage="aggregation", role="aggregator"),
        )
    )
    assert rows(ax) == [
        "proposer 1, round 1, sample 1 · composite/moa/openai/x",
        "↳ proposer 1, round 1, sample 1 · openai/x",
        "proposer 1, round 2, sample 2 · openai/a",
        "aggregator 1 · openai/a",
    ]


def test_timeline_of_several_traces_asks_to_choose_one() -> None:
    both = pd.concat([RETRIED.to_dataframe(), trace(call(trace_id="other")).to_dataframe()])
    with pytest.raises(
        ValueError, match=r"has 2: choose one, for example frame\[frame.trace_id == 'other'\]"
    ):
        plots.timeline(both)
    assert len(plots.timeline(both[both.trace_id == "other"]).patches) == 1


def test_timeline_grows_so_that_a_hundred_calls_are_legible() -> None:
    ax = drawn(plots.timeline(trace(*[call(str(seat), seat=seat) for seat in range(100)])))
    boxes = [text.get_window_extent() for text in ax.get_yticklabels()]
    assert len(boxes) == 100
    assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(boxes))
    assert ax.get_window_extent().height > ax.figure.bbox.height / 2


# cost


def test_cost_adds_up_by_stage_and_model_in_usd() -> None:
    run = trace(
        priced("proposals", "a", 0.25), priced("proposals", "a", 0.5), priced("proposals", "b", 1.0),
        priced("aggregation", "a", 2.0),
    )  # fmt: skip
    for what in (run, run.to_dataframe()):
        ax = drawn(plots.cost(what))
        assert rows(ax) == ["proposals", "aggregation"]
        assert widths(ax) == {"a": {0: 0.75, 1: 2.0}, "b": {0: 1.0}}
        assert ax.containers[1][0].get_x() == 0.75
        assert notes(ax) == {0: "1.750000 USD", 1: "2.000000 USD"}
        assert ax.get_xlabel() == "cost (USD)"


def test_cost_counts_the_calls_of_unknown_price_instead_of_drawing_a_zero() -> None:
    run = trace(
        priced("proposals", "a", 0.25),
        priced("proposals", "a", None),
        priced("proposals", "b", None, status="timeout"),
        priced("proposals", "b", None, status="error"),
        priced("aggregation", "b", None),
    )
    for what in (run, run.to_dataframe()):
        ax = plots.cost(what)
        assert notes(ax) == {
            0: "0.250000 USD\n+ 2 calls of unknown price\n+ 1 failed without price",
            1: "1 call of unknown price",
        }
        assert widths(ax) == {"a": {0: 0.25}}


def test_cost_that_is_known_to_be_nothing_is_told_from_an_unknown_one() -> None:
    assert notes(drawn(plots.cost(trace(priced("proposals", "a", 0.0))))) == {0: "0.000000 USD"}


def test_calls_to_composites_and_tools_add_neither_cost_nor_tokens() -> None:
    run = trace(
        counted(10, 5, cost_usd=0.5),
        counted(70, 70, cost_usd=7.0, usage_source="children", stage="opinions"),
        counted(None, None, stage="tool", role="tool", usage_source="missing"),
    )
    for what in (run, run.to_dataframe()):
        assert (widths(plots.cost(what)), rows(plots.cost(what))) == ({"openai/a": {0: 0.5}}, ["proposals"])
        assert sum(sum(kind.values()) for kind in widths(plots.tokens(what)).values()) == 15
        assert notes(plots.cost(what)) == {0: "0.500000 USD"}
        assert notes(plots.tokens(what)) == {0: "15 tokens"}


def test_cost_compares_several_runs_by_any_column() -> None:
    runs = [
        trace(priced("proposals", "a", 0.25)),
        trace(priced("opinions", "a", 0.5, strategy="council", trace_id="u", provider="openai")),
    ]
    both = pd.concat([run.to_dataframe() for run in runs])
    assert widths(plots.cost(both, by=("strategy", "stage"))) == {
        "proposals": {0: 0.25},
        "opinions": {1: 0.5},
    }
    assert rows(plots.cost(both, by="provider")) == ["unknown", "openai"]
    assert legend(plots.cost(both, by="provider")) == []
    both["question"] = ["first", "second"]
    assert rows(plots.cost(both, by=["question"])) == ["first", "second"]


def test_small_prices_stand_on_the_axis_without_a_hidden_factor() -> None:
    ax = drawn(plots.cost(trace(priced("proposals", "a", 0.00003))))
    ticks = [text.get_text() for text in ax.get_xticklabels()]
    assert "0.00001" in ticks
    assert ax.xaxis.get_offset_text().get_text() == ""


@pytest.mark.parametrize("models", [11, 300])
def test_more_models_than_the_style_has_colours_are_told_apart(models: int) -> None:
    ax = plots.cost(trace(*[priced("proposals", f"m{number}", 0.5) for number in range(models)]))
    colours = {bars[0].get_facecolor() for bars in ax.containers}
    assert len(ax.containers) == models
    assert len(colours) >= min(models, 200)


# tokens


def test_tokens_are_stacked_by_kind_and_none_is_counted_twice() -> None:
    run = trace(
        counted(100, 60, cached_tokens=30, reasoning_tokens=45),
        counted(10, 5),
        counted(7, 3, stage="aggregation"),
    )
    for what in (run, run.to_dataframe()):
        ax = drawn(plots.tokens(what))
        assert rows(ax) == ["proposals · openai/a", "aggregation · openai/a"]
        assert widths(ax) == {
            "prompt (fresh)": {0: 80, 1: 7},
            "prompt (cached)": {0: 30},
            "completion (answer)": {0: 20, 1: 3},
            "completion (reasoning)": {0: 45},
        }
        assert notes(ax) == {0: "175 tokens", 1: "10 tokens"}
        assert ax.get_xlabel() == "tokens"


def test_provider_that_says_more_was_cached_than_sent_adds_no_tokens() -> None:
    ax = plots.tokens(trace(counted(10, 5, cached_tokens=90, reasoning_tokens=90)))
    assert widths(ax) == {"prompt (cached)": {0: 10}, "completion (reasoning)": {0: 5}}


def test_tokens_count_the_calls_of_unknown_usage() -> None:
    run = trace(
        counted(10, 5),
        counted(None, None, usage_source="missing"),
        counted(None, None, usage_source="missing", status="error"),
        counted(None, None, usage_source="missing", stage="aggregation"),
    )
    assert notes(plots.tokens(run)) == {
        0: "15 tokens\n+ 1 call of unknown usage\n+ 1 failed without usage",
        1: "1 call of unknown usage",
    }


def test_shades_of_the_four_kinds_differ() -> None:
    ax = plots.tokens(trace(counted(100, 60, cached_tokens=30, reasoning_tokens=45)))
    assert len({bars[0].get_facecolor() for bars in ax.containers}) == 4


# ballots

REVIEWED = trace(
    strategy="council",
    ballots=[
        ballot(0, [1, 2], "BA"),
        ballot(1, [2, 0], None, "invalid"),
        ballot(2, [0, 1], None, "failed"),
    ],
    standings=[
        Standing(member=2, label="Response C", place=1, borda=1.0, mean_rank=1.0, ballots=1),
        Standing(member=1, label="Response B", place=2, borda=0.0, mean_rank=2.0, ballots=1),
    ],
)


def cells(ax: Axes) -> dict[tuple[int, int], str]:
    return {
        (round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in ax.texts
    }


@pytest.mark.parametrize("what", [REVIEWED, REVIEWED.ballots_df()], ids=["trace", "frame"])
def test_ballots_show_ranks_blanks_and_what_is_not_valid(what: Any) -> None:
    ax = drawn(plots.ballots(what))
    assert cells(ax) == {(0, 1): "2", (0, 2): "1", (1, 2): "—", (1, 0): "—", (2, 0): "—", (2, 1): "—"}
    hatched = {(round(blank.get_y() + 0.5), round(blank.get_x() + 0.5)) for blank in ax.patches}
    assert hatched == {(0, 0), (1, 1), (2, 2)}
    assert all(blank.get_hatch() for blank in ax.patches)
    assert legend(ax) == ["not shown (own answer, or none)"]
    assert rows(ax) == ["1", "2\ninvalid ballot", "3\nfailed ballot"]
    assert [text.get_text() for text in ax.get_xticklabels()] == [
        "Response A",
        "Response B\nplace 2",
        "Response C\nplace 1",
    ]
    assert ax.get_xlabel() == "candidate (in the cells its rank, 1 is best)"


def test_better_ranks_have_stronger_shades() -> None:
    ax = plots.ballots(trace(ballots=[ballot(0, [1, 2, 3], "CAB"), ballot(1, [0, 2], None, "invalid")]))
    (image,) = ax.images
    shades = image.to_rgba(image.get_array())
    assert shades[0][3][3] > shades[0][1][3] > shades[0][2][3] > 0
    assert shades[1][0][3] == 0


def test_ballots_of_several_runs_show_the_mean_of_the_ranks() -> None:
    runs = [
        trace(ballots=[ballot(0, [1, 2], "AB"), ballot(1, [0, 2], "AB")]),
        trace(trace_id="u", ballots=[ballot(0, [1, 2], "BA"), ballot(1, [0, 2], None, "invalid")]),
        trace(trace_id="v", ballots=[ballot(0, [1, 2], "BA")]),
    ]
    ax = plots.ballots(pd.concat([run.ballots_df() for run in runs]))
    assert cells(ax) == {(0, 1): "1.67", (0, 2): "1.33", (1, 0): "1", (1, 2): "2"}
    assert rows(ax) == ["1", "2\n1 of 2 ballots\ninvalid or failed"]
    assert ax.get_xlabel() == "candidate (in the cells its mean rank over 3 runs, 1 is best)"


def scored(reviewer: int, members: list[int], *means: float, **fields: Any) -> Ballot:
    scores = {
        f"Response {letter}": {"correct": mean - 1, "clear": mean + 1}
        for letter, mean in zip("ABC", means, strict=False)
    }
    given = ballot(reviewer, members, None)
    return given.model_copy(update={"scores": scores, **fields})


BY_RUBRIC = trace(
    ballots=[scored(0, [1, 2], 8, 6.25), scored(1, [0, 2], 4, 4), ballot(2, [0, 1], None, "abstained")]
)


@pytest.mark.parametrize("what", [BY_RUBRIC, BY_RUBRIC.ballots_df()], ids=["trace", "frame"])
def test_ballots_by_a_rubric_show_mean_scores_and_say_so(what: Any) -> None:
    ax = drawn(plots.ballots(what))
    assert cells(ax) == {
        (0, 1): "8.0", (0, 2): "6.25", (1, 0): "4.0", (1, 2): "4.0", (2, 0): "—", (2, 1): "—"
    }  # fmt: skip
    assert ax.get_xlabel() == "candidate (in the cells its mean score by the rubric, higher is better)"
    assert rows(ax) == ["1", "2", "3\nabstained ballot"]


def test_higher_scores_have_stronger_shades_also_across_reviewers() -> None:
    (image,) = plots.ballots(BY_RUBRIC).images
    shades = image.to_rgba(image.get_array())
    assert shades[0][1][3] > shades[0][2][3] > shades[1][0][3] == shades[1][2][3] > 0
    assert shades[2][0][3] == 0
    (level,) = plots.ballots(trace(ballots=[scored(0, [1, 2], 5, 5)])).images
    assert level.to_rgba(level.get_array())[0][0][3] > 0.5


def test_ballots_by_a_rubric_of_several_runs_show_the_mean_of_the_scores() -> None:
    other = trace(trace_id="u", ballots=[scored(0, [1, 2], 7, 6), ballot(1, [0, 2], None, "invalid")])
    ax = plots.ballots(pd.concat([BY_RUBRIC.ballots_df(), other.ballots_df()]))
    assert cells(ax)[0, 1] == "7.5"
    assert cells(ax)[0, 2] == "6.12"
    assert cells(ax)[1, 0] == "4.0"
    assert ax.get_xlabel() == (
        "candidate (in the cells its mean score by the rubric over 2 runs, higher is better)"
    )


def test_runs_with_and_without_scores_together_show_ranks() -> None:
    other = trace(trace_id="u", ballots=[ballot(0, [1, 2], "BA")])
    ax = plots.ballots(pd.concat([BY_RUBRIC.ballots_df(), other.ballots_df()]))
    assert cells(ax)[0, 1] == "1.5"
    assert cells(ax)[1, 0] == "1"
    assert "mean rank over 2 runs, 1 is best" in ax.get_xlabel()


@pytest.mark.parametrize("run", [REVIEWED, BY_RUBRIC], ids=["ranks", "scores"])
def test_frames_from_before_scores_show_ranks(run: Trace) -> None:
    older = run.ballots_df().drop(columns=["score", "is_self"])
    ax = drawn(plots.ballots(older))
    assert cells(ax)[0, 1] == ("2" if run is REVIEWED else "1")
    assert ax.get_xlabel() == "candidate (in the cells its rank, 1 is best)"


def test_an_own_answer_that_its_reviewer_saw_is_marked() -> None:
    run = trace(ballots=[scored(0, [0, 1], 8, 6, own=0), ballot(1, [0, 1], None, "invalid")])
    assert cells(plots.ballots(run)) == {(0, 0): "8.0 (own)", (0, 1): "6.0", (1, 0): "—", (1, 1): "—"}
    ranked = trace(ballots=[ballot(1, [0, 1], "AB").model_copy(update={"own": 1})])
    assert cells(plots.ballots(ranked)) == {(0, 0): "1", (0, 1): "2 (own)"}


# all of them

ALL = [plots.timeline, plots.cost, plots.tokens, plots.ballots]


def full(model: str = "openai/a", stage: str = "proposals", error: str = "Oops") -> Trace:
    return trace(
        counted(10, 5, cost_usd=0.25, stage=stage, request_model=model),
        counted(None, None, status="error", error_type=error, request_model=model, role=model or "r"),
        ballots=REVIEWED.ballots,
    )


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("tex", [False, True])
def test_hostile_names_are_drawn_as_they_are(hostile: str, tex: bool) -> None:
    run = full(hostile, stage=hostile, error=hostile or "Oops")
    with warnings.catch_warnings(), mpl.rc_context({"text.usetex": tex}):
        warnings.simplefilter("error")
        for plot in (plots.timeline, plots.cost, plots.tokens):
            for what in (run, run.to_dataframe()) if hostile != "\ud800" else (run,):
                ax = plot(what)
                texts = [*ax.get_yticklabels(), *(ax.get_legend().get_texts() if ax.get_legend() else [])]
                if not tex:
                    drawn(ax)
                assert not any(text.get_parse_math() or text.get_usetex() for text in texts)
                assert not any(set(text.get_text()) & set("\x1b\u202e\ud800\t") for text in texts)
                assert max(len(text.get_text()) for text in texts) < 120


def test_model_that_begins_with_an_underscore_is_in_the_legend() -> None:
    assert legend(plots.cost(full("_hidden"))) == ["_hidden"]


@pytest.mark.parametrize("style", ["default", "dark_background"])
@pytest.mark.parametrize("plot", ALL)
def test_ink_is_seen_on_the_paper_of_light_and_dark_styles(plot: Any, style: str) -> None:
    with plt.style.context(style):
        ax = drawn(plot(full()))
        paper = to_rgba(ax.get_facecolor())
        texts = [*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels(), *ax.get_legend().get_texts()]
    assert texts
    for text in texts:
        assert sum(abs(a - b) for a, b in zip(to_rgba(text.get_color()), paper, strict=True)) > 1.5
    for bar in ax.patches:
        if bar.get_hatch():
            edge = bar.get_edgecolor()
            assert sum(abs(a - b) for a, b in zip(edge[:3], paper[:3], strict=True)) * edge[3] > 0.5


@pytest.mark.parametrize("plot", ALL)
def test_empty_trace_gives_an_empty_labelled_axes(plot: Any) -> None:
    run = trace()
    for what in (
        run,
        Result(text="", message={}, trace=run),
        run.ballots_df() if plot is plots.ballots else run.to_dataframe(),
    ):
        ax = drawn(plot(what))
        assert [text.get_text() for text in ax.texts] == [
            "no ballots" if plot is plots.ballots else "no calls"
        ]
        assert ax.get_xlabel()
        assert ax.get_ylabel()
        assert not ax.patches


@pytest.mark.parametrize("plot", ALL)
def test_plot_goes_on_the_given_axes_and_else_on_one_new_figure(plot: Any) -> None:
    _, (left, right) = plt.subplots(1, 2)
    assert plot(full(), ax=right) is right
    assert not left.patches
    assert len(plt.get_fignums()) == 1
    ax = plot(full())
    assert len(plt.get_fignums()) == 2
    assert ax.figure is plt.gcf()


@pytest.mark.parametrize("plot", ALL)
def test_what_cannot_be_drawn_is_refused_with_what_works(plot: Any) -> None:
    frame = "ballots_df" if plot is plots.ballots else "to_dataframe"
    for what in ([full()], "a text", None, full().calls, SimpleNamespace()):
        with pytest.raises(
            TypeError, match=rf"{type(what).__name__}: give a Trace, a Result or a frame .*{frame}"
        ):
            plot(what)
    with pytest.raises(ValueError, match=rf"no 'status'.* in the frame .*{frame}.*; there are x"):
        plot(
            pd.DataFrame(
                {
                    "x": [1],
                    **{
                        name: [1]
                        for name in plots.TIMED + RANKED + plots.COUNTED + plots.PRICED
                        if name != "status"
                    },
                }
            )
        )
    with pytest.raises(TypeError, match=r"give one matplotlib Axes"):
        plot(full(), ax=plt.subplots(1, 2)[1])


def test_grouping_by_what_is_not_there_says_what_is() -> None:
    for plot in (plots.cost, plots.tokens):
        for what in (full(), full().to_dataframe()):
            with pytest.raises(ValueError, match=r"no 'model' in .*there are .*request_model"):
                plot(what, by="model")
        with pytest.raises(ValueError, match="give one column"):
            plot(full(), by=())
    with pytest.raises(ValueError, match="give one column or 2"):
        plots.cost(full(), by=("stage", "role", "request_model"))
    assert (
        rows(plots.tokens(full(), by=("stage", "role", "request_model")))[0]
        == "proposals · proposer · openai/a"
    )


@pytest.fixture(scope="module")
def served() -> Iterator[FakeServer]:
    with FakeServer.start() as server:
        yield server


def test_real_run_is_drawn_with_all_of_its_calls_money_and_tokens(served: FakeServer) -> None:
    def seat(model: str, **prices: float) -> lab.Seat:
        return lab.Seat(model=f"openai/{model}", api_base=served.base_url, api_key="none", **prices)

    price = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    council = lab.Council(
        chairman=seat("z", **price),
        members=[seat("a", **price), seat("b+bad_ranking"), seat("c+status=500+times=1", **price)],
        repairs=0,
    )
    result = council.run("Why is the sky dark at night?")
    summary = result.trace.summary()
    ax = drawn(plots.timeline(result))
    assert len(ax.patches) == summary.calls == 8
    assert sum(bool(bar.get_hatch()) for bar in ax.patches) == 1
    assert sum(sum(part.values()) for part in widths(drawn(plots.cost(result))).values()) == pytest.approx(
        summary.cost_usd
    )
    assert "+ 1 call of unknown price" in notes(plots.cost(result))[0]
    assert sum(sum(part.values()) for part in widths(drawn(plots.tokens(result))).values()) == (
        summary.usage.total_tokens
    )
    ax = drawn(plots.ballots(result))
    assert len(ax.patches) == 3
    assert rows(ax)[1] == "2\ninvalid ballot"


def test_composite_lab_alone_does_not_import_matplotlib() -> None:
    code = "import sys, composite_lab, composite_lab.notebook; assert 'matplotlib' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
