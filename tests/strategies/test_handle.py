"""RunHandle: a run in the background, over HTTP."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

import composite_lab as lab
from composite_lab.testing import FakeServer
from composite_lab.trace.events import Event
from tests.conftest import SeatMaker

LIMIT_S = 60.0  # generous, for a busy machine


def panel(seat: SeatMaker, *proposers: str) -> lab.MoA:
    return lab.MoA(aggregator=seat("agg"), proposers=[seat(model) for model in proposers], retries=0)


def in_flight(server: FakeServer, count: int) -> None:
    server.wait_until(lambda seen: seen.in_flight == count, LIMIT_S)


def test_start_returns_while_the_calls_are_under_way(fake_openai: FakeServer, seat: SeatMaker) -> None:
    handle = panel(seat, "p+hang").start("Why?")
    in_flight(fake_openai, 1)
    assert (handle.done, handle.status, handle.trace) == (False, "running", None)
    assert repr(handle) == "<RunHandle moa running>"
    handle.cancel()


def test_result_waits_for_the_answer(fake_openai: FakeServer, seat: SeatMaker) -> None:
    handle = panel(seat, "p+latency=0.2").start("Why?", temperature=0.5)
    result = handle.result()
    assert result.text
    assert handle.trace is result.trace
    assert (handle.done, handle.status) == (True, "ok")
    assert fake_openai.requests()[-1].body["temperature"] == 0.5
    assert handle.messages == [{"role": "user", "content": "Why?"}]


def test_a_handle_can_be_awaited(fake_openai: FakeServer, seat: SeatMaker) -> None:
    async def main() -> lab.Result:
        return await panel(seat, "p").start("Why?")

    assert asyncio.run(main()).text


def test_who_stops_waiting_does_not_stop_the_run(fake_openai: FakeServer, seat: SeatMaker) -> None:
    handle = panel(seat, "p+latency=0.5").start("Why?")

    async def impatient() -> None:
        async with asyncio.timeout(0.05):
            await handle

    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    with pytest.raises(TimeoutError, match="the run goes on"):
        handle.result(timeout_s=0.01)
    assert handle.result().text


def test_cancel_ends_the_calls_in_flight_and_keeps_those_that_were_answered(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    handle = panel(seat, "quick", "p+hang").start("Why?")
    fake_openai.wait_until(lambda seen: seen.in_flight == 1 and seen.total == 2, LIMIT_S)
    while len(handle.events) < 2:
        time.sleep(0.01)
    handle.cancel()
    with pytest.raises(lab.RunCancelled, match="1 calls had been answered") as raised:
        handle.result()
    in_flight(fake_openai, 0)
    assert handle.status == "cancelled"
    assert sorted(call.status for call in raised.value.trace.calls) == ["cancelled", "ok"]
    assert isinstance(handle.events[-1], lab.Failed)


def test_cancelled_before_it_began_it_sends_nothing(fake_openai: FakeServer, seat: SeatMaker) -> None:
    gate = threading.Event()
    first = panel(seat, "p").start("Why?", on_event=lambda _: gate.wait() and None)  # holds the private loop
    second = panel(seat, "q").start("Why?")
    second.cancel()
    gate.set()
    with pytest.raises(lab.RunCancelled):
        second.result()
    assert second.status == "cancelled"
    assert first.result().text
    assert not [sent for sent in fake_openai.requests() if sent.body["model"] == "q"]


def test_a_mistake_is_found_at_once(fake_openai: FakeServer, seat: SeatMaker) -> None:
    with pytest.raises(lab.ConfigError, match="temperature"):
        panel(seat, "p").start("Why?", temprature=1)
    assert fake_openai.requests() == []


def test_a_failed_run_raises_from_result_with_its_trace(fake_openai: FakeServer, seat: SeatMaker) -> None:
    handle = panel(seat, "p+status=400").start("Why?")
    with pytest.raises(lab.QuorumError) as raised:
        handle.result()
    assert handle.status == "error"
    assert handle.trace is raised.value.trace
    assert [call.status for call in raised.value.trace.calls] == ["error"]


def test_a_late_observer_hears_everything_once_and_in_order(fake_openai: FakeServer, seat: SeatMaker) -> None:
    early: list[Event] = []
    late: list[Event] = []
    handle = panel(seat, "p", "q+latency=0.3").start("Why?", on_event=early.append)
    while not handle.events:
        time.sleep(0.01)
    handle.observe(late.append)
    handle.result()
    assert late == early == handle.events
    assert isinstance(late[-1], lab.Finished)
