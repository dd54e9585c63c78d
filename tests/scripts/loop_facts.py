"""Prints what one scene finds out about `composite_lab.loop`, as JSON; patching asyncio is for good.

Usage: python loop_facts.py SCENE URL
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import composite_lab as lab
from composite_lab.loop import iterate_sync, run_sync

SCENE, URL = sys.argv[1:]
Facts = dict[str, Any]


def moa(model: str = "p") -> lab.MoA:
    endpoint: dict[str, Any] = {"api_base": URL, "api_key": "sk-test"}

    def seat(name: str) -> lab.Seat:
        return lab.Seat(model=f"openai/{name}", **endpoint)

    return lab.MoA(aggregator=seat("a+text=answered"), proposers=[seat(f"{n}{model}") for n in range(3)])


def patched() -> bool:
    return hasattr(asyncio, "_nest_patched")


async def where() -> tuple[int, int]:
    return id(asyncio.get_running_loop()), threading.get_ident()


def imported() -> Facts:
    return {"patched": patched(), "threads": [thread.name for thread in threading.enumerate()]}


async def in_asyncio() -> Facts:
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_soon(future.set_result, "made on the caller's loop")

    async def use() -> Any:
        return await future

    here = await where()
    return {"same": run_sync(where()) == here, "future": run_sync(use()), "patched": patched()}


async def in_uvloop() -> Facts:
    here = await where()
    first, second = run_sync(where()), run_sync(where())
    return {"same": first == here, "kept": first == second, "patched": patched()}


async def older_patch() -> Facts:
    # The mark that nest_asyncio leaves; the package itself is archived and not installed here.
    asyncio._nest_patched = True  # type: ignore[attr-defined]
    here = await where()
    first, second = run_sync(where()), run_sync(where())
    return {
        "same": first == here,
        "kept": first == second,
        "patched_anew": hasattr(asyncio, "_nest_asyncio2"),
    }


def moved() -> Facts:
    loops = set()

    async def numbers() -> Any:
        for number in range(3):
            loops.add(asyncio.get_running_loop())
            yield number

    iterator = iterate_sync(numbers())
    items = [next(iterator)]  # where no loop runs

    async def go_on() -> None:
        items.extend(iterator)

    asyncio.run(go_on())
    return {"items": items, "loops": len(loops)}


async def timed_out() -> Facts:
    outcome = "answered"
    try:
        async with asyncio.timeout(None) as limit:  # noqa: ASYNC100  (the run inside re-enters the loop)
            threading.Thread(target=expire_when_in_flight, args=(limit, asyncio.get_running_loop())).start()
            moa("p+hang").run("Why?")
    except TimeoutError:
        outcome = "timed out"
    # Up to Python 3.12 a cancellation that came while the task stood on the stack is delivered once more.
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
    return {"outcome": outcome, "then": moa().run("Why?").text}


def expire_when_in_flight(limit: asyncio.Timeout, loop: asyncio.AbstractEventLoop) -> None:
    from composite_lab.testing import FakeServer

    FakeServer(URL).wait_until(lambda seen: seen.in_flight == 3, timeout_s=60)
    loop.call_soon_threadsafe(lambda: limit.reschedule(loop.time()))


async def iterated() -> Facts:
    closed = []

    async def numbers() -> Any:
        try:
            for number in range(3):
                await asyncio.sleep(0)
                yield number
        finally:
            closed.append(asyncio.get_running_loop() is here)

    here = asyncio.get_running_loop()
    first = next(iterate_sync(numbers()))  # and the iterator is dropped
    return {"first": first, "closed": closed, "all": list(iterate_sync(numbers()))}


def forked() -> Facts:
    before = moa().run("Why?").text
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        sys.exit(0 if moa().run("Why?").text == before else 1)
    _, status = os.waitpid(child, 0)
    return {"child": os.waitstatus_to_exitcode(status), "parent": moa().run("Why?").text}


def left_open() -> Facts:
    events = moa("p+hang").stream("Why?")
    next(events)
    globals()["kept"] = events  # until the interpreter takes the module apart
    return {}


def exiting_observer() -> Facts:
    def leave(event: Any) -> None:
        raise SystemExit(7)

    moa().run("Why?", on_event=leave)
    return {}


def uvloop_run() -> Facts:
    import uvloop

    facts: Facts = uvloop.run(in_uvloop())
    return facts


SCENES: dict[str, Callable[[], Facts]] = {
    "imported": imported,
    "asyncio": lambda: asyncio.run(in_asyncio()),
    "uvloop": uvloop_run,
    "timed_out": lambda: asyncio.run(timed_out()),
    "iterated": lambda: asyncio.run(iterated()),
    "older_patch": lambda: asyncio.run(older_patch()),
    "moved": moved,
    "forked": forked,
    "left_open": left_open,
    "exiting_observer": exiting_observer,
}

print(json.dumps(SCENES[SCENE]()))
