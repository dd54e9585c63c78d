"""Totals of a run against values computed by hand."""

from __future__ import annotations

import random
from typing import Any

import pytest

from composite_lab import Call, Summary
from composite_lab.trace.frames import calls_frame
from composite_lab.trace.summary import critical_path, excerpt, summarize, total_cost
from tests import records


def call(start: float = 0.0, latency: float = 1.0, **fields: Any) -> Call:
    return records.call(start_offset_s=start, latency_s=latency, **fields)


def summary(*calls: Call, wall: float = 10.0) -> Summary:
    return summarize("t", "moa", "ok", calls, wall)


def test_totals_count_attempts_failures_tokens_and_costs() -> None:
    total = summary(
        call(prompt_tokens=10, completion_tokens=5, total_tokens=15, cached_tokens=4, cost_usd=0.25),
        call(status="error"),
        call(prompt_tokens=1, completion_tokens=2, total_tokens=3, reasoning_tokens=2, cost_usd=0.5),
        call(status="timeout"),
        call(status="cancelled"),
        wall=2.5,
    )
    assert (total.calls, total.failures, total.cost_usd, total.wall_time_s) == (5, 3, 0.75, 2.5)
    assert total.usage.model_dump() == {
        "prompt_tokens": 11,
        "completion_tokens": 7,
        "total_tokens": 18,
        "cached_tokens": 4,
        "reasoning_tokens": 2,
    }


@pytest.mark.parametrize(
    ("costs", "total"), [([], None), ([None, None], None), ([None, 0.0], 0.0), ([0.5, None, 0.25], 0.75)]
)
def test_cost_is_none_only_when_nothing_is_priced(costs: list[float | None], total: float | None) -> None:
    calls = [call(cost_usd=cost) for cost in costs]
    assert total_cost(calls) == total
    assert summary(*calls).cost_usd == total


@pytest.mark.parametrize(
    ("fields", "unpriced"),
    [
        ({}, 1),
        ({"status": "timeout"}, 1),
        ({"status": "cancelled"}, 1),
        ({"cost_usd": 0.0}, 0),
        ({"cost_usd": 0.1}, 0),
        ({"status": "error"}, 0),
        ({"status": "error", "finish_reason": "content_filter"}, 1),
        ({"status": "error", "total_tokens": 7}, 1),
        ({"status": "error", "total_tokens": 7, "cost_usd": 0.1}, 0),
        ({"usage_source": "children"}, 0),
        ({"usage_source": "children", "status": "error", "finish_reason": "length"}, 0),
        ({"stage": "tool", "role": "tool"}, 0),
    ],
)
def test_call_is_unpriced_when_it_may_have_cost_something_unknown(
    fields: dict[str, Any], unpriced: int
) -> None:
    assert summary(call(**fields)).unpriced_calls == unpriced


def test_critical_path_adds_up_the_slowest_seat_of_each_stage() -> None:
    total = summary(
        call(0.0, 2.0, seat=0),
        call(0.0, 3.0, seat=1),
        call(0.0, 1.0, seat=1, sample=1),
        call(3.5, 4.0, stage="aggregation"),
        wall=8.0,
    )
    assert total.critical_path_s == pytest.approx(3.0 + 4.0)
    assert total.summed_latency_s == pytest.approx(10.0)
    assert total.speedup == pytest.approx(10.0 / 8.0)


def test_rounds_of_one_stage_wait_for_each_other() -> None:
    total = summary(call(0.0, 2.0), call(2.0, 3.0, round=1), call(2.0, 1.0, round=1, seat=1))
    assert total.critical_path_s == pytest.approx(5.0)


def test_retries_of_a_seat_count_from_the_first_start_to_the_last_end() -> None:
    retried = [
        call(0.0, 1.0, seat=1, attempt=0, status="error"),
        call(1.5, 0.5, seat=1, attempt=1, status="error"),
        call(3.0, 2.0, seat=1, attempt=2),
    ]
    total = summary(call(0.0, 4.0), *retried, call(5.0, 1.0, stage="aggregation"))
    assert total.critical_path_s == pytest.approx(5.0 + 1.0)
    assert total.summed_latency_s == pytest.approx(4.0 + 3.5 + 1.0)


def test_straggler_that_was_cut_counts_until_it_was_cut() -> None:
    total = summary(
        call(0.0, 1.0), call(0.0, 1.8, seat=1, status="cancelled"), call(1.8, 1.0, stage="aggregation")
    )
    assert total.critical_path_s == pytest.approx(2.8)


def test_calls_below_a_call_count_their_money_and_not_their_time() -> None:
    outer = call(0.0, 5.0, call_id="outer", usage_source="children")
    inner = [
        call(0.0, 4.0, parent_call_id="outer", cost_usd=0.5, total_tokens=7),
        call(0.0, 2.0, parent_call_id="outer"),
    ]
    total = summary(outer, *inner, call(5.0, 1.0, stage="aggregation", cost_usd=0.25))
    assert (total.calls, total.cost_usd, total.unpriced_calls, total.usage.total_tokens) == (4, 0.75, 1, 7)
    assert total.critical_path_s == pytest.approx(6.0)
    assert total.summed_latency_s == pytest.approx(6.0)


def test_summary_does_not_depend_on_the_order_of_the_calls() -> None:
    calls = [
        call(start, 0.25, stage=stage, seat=seat, attempt=attempt, status="ok" if attempt else "error")
        for stage, start0 in [("proposals", 0.0), ("aggregation", 4.0)]
        for seat in range(2)
        for attempt, start in enumerate([start0, start0 + 0.5 + seat])
    ]
    expected = summary(*calls).critical_path_s
    assert expected == pytest.approx(1.75 + 1.75)
    for seed in range(20):
        random.Random(seed).shuffle(calls)
        assert summary(*calls).critical_path_s == pytest.approx(expected)


CHAIN = [
    call(0.0, 2.0, call_id="a0", status="error"),
    call(2.5, 1.0, call_id="a1", attempt=1),
    call(0.0, 3.0, call_id="b", seat=1),
    call(0.0, 3.4, call_id="b2", seat=1, sample=1),
    call(2.6, 0.9, call_id="inner", parent_call_id="a1", stage="opinions"),
    call(4.0, 1.0, call_id="c", round=1),
    call(4.0, 2.0, call_id="d", round=1, seat=1),
    call(6.0, 1.0, call_id="z", stage="aggregation", role="aggregator"),
]


def test_critical_path_is_all_attempts_of_the_slowest_seat_of_each_stage_and_round() -> None:
    assert [one.call_id for one in critical_path(CHAIN)] == ["a0", "a1", "d", "z"]
    assert all(any(one is given for given in CHAIN) for one in critical_path(CHAIN))
    assert summary(*CHAIN).critical_path_s == pytest.approx(3.5 + 2.0 + 1.0)


def test_seat_that_started_late_is_on_the_critical_path_only_if_it_took_longest() -> None:
    calls = [call(0.0, 2.0, call_id="long"), call(1.0, 1.5, call_id="late", seat=1)]
    assert [one.call_id for one in critical_path(calls)] == ["long"]
    assert summary(*calls).critical_path_s == pytest.approx(2.0)


def test_critical_path_is_the_same_in_any_order_also_among_equals() -> None:
    calls = [*CHAIN, call(4.0, 2.0, call_id="e", round=1, seat=2)]
    for seed in range(20):
        random.Random(seed).shuffle(calls)
        assert [one.call_id for one in critical_path(calls)] == ["a0", "a1", "d", "z"]


def test_critical_path_takes_the_rows_of_a_frame() -> None:
    rows = list(calls_frame(CHAIN).itertuples())
    assert [row.Index for row in critical_path(rows)] == [0, 1, 6, 7]


def test_calls_whose_parent_is_not_among_them_are_on_top_of_the_critical_path() -> None:
    inner = [call(0.0, 1.0, call_id="x", parent_call_id="gone"), call(0.0, 2.0, call_id="y", seat=1)]
    assert [one.call_id for one in critical_path(inner)] == ["y"]
    assert [one.call_id for one in critical_path(inner[:1])] == ["x"]
    assert critical_path([]) == []


def test_run_without_a_call_has_totals_of_nothing() -> None:
    total = summary(wall=0.2)
    assert (total.calls, total.failures, total.cost_usd, total.unpriced_calls) == (0, 0, None, 0)
    assert (total.critical_path_s, total.summed_latency_s, total.speedup) == (0, 0, None)
    assert summary(call(), wall=0.0).speedup is None


def test_summary_in_words_tells_known_from_unknown_costs() -> None:
    known, unknown = call(cost_usd=0.5, total_tokens=7), call(status="timeout")
    assert str(summary(known, unknown, wall=1.0)) == (
        "moa ok: 2 calls, 1 failed, 7 tokens, 0.500000 USD (+ 1 of unknown price), 1.00 s, "
        "2.0 times faster than one by one"
    )
    assert "1 call, 0 failed, 7 tokens, 0.500000 USD, 10.00 s" in str(summary(known))
    assert "cost unknown, " in str(summary(unknown))


def test_summary_goes_to_json_and_back() -> None:
    for total in (summary(), summary(call(cost_usd=0.1, total_tokens=3))):
        assert Summary.model_validate_json(total.model_dump_json()) == total


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("  short \n", "short"),
        ("x" * 10, "x" * 10),
        ("x" * 11, f"{'x' * 10} … [1 more characters]"),
        ("12345678  9012", "12345678 … [4 more characters]"),
    ],
)
def test_excerpt_says_how_much_was_left_out(text: str, shown: str) -> None:
    assert excerpt(text, limit=10) == shown
