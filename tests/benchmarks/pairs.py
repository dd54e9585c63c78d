"""Measurements in pairs: ours and by hand right after each other, so that both meet the same machine."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

WARM_UP = 3
"""How many rounds are thrown away; no more than are kept."""
Pair = tuple[float, float]
"""What ours and what by-hand took in one round, in seconds."""


@dataclass(frozen=True)
class Measured:
    """A case and its pairs. `bound` is the highest ratio that passes; None means that it is only shown."""

    case: str
    pairs: Sequence[Pair]
    bound: float | None

    @property
    def ratio(self) -> float:
        """The median of the pairs' own ratios, which a change of the machine's load does not move."""
        return median(ours / by_hand for ours, by_hand in self.pairs)

    @property
    def passed(self) -> bool:
        """Whether the ratio is within its bound."""
        return self.bound is None or self.ratio <= self.bound

    def row(self) -> list[str]:
        """The cells of the table."""
        ours, by_hand = (median(times) * 1000 for times in zip(*self.pairs, strict=True))
        bound = "" if self.bound is None else f"{self.bound:.2f}"
        verdict = "" if self.bound is None else "ok" if self.passed else "TOO SLOW"
        cells = [self.case, f"{ours:.1f} ms", f"{by_hand:.1f} ms", f"{self.ratio:.3f}", bound]
        return [*cells, str(len(self.pairs)), verdict]


HEADINGS = ["case", "ours", "by hand", "ratio", "bound", "n", "verdict"]


def table(measured: Sequence[Measured]) -> str:
    """The measurements as lines of aligned columns."""
    rows = [HEADINGS, *(one.row() for one in measured)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


Timed = Callable[[], float]
TimedAsync = Callable[[], Awaitable[float]]


async def interleaved_async(ours: TimedAsync, by_hand: TimedAsync, rounds: int) -> list[Pair]:
    """`rounds` pairs after `WARM_UP` that are thrown away. Which one goes first changes with every round."""
    pairs: list[Pair] = []
    for number in range(-min(WARM_UP, rounds), rounds):
        gc.collect()
        if number % 2:
            second = await by_hand()
            first = await ours()
        else:
            first = await ours()
            second = await by_hand()
        if number >= 0:
            pairs.append((first, second))
    return pairs


def interleaved(ours: Timed, by_hand: Timed, rounds: int) -> list[Pair]:
    """The same for synchronous code."""
    pairs: list[Pair] = []
    for number in range(-min(WARM_UP, rounds), rounds):
        gc.collect()
        if number % 2:
            second, first = by_hand(), ours()
        else:
            first, second = ours(), by_hand()
        if number >= 0:
            pairs.append((first, second))
    return pairs


def timed(work: Callable[[], object], clock: Callable[[], float] = perf_counter) -> Timed:
    """The work as something that returns how long it took, in the clock's seconds."""

    def measure() -> float:
        start = clock()
        work()
        return clock() - start

    return measure


def timed_async(
    work: Callable[[], Awaitable[object]], clock: Callable[[], float] = perf_counter
) -> TimedAsync:
    """The same for asynchronous work."""

    async def measure() -> float:
        start = clock()
        await work()
        return clock() - start

    return measure
