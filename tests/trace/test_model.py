"""Calls and traces as records: JSON there and back, a stable order, nothing to change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import litellm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from composite_lab import Ballot, Call, Result, Standing, Trace, Usage
from composite_lab.trace.model import in_stable_order
from tests.records import call, trace

ODD_TEXTS = st.text() | st.sampled_from(
    ["\0", "\u2028\u2029", "\ufeff", "e\u0301", "\U0010ffff", '"\\\n\r\t', "🗼東京"]
)
SECONDS = st.floats(0, 1e9)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ODD_TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD_TEXTS, inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(ODD_TEXTS, JSON, max_size=3)
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))
CALLS = st.builds(
    call,
    call_id=ODD_TEXTS,
    parent_call_id=st.none() | ODD_TEXTS,
    seat=st.integers(0, 99),
    status=st.sampled_from(["ok", "error", "timeout", "cancelled"]),
    error_message=st.none() | ODD_TEXTS,
    started_at=TIMES,
    latency_s=SECONDS,
    time_to_first_token_s=st.none() | SECONDS,
    prompt_tokens=st.none() | st.integers(0, 10**12),
    cost_usd=st.none() | SECONDS,
    cache_hit=st.none() | st.booleans(),
    messages=st.lists(OBJECTS, max_size=2),
    params=OBJECTS,
    text=st.none() | ODD_TEXTS,
    tool_calls=st.lists(OBJECTS, max_size=2),
)
BALLOTS = st.builds(
    Ballot,
    reviewer=st.integers(0, 9),
    labels=st.lists(ODD_TEXTS, max_size=3),
    members=st.lists(st.integers(0), max_size=3),
    ranking=st.none() | st.lists(ODD_TEXTS, max_size=3),
    status=st.sampled_from(["valid", "repaired", "invalid", "abstained", "failed"]),
    source=st.none() | ODD_TEXTS,
    problem=st.none() | ODD_TEXTS,
    repair_ids=st.lists(ODD_TEXTS, max_size=2),
)
STANDINGS = st.builds(
    Standing,
    member=st.integers(0, 9),
    label=ODD_TEXTS,
    place=st.integers(1, 9),
    borda=st.none() | st.floats(0, 1),
    mean_rank=st.none() | st.floats(1, 9),
    ballots=st.integers(0, 9),
)
TRACES = st.builds(
    trace,
    status=st.sampled_from(["ok", "degraded", "error", "cancelled"]),
    error_message=st.none() | ODD_TEXTS,
    calls=st.lists(CALLS, max_size=3),
    ballots=st.lists(BALLOTS, max_size=2),
    standings=st.lists(STANDINGS, max_size=2),
    messages=st.lists(OBJECTS, max_size=2),
    config=OBJECTS,
    text=st.none() | ODD_TEXTS,
    reasoning=ODD_TEXTS,
    notes=st.lists(ODD_TEXTS, max_size=2),
)


@given(CALLS)
def test_call_goes_to_json_and_back_unchanged(one: Call) -> None:
    line = one.model_dump_json()
    assert Call.model_validate_json(line) == one
    assert "\n" not in line


@settings(max_examples=50)
@given(TRACES)
def test_trace_goes_to_json_and_back_unchanged(whole: Trace) -> None:
    again = Trace.model_validate_json(whole.model_dump_json())
    assert again == whole
    assert Trace.model_validate(whole.model_dump()) == whole
    assert again.model_dump_json() == whole.model_dump_json()


def test_result_goes_to_json_without_litellms_response() -> None:
    result = Result(text="Hi.", message={"content": "Hi."}, trace=trace(), response=litellm.ModelResponse())
    again = Result.model_validate_json(result.model_dump_json())
    assert again.response is None
    assert again == result.model_copy(update={"response": None})


PLACES = st.tuples(
    st.sampled_from(["proposals", "review", "aggregation"]),
    st.integers(0, 2),
    st.integers(0, 3),
    st.integers(0, 2),
    st.integers(0, 2),
)
TREES: st.SearchStrategy[dict[Any, Any]] = st.recursive(
    st.just({}), lambda inner: st.dictionaries(PLACES, inner, min_size=1, max_size=4), max_leaves=20
)


def planted(tree: dict[Any, Any], parent: str | None = None) -> list[Call]:
    """The calls of a tree, each named by the way to it."""
    calls = []
    for place, below in tree.items():
        stage, round_, seat, sample, attempt = place
        name = f"{parent or ''}/{place}"
        calls.append(
            call(
                call_id=name,
                parent_call_id=parent,
                stage=stage,
                round=round_,
                seat=seat,
                sample=sample,
                attempt=attempt,
            )
        )
        calls += planted(below, name)
    return calls


@given(TREES, st.randoms(use_true_random=False))
def test_order_does_not_depend_on_the_order_of_arrival(tree: dict[Any, Any], random: Any) -> None:
    calls = planted(tree)
    ordered = in_stable_order(list(calls))
    arrived = list(calls)
    random.shuffle(arrived)
    assert in_stable_order(arrived) == ordered
    assert sorted(one.call_id for one in ordered) == sorted(one.call_id for one in calls)
    assert in_stable_order(ordered) == ordered


@given(TREES)
def test_calls_below_a_call_follow_it_directly(tree: dict[Any, Any]) -> None:
    names = [one.call_id for one in in_stable_order(planted(tree)[::-1])]
    for position, name in enumerate(names):
        below = [other for other in names if other.startswith(f"{name}/")]
        assert set(names[position + 1 : position + 1 + len(below)]) == set(below)


def test_order_is_by_stage_round_seat_sample_and_attempt() -> None:
    wanted = [
        call(call_id="1", stage="opinions", seat=0, attempt=0),
        call(call_id="2", stage="opinions", seat=0, attempt=1),
        call(call_id="3", stage="opinions", seat=0, sample=1),
        call(call_id="4", stage="opinions", seat=1),
        call(call_id="5", stage="opinions", round=1, seat=0),
        call(call_id="6", stage="review", seat=0),
        call(call_id="7", stage="synthesis", round=0),
        call(call_id="8", stage="tool", round=0),
        call(call_id="9", stage="synthesis", round=1),
    ]
    assert in_stable_order(wanted[::-1]) == wanted


def test_call_whose_parent_is_not_there_stands_on_its_own() -> None:
    orphan, other = call(call_id="1", parent_call_id="gone"), call(call_id="2", seat=1)
    assert in_stable_order([other, orphan]) == [orphan, other]


RECORDS: list[Any] = [
    call(),
    trace(call()),
    Usage(),
    Ballot(reviewer=0, labels=[], members=[], status="failed"),
    Standing(member=0, label="Response A", place=1, borda=None, mean_rank=None, ballots=0),
    Result(text="", message={}, trace=trace()),
    trace().summary(),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_are_frozen_and_refuse_unknown_fields(record: Any) -> None:
    name = next(iter(type(record).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(record, name, getattr(record, name))
    with pytest.raises(ValidationError, match="Extra"):
        type(record).model_validate({**record.model_dump(), "unknown": 1})


@pytest.mark.parametrize("fields", [{"status": "fine"}, {"started_at": "noon"}, {"cost_source": "guess"}])
def test_call_refuses_values_outside_of_its_vocabulary(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(fields))):
        call(**fields)


def test_usage_adds_up_what_is_known() -> None:
    known = call(prompt_tokens=10, completion_tokens=5, total_tokens=15, cached_tokens=3, reasoning_tokens=2)
    total = Usage.of(iter([known, call(), call(prompt_tokens=1, total_tokens=1), known]))
    assert total == Usage(
        prompt_tokens=21, completion_tokens=10, total_tokens=31, cached_tokens=6, reasoning_tokens=4
    )
    assert Usage.of([]) == Usage()


def test_ballot_names_the_seats_behind_its_ranking() -> None:
    labels = ["Response A", "Response B", "Response C"]
    ballot = Ballot(
        reviewer=0,
        labels=labels,
        members=[4, 0, 2],
        ranking=[labels[1], labels[2], labels[0]],
        status="valid",
    )
    assert ballot.ranked_members() == [0, 2, 4]
    assert ballot.model_copy(update={"ranking": None, "status": "invalid"}).ranked_members() == []


def test_a_seat_below_0_has_no_label_and_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Ballot(reviewer=0, labels=["Response A"], members=[-5], status="invalid")


def test_trace_and_result_share_their_totals() -> None:
    whole = trace(call(cost_usd=0.25, total_tokens=5), call(seat=1), status="degraded")
    result = Result(text="Hi.", message={"tool_calls": [{"id": "1"}]}, trace=whole)
    assert (whole.cost_usd, result.cost_usd, whole.summary().unpriced_calls) == (0.25, 0.25, 1)
    assert whole.usage == result.usage == Usage(total_tokens=5)
    assert whole.degraded
    assert not trace().degraded
    assert result.tool_calls == [{"id": "1"}]


def test_texts_of_records_are_short_and_show_no_conversation() -> None:
    secret = "said in confidence " * 1_000
    one = call(messages=[{"role": "user", "content": secret}], text=secret, status="error", error_type="Oops")
    whole = trace(one, text=secret, reasoning=secret, messages=one.messages)
    result = Result(text="y" * 1_000, message={"content": secret}, trace=whole)
    for record in (one, whole, result):
        for shown in (repr(record), str(record)):
            assert "confidence" not in shown
            assert len(shown) < 400
    assert "Oops" in repr(one)


def test_a_trace_of_hostile_names_is_printed_without_effect() -> None:
    hostile = trace(strategy="moa\x1b[2J\u202e", trace_id="\u2066\r12345678")
    for shown in (repr(hostile), str(hostile), str(hostile.summary())):
        assert shown.isprintable()
    assert repr(trace(trace_id="0123456789")).startswith("<Trace 01234567 moa ok: ")
