"""The calls of one stage: what each is, waiting for them, and telling why they failed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from composite_lab.gateway import CallFailed
from composite_lab.replies import Reply
from composite_lab.seats import Seat
from composite_lab.strategies.conversation import Message


@dataclass(frozen=True)
class Job:
    """A call that a stage wants made: who is asked what."""

    seat: Seat
    messages: list[Message]
    index: int
    sample: int = 0

    def asks_the_same(self, other: Job) -> bool:
        """True when both send the same request, so that only the draw tells their answers apart."""
        return self._request() == other._request()

    def likeness(self) -> int:
        """A number that all jobs have in common which ask the same, and hardly any others."""
        return _likeness(self._request())

    def _request(self) -> tuple[Any, ...]:
        seat = self.seat
        return seat.model, seat.api_base, seat.call_params(self.sample), self.messages


def draws(jobs: Sequence[Job]) -> list[int]:
    """How many jobs before it ask the same, for each job in turn."""
    # Parameters may be anything that a caller's client takes, so they are no key of a dict themselves. Each
    # job is compared with one of each kind that is like it, not with all before it.
    alike: dict[int, list[tuple[Job, count[int]]]] = {}
    found = []
    for job in jobs:
        kinds = alike.setdefault(job.likeness(), [])
        numbers = next((numbers for first, numbers in kinds if job.asks_the_same(first)), None)
        if numbers is None:
            kinds.append((job, numbers := count()))
        found.append(next(numbers))
    return found


async def cut_stragglers(
    outcomes: Sequence[asyncio.Task[Reply | CallFailed]], quorum: int, grace_s: float
) -> None:
    """Wait for all, but once `quorum` replies are in only `grace_s` seconds more; then cut the rest."""
    if not outcomes:
        return
    enough = asyncio.Event()
    ended = replies = 0

    def tally(task: asyncio.Task[Reply | CallFailed]) -> None:
        nonlocal ended, replies
        ended += 1
        replies += _is_reply(task)
        if replies >= quorum or ended == len(outcomes):
            enough.set()

    for task in outcomes:
        task.add_done_callback(tally)
    await enough.wait()
    _, late = await asyncio.wait(outcomes, timeout=grace_s)
    for task in late:
        task.cancel()


def causes(failures: Sequence[CallFailed], *, in_brief: bool = False) -> str:
    """Every cause once, with the seats that failed of it, numbered from 1 as in all that people read.

    In brief it is the kind of error, without what the error says.
    """
    seats: dict[tuple[str, str], list[str]] = {}
    for failure in failures:
        call = failure.call
        number = f"{call.seat + 1}.{call.sample + 1}" if call.sample else str(call.seat + 1)
        cause = type(failure.cause).__name__ if in_brief else str(failure)
        seats.setdefault((call.name, cause), []).append(number)
    return "; ".join(f"{', '.join(numbers)} ({name}): {cause}" for (name, cause), numbers in seats.items())


def _is_reply(task: asyncio.Task[Reply | CallFailed]) -> bool:
    return (
        task.done() and not task.cancelled() and task.exception() is None and isinstance(task.result(), Reply)
    )


def _likeness(value: Any) -> int:
    """A hash also of what has none: equal values have equal ones, which is all that is asked of it."""
    if isinstance(value, dict):
        return hash(frozenset((key, _likeness(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return hash(tuple(map(_likeness, value)))
    try:
        return hash(value)
    except TypeError:
        return 0
