"""Traces as pandas DataFrames. A new column is one line in `COLUMNS`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from composite_lab.trace.call import Ballot, Call, Standing, function_of

UTC_TIME = "datetime64[ns, UTC]"
PIECE = 256


class Column(NamedTuple):
    """A column's name, its dtype, and the attribute of a Call that it shows."""

    name: str
    dtype: str
    attribute: str


def _columns(dtype: str, *names: str) -> list[Column]:
    return [Column(name, dtype, name) for name in names]


COLUMNS = [
    *_columns("string", "trace_id", "call_id", "parent_call_id", "strategy", "stage", "role"),
    *_columns("Int64", "round", "seat", "sample", "attempt"),
    *_columns("string", "provider", "request_model", "response_model"),
    *_columns("string", "status", "error_type", "error_message", "finish_reason"),
    *_columns(UTC_TIME, "started_at"),
    *_columns("Float64", "start_offset_s", "latency_s", "time_to_first_token_s"),
    *_columns("Int64", "prompt_tokens", "completion_tokens", "total_tokens"),
    *_columns("Int64", "cached_tokens", "reasoning_tokens"),
    *_columns("string", "usage_source"),
    *_columns("Float64", "cost_usd"),  # None becomes NA: an unknown price is not free
    *_columns("string", "cost_source"),
    *_columns("boolean", "cache_hit"),
    *_columns("Float64", "original_cost_usd", "original_latency_s"),
    *_columns("string", "name"),
]
TEXT_COLUMNS = [Column("messages", "object", "messages"), Column("text", "string", "text")]


def calls_frame(calls: Sequence[Call], *, include_text: bool = False) -> pd.DataFrame:
    """A row per call, all of `COLUMNS` in their order and with their dtypes, also for no calls."""
    columns = COLUMNS + (TEXT_COLUMNS if include_text else [])
    cells = _cells(calls, [column.attribute for column in columns])
    arrays = {column.name: _array(found, column.dtype) for column, found in zip(columns, cells, strict=True)}
    return pd.DataFrame(arrays, copy=False)


def messages_frame(calls: Sequence[Call]) -> pd.DataFrame:
    """A row per message sent and per answer received, in the order of the calls.

    Columns: the call's keys, `position` (from 0; the answer comes last), `direction` (sent,
    received), `role`, `content` (text; other content parts as JSON; tool calls as `name(arguments)`).
    """
    rows = [row for call in calls for row in _message_rows(call)]
    dtypes = {
        "trace_id": "string", "call_id": "string", "stage": "string", "seat": "Int64", "sample": "Int64",
        "position": "Int64", "direction": "string", "role": "string", "content": "string",
    }  # fmt: skip
    return pd.DataFrame(rows, columns=list(dtypes)).astype(dtypes)


def ballots_frame(
    trace_id: str, ballots: Sequence[Ballot], standings: Sequence[Standing], calls: Sequence[Call] = ()
) -> pd.DataFrame:
    """A row per reviewer and candidate shown: shown position, rank (1 is best), status of the ballot.

    `source` is the form in which the ranking stood. From the calls come the models asked (`answer_model`,
    `reviewer_model`) and the answer's completion tokens (`answer_tokens`). `is_self` tells whether the answer
    is the reviewer's own. By a rubric `score` is the mean over its criteria, and equal ones share a rank.
    """
    dtypes = {
        "trace_id": "string", "call_id": "string", "reviewer": "Int64", "candidate": "Int64",
        "shown_label": "string", "shown_position": "Int64", "rank": "Int64", "status": "string",
        "place": "Int64", "is_self": "boolean", "source": "string", "answer_tokens": "Int64",
        "answer_model": "string", "reviewer_model": "string", "score": "Float64",
    }  # fmt: skip
    by_id = {call.call_id: call for call in calls}
    answers = {
        call.seat: call
        for call in calls
        if (call.stage, call.status, call.parent_call_id) == ("opinions", "ok", None)
    }
    places = {standing.member: standing.place for standing in standings}
    rows = [
        {
            "trace_id": trace_id,
            "call_id": ballot.call_id,
            "reviewer": ballot.reviewer,
            "candidate": member,
            "shown_label": label,
            "shown_position": position,
            "rank": ranks.get(member),
            "status": ballot.status,
            "place": places.get(member),
            "is_self": member == ballot.own,
            "source": ballot.source,
            "answer_tokens": answers[member].completion_tokens if member in answers else None,
            "answer_model": answers[member].request_model if member in answers else None,
            "reviewer_model": by_id[ballot.call_id].request_model if ballot.call_id in by_id else None,
            "score": scores.get(member),
        }
        for ballot in ballots
        for ranks, scores in [(ballot.ranks(), ballot.member_scores())]
        for position, (label, member) in enumerate(zip(ballot.labels, ballot.members, strict=True))
    ]
    return pd.DataFrame(rows, columns=list(dtypes)).astype(dtypes)


def scores_frame(trace_id: str, ballots: Sequence[Ballot]) -> pd.DataFrame:
    """A row per reviewer, candidate and criterion of the ballots by a rubric."""
    dtypes = {
        "trace_id": "string", "call_id": "string", "reviewer": "Int64", "candidate": "Int64",
        "criterion": "string", "score": "Float64", "is_self": "boolean",
    }  # fmt: skip
    rows = [
        (trace_id, ballot.call_id, ballot.reviewer, member, criterion, score, member == ballot.own)
        for ballot in ballots
        for label, member in zip(ballot.labels, ballot.members, strict=True)
        for criterion, score in (ballot.scores or {}).get(label, {}).items()
    ]
    return pd.DataFrame(rows, columns=list(dtypes)).astype(dtypes)


def _cells(calls: Sequence[Call], attributes: Sequence[str]) -> list[list[Any]]:
    """The attributes' values, a list for each."""
    get = attrgetter(*attributes)
    columns: list[list[Any]] = [[] for _ in attributes]
    # In small pieces: 100,000 tuples at once would set the garbage collector off over all the calls.
    for start in range(0, len(calls), PIECE):
        for column, values in zip(
            columns, zip(*map(get, calls[start : start + PIECE]), strict=True), strict=True
        ):
            column.extend(values)
    return columns


def _array(cells: list[Any], dtype: str) -> Any:
    """The cells as a pandas array; None becomes NA. numpy does it several times faster than pandas."""
    match dtype:
        case "string":
            return pd.array(np.array(cells, dtype=object), dtype="string")
        case "Float64":
            floats = np.array(cells, dtype=np.float64)  # turns None into NaN
            return pd.arrays.FloatingArray(floats, np.isnan(floats))
        case "Int64":
            return pd.arrays.IntegerArray(*_filled(cells, np.int64))
        case "boolean":
            return pd.arrays.BooleanArray(*_filled(cells, np.bool_))
        case "object":
            return pd.Series(cells, dtype=object)
        case _:
            times = pd.to_datetime(pd.Series(cells, dtype=object), utc=True)
            return pd.DatetimeIndex(times).as_unit("ns")


def _filled(cells: list[Any], dtype: type[np.generic]) -> tuple[Any, Any]:
    """The values with zeros for None, and the mask that says where they are."""
    objects = np.array(cells, dtype=object)
    mask = pd.isna(objects)
    if mask.any():
        objects[mask] = 0
    return objects.astype(dtype), mask


def _message_rows(call: Call) -> list[tuple[Any, ...]]:
    keys = (call.trace_id, call.call_id, call.stage, call.seat, call.sample)
    rows = [
        (*keys, position, "sent", sent.get("role"), _said(sent.get("content"), sent.get("tool_calls")))
        for position, sent in enumerate(call.messages)
    ]
    asked = None if call.stage == "tool" else call.tool_calls
    if call.text is not None or asked:
        role = "tool" if call.stage == "tool" else "assistant"
        rows.append((*keys, len(rows), "received", role, _said(call.text, asked)))
    return rows


def _said(content: Any, tool_calls: Any) -> str | None:
    """The text of a message, and below it the tool calls that it makes, as name(arguments)."""
    lines = [f"{name}({arguments})" for name, arguments in map(function_of, tool_calls or [])]
    text = content_text(content)
    return "\n".join([*filter(None, [text]), *lines]) if lines else text


def content_text(content: Any) -> str | None:
    """A message's content as text: a string as it is, text parts joined, other parts as JSON."""
    if content is None or isinstance(content, str):
        return content
    texts = (part.get("text") if part.get("type") == "text" else None for part in content)
    return "\n".join(
        text if isinstance(text, str) else json.dumps(part) for text, part in zip(texts, content, strict=True)
    )
