"""The line that tells how runs stand, and when it is drawn anew."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

import composite_lab as lab
from composite_lab.notebook.meter import DRAW_S, Counts, Meter, RunTally, Tally
from composite_lab.trace.events import Event
from tests.notebook.pages import HOSTILE, call, trace

LIMIT_S = 60.0  # generous, for a busy machine


def ended(*calls: lab.Call, **fields: Any) -> Event:
    return lab.Failed(RuntimeError("why"), trace(*calls, **fields))


def line_after(*runs: list[Event]) -> str:
    tally = Tally()
    for events in runs:
        run = RunTally("moa")
        for event in events:
            tally.hear(run, event)
    return tally.line()


# --- the line


def test_a_run_under_way_says_its_stage_what_is_answered_and_what_failed() -> None:
    begun: list[Event] = [
        lab.StageStarted("proposals", 0, 3),
        lab.CallFinished(call(status="error", error_type="RateLimitError")),
        lab.CallFinished(call(total_tokens=1200, cost_usd=0.001)),
        lab.CallFinished(call(total_tokens=34, cost_usd=0.0002)),
    ]
    line = line_after(begun)
    assert line.startswith(
        "moa · proposals · 2 of 3 answered · 3 calls, 1 failed · 1,234 tokens · 0.001200 USD · "
    )
    later = line_after([*begun, lab.StageStarted("proposals", 1, 3), lab.StageStarted("aggregation", 0, 1)])
    assert later.startswith("moa · aggregation · 2 of 7 answered · ")


def test_before_the_first_call_has_ended_nothing_is_said_of_tokens_and_cost() -> None:
    line = line_after([lab.StageStarted("proposals", 0, 3)])
    assert line.startswith("moa · proposals · 0 of 3 answered · ")
    assert "tokens" not in line
    assert "USD" not in line


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        ([call(total_tokens=5, cost_usd=0.5)], "1 call · 5 tokens · 0.500000 USD"),
        ([call(total_tokens=5)], "1 call · 5 tokens · cost unknown"),
        ([call()], "1 call · tokens unknown · cost unknown"),
        (
            [call(total_tokens=5, cost_usd=0.5), call(total_tokens=2), call(status="cancelled")],
            "3 calls, 1 cancelled · 7 tokens · 0.500000 USD + 2 of unknown price",
        ),
        ([call(status="error"), call(status="error")], "2 calls, 2 failed"),
        ([call(total_tokens=0, cost_usd=0.0)], "1 call · 0 tokens · 0.000000 USD"),
    ],
)
def test_what_is_unknown_is_called_so_and_never_zero(calls: list[lab.Call], said: str) -> None:
    assert " · ".join(Counts.of(calls).phrases()) == said
    assert " · ".join(sum(map(Counts.of, ([one] for one in calls)), Counts()).phrases()) == said
    assert line_after([ended(*calls, status="ok")]) == f"moa ok · {said} · 1.00 s"


def test_an_ended_run_has_the_totals_of_its_trace_nested_calls_included() -> None:
    seat, child = call(usage_source="children"), call(call_id="d", parent_call_id="c", total_tokens=7)
    events: list[Event] = [lab.StageStarted("proposals", 0, 1), lab.CallFinished(seat)]
    assert line_after([*events, ended(seat, child)]).startswith("moa ok · 2 calls · 7 tokens · ")


def test_many_runs_are_added_up_and_counted_by_how_they_ended() -> None:
    priced = call(total_tokens=10, cost_usd=0.25)
    runs: list[list[Event]] = [
        [ended(priced)],
        [ended(priced)],
        [ended(call(status="error"), status="error")],
    ]
    start = "3 runs: 2 ok, 1 error · 3 calls, 1 failed · 20 tokens · 0.500000 USD · "
    assert line_after(*runs).startswith(start)
    more = line_after(*runs, [lab.StageStarted("opinions", 0, 4)])
    assert more.startswith(
        "3 runs done · moa · opinions · 0 of 4 answered · 3 calls, 1 failed · 20 tokens · "
    )


def test_runs_of_many_threads_all_count() -> None:
    tally = Tally()

    def run(_: int) -> None:
        one = RunTally("moa")
        for event in (lab.StageStarted("proposals", 0, 1), lab.CallFinished(call()), ended(call())):
            tally.hear(one, event)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(run, range(200)))
    assert not tally.busy
    assert tally.line().startswith("200 runs: 200 ok · 200 calls · ")


def test_names_of_stages_and_strategies_are_escaped() -> None:
    tally = Tally()
    tally.hear(RunTally(HOSTILE), lab.StageStarted(HOSTILE, 0, 1))
    html = tally.html()
    assert html.count("&lt;img src=x") == 2
    assert "<img" not in html
    assert "\x1b" not in html
    assert "\u202e" not in html


# --- when it is drawn


def test_a_storm_of_events_is_drawn_at_most_every_tenth_of_a_second_and_the_last_always() -> None:
    seen: list[int] = []
    times: list[float] = []
    count = 0

    def draw() -> None:
        seen.append(count)
        times.append(time.monotonic())

    meter = Meter(draw, lambda: count < 500)
    while count < 500:
        count += 1
        meter.changed()
        time.sleep(0.001)
    deadline = time.monotonic() + LIMIT_S
    while not seen or seen[-1] != 500:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # Drawn by one thread that sleeps between two drawings, so this holds on a busy machine as well.
    assert all(later - earlier >= DRAW_S * 0.9 for earlier, later in pairwise(times))
    assert len(seen) == len(set(seen))


def test_what_changes_while_it_is_drawn_is_drawn_as_well() -> None:
    drawn: list[None] = []

    def draw() -> None:
        drawn.append(None)
        if len(drawn) == 1:
            meter.changed()

    meter = Meter(draw, lambda: False)
    meter.changed()
    deadline = time.monotonic() + LIMIT_S
    while len(drawn) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_clock_goes_on_while_nothing_happens_and_stops_with_the_run() -> None:
    going = threading.Event()
    going.set()
    drawn: list[None] = []
    Meter(lambda: drawn.append(None), going.is_set).changed()
    deadline = time.monotonic() + LIMIT_S
    while len(drawn) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    going.clear()
    while any(thread.name == "composite_lab-meter" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _draw_at_once(meter: Meter) -> None:
    meter.changed()
    meter.flush()


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_line_that_cannot_be_drawn_is_a_warning_and_given_up() -> None:
    tries: list[None] = []

    def fail() -> None:
        tries.append(None)
        raise ValueError("no display")

    meter = Meter(fail, lambda: False)
    with pytest.warns(UserWarning, match="a run is not shown: ValueError: no display"):
        _draw_at_once(meter)
    meter.changed()
    meter.flush()
    assert len(tries) == 1
