"""Streamed answers: server-sent events as OpenAI sends them."""

from __future__ import annotations

import time
from typing import Any


def joined(events: list[Any], part: str = "content") -> str:
    """Return the text of one part of the deltas."""
    return "".join(event["choices"][0]["delta"].get(part) or "" for event in events if event["choices"])


def test_streamed_content_equals_the_plain_answer(chat: Any) -> None:
    answer = chat("fake-a", stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["transfer-encoding"] == "chunked"
    events = answer.events
    assert joined(events) == chat("fake-a").content
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [event["choices"][0]["finish_reason"] for event in events] == [None] * (len(events) - 1) + ["stop"]
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert len(events) > 4


def test_usage_comes_last_and_only_if_asked_for(chat: Any) -> None:
    assert all("usage" not in event for event in chat("fake-a", stream=True).events)
    *others, last = chat("fake-a", stream=True, stream_options={"include_usage": True}).events
    assert all(event["usage"] is None for event in others)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 120


def test_usage_none_leaves_it_out_of_a_stream(chat: Any) -> None:
    events = chat("fake-a+usage=none", stream=True, stream_options={"include_usage": True}).events
    assert all("usage" not in event for event in events)
    assert all(event["choices"] for event in events)


def test_reasoning_is_streamed_before_the_content(chat: Any) -> None:
    events = chat("fake-a+reasoning", stream=True).events
    assert joined(events, "reasoning_content") == chat("fake-a+reasoning").message["reasoning_content"]
    kinds = [next(iter(event["choices"][0]["delta"]), "") for event in events[1:-1]]
    assert kinds == sorted(kinds, reverse=True)
    assert {"reasoning_content", "content"} == set(kinds)


def test_several_choices_are_streamed_under_their_index(chat: Any) -> None:
    events = chat("fake-a", stream=True, n=2).events
    texts = [joined([event for event in events if event["choices"][0]["index"] == i]) for i in (0, 1)]
    assert texts == [choice["message"]["content"] for choice in chat("fake-a", n=2).json["choices"]]


def test_chunk_latency_spreads_the_chunks_over_time(chat: Any) -> None:
    connection = chat.begin("fake-a+chunk_latency=0.05", stream=True)
    answer = connection.getresponse()
    answer.read(1)
    first = time.monotonic()
    answer.read()
    connection.close()
    # Twelve gaps of 50 ms, of which the client sees all but those before its first byte.
    assert time.monotonic() - first > 0.3


def test_truncated_stream_stops_half_way(chat: Any) -> None:
    connection = chat.begin("fake-a+truncate", stream=True)
    answer = connection.getresponse()
    received = b""
    try:
        while piece := answer.read1():
            received += piece
        broke_off = False
    except Exception:  # http.client raises various errors for a cut body
        broke_off = True
    connection.close()
    assert broke_off
    assert received.startswith(b"data: ")
    assert b"[DONE]" not in received
    assert b'"finish_reason": "stop"' not in received
    assert chat.server.requests()[0].outcome == "dropped"


def test_malformed_stream_carries_an_event_that_is_no_json(chat: Any) -> None:
    answer = chat("fake-a+malformed", stream=True)
    assert answer.status == 200
    first = answer.raw.split(b"\n\n")[0]
    assert first.startswith(b"data: {")
    assert not first.endswith(b"}")


def test_error_status_of_a_stream_is_a_plain_error(chat: Any) -> None:
    answer = chat("fake-a+status=503", stream=True)
    assert answer.status == 503
    assert answer.json["error"]["type"] == "server_error"
