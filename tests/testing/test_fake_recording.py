"""What the server records: requests, concurrency, clients that leave, resets."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from composite_lab.testing import FakeServer


def test_request_is_recorded_as_it_was_sent(chat: Any) -> None:
    parts = [{"type": "text", "text": "two"}, {"type": "text", "text": "three"}]
    messages = [{"role": "system", "content": "one"}, {"role": "user", "content": parts}]
    headers = {"Authorization": "Bearer sk-1", "X-Trace": "abc"}
    chat("fake-a+latency=0.05", messages, headers=headers, temperature=0.3)
    [record] = chat.server.requests()
    assert record.model == "fake-a+latency=0.05"
    assert record.path == "/v1/chat/completions"
    assert record.body == {"model": record.model, "messages": messages, "temperature": 0.3}
    assert (record.messages, record.texts, record.last_user_text) == (
        messages,
        ["one", "two", "three"],
        "two\nthree",
    )
    assert (record.header("authorization"), record.header("X-TRACE")) == ("Bearer sk-1", "abc")
    assert record.header("missing") is None
    assert (record.index, record.in_flight, record.outcome, record.status) == (0, 1, "answered", 200)
    assert record.ended_at is not None
    assert record.ended_at - record.received_at >= 0.05


def test_requests_are_in_order_and_can_be_filtered_by_model(chat: Any, fake_openai: FakeServer) -> None:
    for model in ("fake-a", "fake-b+empty", "fake-a+empty"):
        chat(model)
    assert [record.model for record in fake_openai.requests()] == ["fake-a", "fake-b+empty", "fake-a+empty"]
    assert [record.index for record in fake_openai.requests("fake-a")] == [0, 2]
    assert [record.index for record in fake_openai.requests("fake-a+empty")] == [2]
    assert len({record.id for record in fake_openai.requests()}) == 3


def test_stats_count_models_outcomes_bodies_and_tokens(chat: Any, fake_openai: FakeServer) -> None:
    chat("fake-a")
    chat("fake-a")
    chat("fake-a", seed=1)
    chat("fake-b+status=500")
    chat("fake-b+usage=none", stream=True)
    stats = fake_openai.stats()
    assert (stats.total, stats.distinct, stats.in_flight) == (5, 4, 0)
    assert stats.by_model == {"fake-a": 3, "fake-b+status=500": 1, "fake-b+usage=none": 1}
    assert stats.by_outcome == {"answered": 4, "error": 1}
    assert stats.total_tokens == 3 * 120


def test_unusable_requests_are_recorded_as_errors(chat: Any, fake_openai: FakeServer) -> None:
    chat.send(b"{no json")
    [record] = fake_openai.requests()
    assert (record.outcome, record.status, record.model, record.body) == ("error", 400, "", None)
    assert (record.messages, record.texts, record.last_user_text) == ([], [], "")


def test_request_that_breaks_off_is_not_recorded(chat: Any, fake_openai: FakeServer) -> None:
    connection = chat.connect()
    connection.connect()
    connection.sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 50\r\n\r\n{}")
    connection.sock.shutdown(socket.SHUT_WR)
    assert connection.sock.recv(65536).startswith(b"HTTP/1.1 400")
    connection.close()
    assert fake_openai.stats().total == 0


@pytest.mark.parametrize("stream", [False, True])
def test_hanging_request_is_recorded_as_disconnected_when_the_client_leaves(
    chat: Any, fake_openai: FakeServer, stream: bool
) -> None:
    connection = chat.begin("fake-a+hang", stream=stream)
    fake_openai.wait_until(lambda stats: stats.in_flight == 1)
    assert fake_openai.requests()[0].outcome == "in_progress"
    left = time.monotonic()
    connection.close()
    stats = fake_openai.wait_until(lambda stats: stats.in_flight == 0)
    assert time.monotonic() - left < 2
    assert stats.by_outcome == {"client_disconnected": 1}


@pytest.mark.parametrize(
    ("options", "stream"), [("latency=30", False), ("latency=30", True), ("chunk_latency=30", True)]
)
def test_client_that_leaves_during_a_delay_is_noticed(
    chat: Any, fake_openai: FakeServer, options: str, stream: bool
) -> None:
    connection = chat.begin(f"fake-a+{options}", stream=stream)
    if options == "chunk_latency=30":
        connection.getresponse().read(1)
    fake_openai.wait_until(lambda stats: stats.in_flight == 1)
    connection.sock.close() if connection.sock else None
    connection.close()
    stats = fake_openai.wait_until(lambda stats: stats.in_flight == 0)
    assert stats.by_outcome == {"client_disconnected": 1}


def test_answer_is_not_lost_when_the_next_request_is_already_sent(chat: Any) -> None:
    connection = chat.begin("fake-a+latency=0.3")
    body = b'{"model": "fake-b+text=second", "messages": [{"role": "user", "content": "x"}]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    connection.sock.sendall(head % len(body) + body)
    received = b""
    while piece := connection.sock.recv(65536):
        received += piece
    connection.close()
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert received.index(b"fake-a+latency") < received.index(b"second")


def test_peak_is_the_number_of_requests_open_at_once(chat: Any, fake_openai: FakeServer) -> None:
    connections = [chat.begin("fake-a+hang", seed=i) for i in range(20)]
    fake_openai.wait_until(lambda stats: stats.in_flight == 20)
    for connection in connections[:15]:
        connection.close()
    fake_openai.wait_until(lambda stats: stats.in_flight == 5)
    connections += [chat.begin("fake-a+hang", seed=i) for i in range(20, 30)]
    stats = fake_openai.wait_until(lambda stats: stats.total == 30)
    for connection in connections:
        connection.close()
    assert stats.peak == 20
    assert max(record.in_flight for record in fake_openai.requests()) == 20


def test_clients_that_wait_for_each_answer_never_overlap_with_themselves(
    chat: Any, fake_openai: FakeServer
) -> None:
    streams = [{"stream": stream} for stream in (False, True)] * 20
    for body in streams:
        chat("fake-a", **body)
    assert fake_openai.stats().peak == 1
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda body: chat("fake-a+latency=0.01", **body), streams * 3))
    stats = fake_openai.stats()
    assert 2 <= stats.peak <= 4
    assert stats.in_flight == 0


def test_concurrent_requests_are_all_counted_once(chat: Any, fake_openai: FakeServer) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda i: chat("fake-a", seed=i % 50), range(300)))
    stats = fake_openai.stats()
    assert (stats.total, stats.distinct, stats.by_outcome) == (300, 50, {"answered": 300})
    assert [record.index for record in fake_openai.requests()] == list(range(300))


def test_times_counts_concurrent_requests_exactly(chat: Any) -> None:
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda i: chat("fake-a+status=500+times=7", seed=i).status, range(60)))
    assert statuses.count(500) == 7


def test_reset_forgets_requests_in_flight_without_miscounting(chat: Any, fake_openai: FakeServer) -> None:
    old = chat.begin("fake-a+hang")
    slow = threading.Thread(target=chat, args=("fake-a+latency=0.3",))
    slow.start()
    fake_openai.wait_until(lambda stats: stats.in_flight == 2)
    fake_openai.reset()
    assert fake_openai.stats().total == 0
    new = chat.begin("fake-b+hang")
    fake_openai.wait_until(lambda stats: stats.in_flight == 1)
    old.close()
    slow.join()
    chat("fake-c+latency=0.2")
    stats = fake_openai.stats()
    new.close()
    assert (stats.total, stats.in_flight, stats.peak, stats.total_tokens) == (2, 1, 2, 120)
    assert stats.by_outcome == {"in_progress": 1, "answered": 1}


def test_wait_until_says_what_it_saw(fake_openai: FakeServer) -> None:
    with pytest.raises(TimeoutError, match=r"within 0.1 s.*total=0"):
        fake_openai.wait_until(lambda stats: stats.total == 1, timeout_s=0.1)
