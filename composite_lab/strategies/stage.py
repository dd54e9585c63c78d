"""The calls of one stage: what each is, waiting for them, and telling why they failed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

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
        mine, theirs = self.seat, other.seat
        return (
            mine.model == theirs.model
            and mine.api_base == theirs.api_base
            and mine.call_params(self.sample) == theirs.call_params(other.sample)
            and self.messages == other.messages
        )


async def cut_stragglers(
    outcomes: Sequence[asyncio.Task[Reply | CallFailed]], quorum: int, grace_s: float
) -> None:
    """Wait for all, but once `quorum` replies are in only `grace_s` seconds more; then cut the rest."""
    pending = set(outcomes)
    deadline: float | None = None
    clock = asyncio.get_running_loop().time
    while pending:
        left = None if deadline is None else max(0.0, deadline - clock())
        done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            for task in pending:
                task.cancel()
            return
        if deadline is None and sum(_is_reply(task) for task in outcomes) >= quorum:
            deadline = clock() + grace_s


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
