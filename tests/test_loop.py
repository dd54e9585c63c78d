"""Where a coroutine runs when synchronous code asks for it, and what ends with an interrupt."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import litellm
import pytest

import composite_lab as lab
from composite_lab.loop import iterate_sync, run_sync
from composite_lab.testing import FakeServer

SCRIPTS = Path(__file__).parent / "scripts"
LIMIT_S = 90.0  # generous, for a busy machine
LEFTOVERS = ("Task was destroyed", "never awaited", "Unclosed", "was never retrieved", "Exception ignored")
QUESTION = [{"role": "user", "content": "Why?"}]


async def where() -> tuple[int, int]:
    return id(asyncio.get_running_loop()), threading.get_ident()


async def with_steps(closed: list[tuple[int, int]]) -> AsyncGenerator[int, None]:
    try:
        for step in range(3):
            yield step
    finally:
        closed.append(await where())


def script(name: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPTS / name), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(child: subprocess.Popen[str]) -> tuple[int, str, str]:
    """How a child ended: exit code, stdout and stderr. A child that hangs is killed and fails the test."""
    try:
        out, err = child.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        pytest.fail(f"the script did not end; it wrote {out!r} and {err[-2000:]!r}")
    return child.returncode, out, err


def facts(scene: str, server: FakeServer) -> Any:
    code, out, err = ended(script("loop_facts.py", scene, server.base_url))
    assert code == 0, err
    return json.loads(out)


def leftovers(err: str) -> list[str]:
    return [line for line in err.splitlines() if any(words in line for words in LEFTOVERS)]


def in_flight(server: FakeServer, count: int) -> None:
    server.wait_until(lambda seen: seen.in_flight == count, LIMIT_S)


def all_disconnected(server: FakeServer, count: int) -> bool:
    """Every request was answered or ended because its client left, the latter `count` times."""
    seen = server.wait_until(lambda seen: seen.in_flight == 0, LIMIT_S)
    return (
        seen.by_outcome.get("client_disconnected") == count == seen.total - seen.by_outcome.get("answered", 0)
    )


# --- where it runs


def test_without_a_loop_all_calls_run_on_one_other_thread() -> None:
    places = {run_sync(where()) for _ in range(5)}
    with ThreadPoolExecutor(4) as threads:
        places |= set(threads.map(lambda _: run_sync(where()), range(20)))
    assert len(places) == 1
    assert places.pop()[1] != threading.get_ident()


def test_in_an_asyncio_loop_work_stays_on_its_thread_and_loop(fake_openai: FakeServer) -> None:
    assert facts("asyncio", fake_openai) == {
        "same": True,
        "future": "made on the caller's loop",
        "patched": True,
    }


def test_in_uvloop_the_private_loop_serves_and_asyncio_stays_as_it_is(fake_openai: FakeServer) -> None:
    assert facts("uvloop", fake_openai) == {"same": False, "kept": True, "patched": False}


def test_a_loop_that_runs_in_a_way_of_its_own_is_not_reentered() -> None:
    class Theirs(asyncio.SelectorEventLoop):
        def _run_once(self) -> None:
            super()._run_once()  # type: ignore[misc]

    async def main() -> bool:
        return run_sync(where()) == await where()

    with asyncio.Runner(loop_factory=Theirs) as runner:
        assert runner.run(main()) is False
    assert Theirs._run_once.__qualname__.endswith("Theirs._run_once")


def test_under_the_older_nest_asyncio_the_private_loop_serves(fake_openai: FakeServer) -> None:
    assert facts("older_patch", fake_openai) == {"same": False, "kept": True, "patched_anew": False}


def test_an_iterator_goes_on_where_it_began(fake_openai: FakeServer) -> None:
    assert facts("moved", fake_openai) == {"items": [0, 1, 2], "loops": 1}


def test_importing_patches_nothing_and_starts_no_thread(fake_openai: FakeServer) -> None:
    found = facts("imported", fake_openai)
    assert found["patched"] is False
    assert "composite_lab" not in found["threads"]


def test_context_variables_of_the_caller_are_visible() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    async def read() -> str:
        return variable.get()

    variable.set("set by the caller")
    assert run_sync(read()) == "set by the caller"


def test_the_very_exception_comes_through() -> None:
    error = KeyError("as it was raised")

    async def fail() -> None:
        raise error

    with pytest.raises(KeyError) as raised:
        run_sync(fail())
    assert raised.value is error


def test_a_closed_iterator_closes_the_generator_on_the_loop_it_ran_on() -> None:
    closed: list[tuple[int, int]] = []
    steps = iterate_sync(with_steps(closed))
    assert next(steps) == 0
    steps.close()  # type: ignore[attr-defined]  # every generator can be closed
    assert closed == [run_sync(where())]


def test_a_dropped_iterator_closes_the_generator() -> None:
    closed: list[tuple[int, int]] = []
    next(iterate_sync(with_steps(closed)))
    assert len(closed) == 1


def test_a_dropped_iterator_closes_the_generator_in_a_running_loop(fake_openai: FakeServer) -> None:
    assert facts("iterated", fake_openai) == {"first": 0, "closed": [True, True], "all": [0, 1, 2]}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_parent_and_child_both_work_after_a_fork(fake_openai: FakeServer) -> None:
    assert facts("forked", fake_openai) == {"child": 0, "parent": "answered"}


def test_an_observer_that_exits_ends_the_script(fake_openai: FakeServer) -> None:
    code, _, err = ended(script("loop_facts.py", "exiting_observer", fake_openai.base_url))
    assert (code, leftovers(err)) == (7, [])


# --- interrupts


@pytest.mark.parametrize(
    ("place", "work"),
    [("script", "run"), ("script", "stream"), ("asyncio", "run"), ("asyncio", "stream"),
     ("asyncio", "arun"), ("kernel", "run"), ("uvloop", "run"), ("uvloop", "stream")],
)  # fmt: skip
def test_an_interrupt_ends_all_calls_and_the_process(place: str, work: str, fake_openai: FakeServer) -> None:
    child = script("asked.py", fake_openai.base_url, place, work, "p+hang")
    in_flight(fake_openai, 3)
    child.send_signal(signal.SIGINT)
    code, out, err = ended(child)
    assert (code, out) == (-signal.SIGINT, "")
    assert err.strip().endswith("KeyboardInterrupt")
    assert all_disconnected(fake_openai, 3)
    assert fake_openai.stats().total == 3
    assert leftovers(err) == []


@pytest.mark.parametrize("place", ["script", "asyncio", "kernel", "uvloop"])
def test_an_interrupt_that_is_caught_leaves_the_loops_usable(place: str, fake_openai: FakeServer) -> None:
    child = script("asked.py", fake_openai.base_url, place, "run", "p+hang", "catch")
    in_flight(fake_openai, 3)
    child.send_signal(signal.SIGINT)
    _, out, err = ended(child)
    assert re.fullmatch(r"caught \w+\nanswered\n", out)
    assert all_disconnected(fake_openai, 3)
    assert leftovers(err) == []


@pytest.mark.parametrize(
    ("place", "work"),
    [("script", "run"), ("script", "stream"), ("asyncio", "run"), ("asyncio", "arun"), ("kernel", "run")],
)
def test_a_script_that_ends_by_itself_is_quiet(place: str, work: str, fake_openai: FakeServer) -> None:
    code, out, err = ended(script("asked.py", fake_openai.base_url, place, work, "p"))
    assert (code, out, leftovers(err)) == (0, "answered\n", [])


def test_a_stream_left_open_does_not_hold_up_the_end_of_the_script(fake_openai: FakeServer) -> None:
    assert facts("left_open", fake_openai) == {}


# --- cancellation in asynchronous code


def asking(server: FakeServer, **options: Any) -> dict[str, Any]:
    """The keywords of a `litellm.acompletion` that asks a composite of three proposers."""
    return {
        "model": "composite/moa/openai/a",
        "messages": QUESTION,
        "proposers": [f"openai/{number}p+hang" for number in range(3)],
        "api_base": server.base_url,
        "api_key": "sk-test",
        **options,
    }


def hanging(server: FakeServer) -> lab.MoA:
    seat: dict[str, Any] = {"api_base": server.base_url, "api_key": "sk-test"}
    proposers = [lab.Seat(model=f"openai/{number}p+hang", **seat) for number in range(3)]
    return lab.MoA(aggregator=lab.Seat(model="openai/a", **seat), proposers=proposers)


WAYS: dict[str, Callable[[FakeServer], Coroutine[Any, Any, Any]]] = {
    "arun": lambda server: hanging(server).arun("Why?"),
    "litellm": lambda server: litellm.acompletion(**asking(server)),
    "litellm stream": lambda server: read(litellm.acompletion(**asking(server, stream=True))),
}


async def read(stream: Coroutine[Any, Any, Any]) -> None:
    async for _ in await stream:
        pass


@pytest.mark.parametrize("way", WAYS)
def test_cancelling_the_task_ends_its_calls(way: str, fake_openai: FakeServer) -> None:
    async def main() -> bool:
        task = asyncio.create_task(WAYS[way](fake_openai))
        await asyncio.to_thread(in_flight, fake_openai, 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await asyncio.to_thread(all_disconnected, fake_openai, 3)

    assert asyncio.run(main())


@pytest.mark.parametrize("way", WAYS)
def test_a_timeout_around_a_run_ends_its_calls(way: str, fake_openai: FakeServer) -> None:
    async def expire(limit: asyncio.Timeout) -> None:
        await asyncio.to_thread(in_flight, fake_openai, 3)
        limit.reschedule(asyncio.get_running_loop().time())

    async def ask() -> None:
        async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as group:
            group.create_task(expire(limit))
            await WAYS[way](fake_openai)

    async def main() -> bool:
        with pytest.raises(TimeoutError):
            await ask()
        return await asyncio.to_thread(all_disconnected, fake_openai, 3)

    assert asyncio.run(main())


def test_a_timeout_around_a_synchronous_run_in_a_loop_ends_its_calls(fake_openai: FakeServer) -> None:
    assert facts("timed_out", fake_openai) == {"outcome": "timed out", "then": "answered"}
    assert all_disconnected(fake_openai, 3)


@pytest.mark.parametrize("how", ["aclose", "break"])
def test_leaving_an_event_stream_ends_its_calls(how: str, fake_openai: FakeServer) -> None:
    async def main() -> bool:
        events = hanging(fake_openai).astream("Why?")
        async for _ in events:
            await asyncio.to_thread(in_flight, fake_openai, 3)
            break
        if how == "aclose":
            await events.aclose()
        del events
        return await asyncio.to_thread(all_disconnected, fake_openai, 3)

    assert asyncio.run(main())


def test_closing_a_litellm_stream_ends_the_call_that_it_streams(fake_openai: FakeServer) -> None:
    slow = {"model": "composite/moa/openai/a+chunk_latency=1", "proposers": ["openai/p"]}
    litellm.completion(**asking(fake_openai, **slow))  # who has answered once is shown as it comes
    fake_openai.reset()

    async def main() -> bool:
        stream = await litellm.acompletion(**asking(fake_openai, **slow), stream=True)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.aclose()
        return await asyncio.to_thread(all_disconnected, fake_openai, 1)

    assert asyncio.run(main())
