"""Asks a MoA of three proposers in one kind of place, to be interrupted there or to end by itself.

Usage: python asked.py URL PLACE WORK MODEL [catch]

PLACE is where the caller stands: `script` (no loop), `asyncio` (in `asyncio.run`), `kernel` (in a loop
that runs without it, as a notebook's does) or `uvloop`. WORK is `run`, `stream` or `arun`. MODEL is the
proposers' model on the server at URL. With `catch` an interrupt is caught and the next run must answer.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from typing import Any

import composite_lab as lab

URL, PLACE, WORK, MODEL, *OPTIONS = sys.argv[1:]


def moa(model: str) -> lab.MoA:
    endpoint: dict[str, Any] = {"api_base": URL, "api_key": "sk-test"}

    def seat(name: str) -> lab.Seat:
        return lab.Seat(model=f"openai/{name}", **endpoint)

    return lab.MoA(aggregator=seat("a+text=answered"), proposers=[seat(f"{n}{model}") for n in range(3)])


def ask(model: str) -> None:
    if WORK == "run":
        print(moa(model).run("Why?").text)
        return
    for event in moa(model).stream("Why?"):
        if isinstance(event, lab.Finished):
            print(event.result.text)


def script() -> None:
    try:
        ask(MODEL)
    except KeyboardInterrupt as interrupt:
        if "catch" not in OPTIONS:
            raise
        print("caught", type(interrupt).__name__)
        ask("p")


async def coroutine() -> None:
    try:
        if WORK == "arun":
            print((await moa(MODEL).arun("Why?")).text)
        else:
            ask(MODEL)
    except (KeyboardInterrupt, asyncio.CancelledError) as interrupt:
        if "catch" not in OPTIONS:
            raise
        print("caught", type(interrupt).__name__)
        ask("p")


def kernel() -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(coroutine())


def in_uvloop() -> None:
    import uvloop

    uvloop.run(coroutine())


PLACES: dict[str, Callable[[], None]] = {
    "script": script,
    "asyncio": lambda: asyncio.run(coroutine()),
    "kernel": kernel,
    "uvloop": in_uvloop,
}

# A parent may have had SIGINT ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
PLACES[PLACE]()
