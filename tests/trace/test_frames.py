"""Traces as DataFrames: columns, dtypes, and that unknown is never zero."""

from __future__ import annotations

import json
from datetime import timedelta, timezone
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from composite_lab import Ballot, Call, Standing, Trace
from composite_lab.trace.frames import COLUMNS
from tests.records import NOON, call, trace

TIME = "datetime64[ns, UTC]"
CALL_DTYPES = {
    "trace_id": "string", "call_id": "string", "parent_call_id": "string", "strategy": "string",
    "stage": "string", "role": "string", "round": "Int64", "seat": "Int64", "sample": "Int64",
    "attempt": "Int64", "provider": "string", "request_model": "string", "response_model": "string",
    "status": "string", "error_type": "string", "error_message": "string", "finish_reason": "string",
    "started_at": TIME, "start_offset_s": "Float64", "latency_s": "Float64",
    "time_to_first_token_s": "Float64", "prompt_tokens": "Int64", "completion_tokens": "Int64",
    "total_tokens": "Int64", "cached_tokens": "Int64", "reasoning_tokens": "Int64",
    "usage_source": "string", "cost_usd": "Float64", "cost_source": "string", "cache_hit": "boolean",
    "original_cost_usd": "Float64", "original_latency_s": "Float64", "name": "string",
}  # fmt: skip
MESSAGE_DTYPES = {
    "trace_id": "string", "call_id": "string", "stage": "string", "seat": "Int64", "sample": "Int64",
    "position": "Int64", "direction": "string", "role": "string", "content": "string",
}  # fmt: skip
BALLOT_DTYPES = {
    "trace_id": "string", "call_id": "string", "reviewer": "Int64", "candidate": "Int64",
    "shown_label": "string", "shown_position": "Int64", "rank": "Int64", "status": "string", "place": "Int64",
    "is_self": "boolean", "source": "string", "answer_tokens": "Int64", "answer_model": "string",
    "reviewer_model": "string", "score": "Float64",
}  # fmt: skip
UNKNOWN = [name for name, field in Call.model_fields.items() if name in CALL_DTYPES and field.default is None]
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/é.png"}}


def dtypes(frame: pd.DataFrame) -> dict[str, str]:
    return {str(name): str(dtype) for name, dtype in frame.dtypes.items()}


FULL = call(
    parent_call_id="p", round=1, seat=2, sample=3, attempt=4, provider="openai", response_model="a-1",
    error_type="E", error_message="e", finish_reason="stop", time_to_first_token_s=0.5, prompt_tokens=6,
    completion_tokens=7, total_tokens=13, cached_tokens=0, reasoning_tokens=1, usage_source="provider",
    cost_usd=0.25, cost_source="litellm", cache_hit=False, original_cost_usd=0.5, original_latency_s=1.5,
)  # fmt: skip


@pytest.mark.parametrize("calls", [[], [call()], [FULL], [call(), FULL, call()]])
def test_calls_frame_always_has_the_same_columns_order_and_dtypes(calls: list[Call]) -> None:
    frame = trace(*calls).to_dataframe()
    assert list(dtypes(frame).items()) == list(CALL_DTYPES.items())
    assert [(column.name, column.dtype) for column in COLUMNS] == list(CALL_DTYPES.items())
    assert len(frame) == len(calls)
    assert list(frame.index) == list(range(len(calls)))


def test_row_shows_the_fields_of_its_call() -> None:
    row = trace(call(), FULL).to_dataframe().iloc[1]
    assert {name: row[name] for name in CALL_DTYPES} == {name: getattr(FULL, name) for name in CALL_DTYPES}


def test_unknown_is_na_and_never_zero_or_empty() -> None:
    frame = trace(call(), FULL).to_dataframe()
    assert len(UNKNOWN) == 16
    assert frame.loc[0, UNKNOWN].isna().all()
    assert frame.loc[0].isna().sum() == len(UNKNOWN)
    assert frame.loc[1].notna().all()
    assert frame.loc[1, "cached_tokens"] == 0


@given(st.lists(st.none() | st.floats(0, 1e6), max_size=20))
def test_sum_of_the_cost_column_is_the_sum_of_the_known_costs(costs: list[float | None]) -> None:
    whole = trace(*(call(cost_usd=cost) for cost in costs))
    frame = whole.to_dataframe()
    assert frame.cost_usd.sum() == pytest.approx(sum(cost for cost in costs if cost is not None))
    assert frame.cost_usd.sum() == pytest.approx(whole.cost_usd or 0.0)
    assert frame.cost_usd.isna().sum() == costs.count(None)


@given(st.lists(st.none() | st.integers(0, 2**60), max_size=10))
def test_token_counts_stay_exact_beside_unknown_ones(counts: list[int | None]) -> None:
    column = trace(*(call(prompt_tokens=count) for count in counts)).to_dataframe().prompt_tokens
    assert [None if cell is pd.NA else cell for cell in column] == counts


def test_times_are_in_utc_to_the_microsecond() -> None:
    eastern = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    loaded = Trace.model_validate_json(trace(call()).model_dump_json())
    column = trace(call(), call(started_at=eastern), *loaded.calls).to_dataframe().started_at
    assert str(column.dtype) == TIME
    assert list(column) == [pd.Timestamp(NOON)] * 3


@pytest.mark.parametrize("calls", [[], [call(text="Hi.", messages=[{"role": "user", "content": "Hello?"}])]])
def test_text_columns_are_added_on_request(calls: list[Call]) -> None:
    frame = trace(*calls).to_dataframe(include_text=True)
    assert list(dtypes(frame).items()) == [*CALL_DTYPES.items(), ("messages", "object"), ("text", "string")]
    assert list(frame.messages) == [one.messages for one in calls]
    assert list(frame.text) == [one.text for one in calls]


def test_missing_text_is_na() -> None:
    assert trace(call()).to_dataframe(include_text=True).text.isna().all()


def test_column_of_dicts_of_equal_length_stays_a_column_of_lists() -> None:
    messages = [{"role": "user", "content": "1"}, {"role": "user", "content": "2"}]
    frame = trace(call(messages=messages), call(messages=messages)).to_dataframe(include_text=True)
    assert list(frame.messages) == [messages, messages]


def test_messages_frame_reads_like_a_transcript() -> None:
    sent = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Why?"}]
    frame = trace(
        call(call_id="c1", seat=1, messages=sent, text="So."),
        call(call_id="c2", sample=2, messages=sent[1:], status="error"),
    ).messages_df()
    assert list(dtypes(frame).items()) == list(MESSAGE_DTYPES.items())
    assert frame[
        ["call_id", "seat", "sample", "position", "direction", "role", "content"]
    ].to_numpy().tolist() == [
        ["c1", 1, 0, 0, "sent", "system", "Be short."],
        ["c1", 1, 0, 1, "sent", "user", "Why?"],
        ["c1", 1, 0, 2, "received", "assistant", "So."],
        ["c2", 0, 2, 0, "sent", "user", "Why?"],
    ]


@pytest.mark.parametrize("calls", [[], [call()]])
def test_messages_frame_without_messages_has_its_columns_and_dtypes(calls: list[Call]) -> None:
    frame = trace(*calls).messages_df()
    assert (len(frame), list(dtypes(frame).items())) == (0, list(MESSAGE_DTYPES.items()))


def content_of(content: Any) -> Any:
    return trace(call(messages=[{"role": "user", "content": content}])).messages_df().content[0]


def test_text_parts_are_joined_and_other_parts_are_json() -> None:
    text, image = content_of([{"type": "text", "text": "What is this?"}, IMAGE]).split("\n")
    assert text == "What is this?"
    assert json.loads(image) == IMAGE


def test_message_without_content_is_na() -> None:
    assert content_of(None) is pd.NA


@pytest.mark.parametrize("part", [{"type": "text"}, {"type": "text", "text": None}])
def test_text_part_without_text_is_shown_as_json(part: dict[str, Any]) -> None:
    assert json.loads(content_of([part])) == part


def test_ballots_frame_has_a_row_per_reviewer_and_candidate_shown() -> None:
    labels = ["Response A", "Response B"]
    ballots = [
        Ballot(
            reviewer=0,
            own=2,
            call_id="c0",
            labels=labels,
            members=[2, 1],
            ranking=labels[::-1],
            status="valid",
            source="json",
        ),
        Ballot(reviewer=1, call_id="c1", labels=labels, members=[0, 2], status="invalid"),
        Ballot(reviewer=2, labels=labels, members=[1, 0], status="failed"),
    ]
    places = [
        Standing(
            member=member, label=f"Response {letter}", place=place, borda=None, mean_rank=None, ballots=0
        )
        for member, letter, place in [(1, "B", 1), (2, "C", 2)]
    ]
    calls = [
        call(call_id="o2", stage="opinions", seat=2, request_model="openai/two", completion_tokens=7),
        call(call_id="c0", stage="review", seat=0, request_model="openai/judge"),
    ]
    frame = trace(*calls, ballots=ballots, standings=places).ballots_df()
    assert list(dtypes(frame).items()) == list(BALLOT_DTYPES.items())
    assert set(frame.trace_id) == {"t"}
    added = ["is_self", "source", "answer_tokens", "answer_model", "reviewer_model"]
    assert frame[added].astype(object).replace(pd.NA, None).to_numpy().tolist() == [
        [True, "json", 7, "openai/two", "openai/judge"],
        [False, "json", None, None, "openai/judge"],
        [False, None, None, None, None],
        [False, None, 7, "openai/two", None],
        [False, None, None, None, None],
        [False, None, None, None, None],
    ]
    assert frame.drop(columns=["trace_id", "score", *added]).astype(object).replace(
        pd.NA, None
    ).to_numpy().tolist() == [
        ["c0", 0, 2, "Response A", 0, 2, "valid", 2],
        ["c0", 0, 1, "Response B", 1, 1, "valid", 1],
        ["c1", 1, 0, "Response A", 0, None, "invalid", None],
        ["c1", 1, 2, "Response B", 1, None, "invalid", 2],
        [None, 2, 1, "Response A", 0, None, "failed", 1],
        [None, 2, 0, "Response B", 1, None, "failed", None],
    ]


def test_ballots_frame_without_ballots_has_its_columns_and_dtypes() -> None:
    frame = trace(call()).ballots_df()
    assert (len(frame), list(dtypes(frame).items())) == (0, list(BALLOT_DTYPES.items()))


def test_ballots_frame_without_any_usable_ballot_has_its_dtypes() -> None:
    ballot = Ballot(reviewer=0, labels=["Response A"], members=[1], status="invalid")
    assert list(dtypes(trace(ballots=[ballot]).ballots_df()).items()) == list(BALLOT_DTYPES.items())
