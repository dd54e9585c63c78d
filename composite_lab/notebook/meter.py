"""What runs under way have come to so far, as one line, and how often that line is drawn anew."""

from __future__ import annotations

import contextvars
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from composite_lab.notebook import text
from composite_lab.strategies.base import Strategy
from composite_lab.trace.call import Call
from composite_lab.trace.events import CallFinished, Event, Failed, Finished, StageStarted
from composite_lab.trace.model import Trace
from composite_lab.trace.summary import is_unpriced, total_cost

Number = TypeVar("Number", int, float)

DRAW_S = 0.1
"""A line is drawn at most this often, in seconds."""
CLOCK_S = 0.5
"""It is drawn at least this often while a run is under way, because time passes."""


@dataclass(frozen=True)
class Counts:
    """Attempts that have ended, added up. Tokens and USD are None when none are known."""

    calls: int = 0
    failed: int = 0
    cancelled: int = 0
    tokens: int | None = None
    cost_usd: float | None = None
    unpriced: int = 0

    @classmethod
    def of(cls, calls: Iterable[Call]) -> Counts:
        """The sum over calls."""
        calls = list(calls)
        known = [call.total_tokens for call in calls if call.total_tokens is not None]
        return cls(
            calls=len(calls),
            failed=sum(call.status in ("error", "timeout") for call in calls),
            cancelled=sum(call.status == "cancelled" for call in calls),
            tokens=sum(known) if known else None,
            cost_usd=total_cost(calls),
            unpriced=sum(is_unpriced(call) for call in calls),
        )

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.calls + other.calls,
            self.failed + other.failed,
            self.cancelled + other.cancelled,
            _sum(self.tokens, other.tokens),
            _sum(self.cost_usd, other.cost_usd),
            self.unpriced + other.unpriced,
        )

    def phrases(self) -> list[str]:
        """What a line says about them: "5 calls, 1 failed", "1,234 tokens", "0.001200 USD"."""
        said = [f"{self.calls:,} call{'' if self.calls == 1 else 's'}"]
        said += [f"{number:,} {how}" for how in ("failed", "cancelled") if (number := getattr(self, how))]
        phrases = [", ".join(said)]
        # Calls that were all refused cost nothing that anybody would have to know.
        if self.tokens is not None or self.unpriced:
            phrases.append("tokens unknown" if self.tokens is None else text.tokens(self.tokens))
        if self.cost_usd is not None:
            more = f" + {self.unpriced:,} of unknown price" if self.unpriced else ""
            phrases.append(text.usd(self.cost_usd) + more)
        elif self.unpriced:
            phrases.append("cost unknown")
        return phrases


@dataclass(eq=False)
class RunTally:
    """One run, as its events tell of it: what is planned, what was answered, and how it ended."""

    kind: str
    began: float = field(default_factory=time.monotonic)
    stage: str = ""
    planned: int = 0
    answered: int = 0
    counts: Counts = Counts()
    trace: Trace | None = None

    def hear(self, event: Event) -> None:
        """Count one event."""
        match event:
            case StageStarted(stage=stage, round=round_, calls=calls):
                self.stage = f"{stage} {round_ + 1}" if round_ else stage
                self.planned += calls
            case CallFinished(call=call):
                self.answered += call.status == "ok"
                self.counts += Counts.of([call])
            case Finished(result=result):
                self._end(result.trace)
            case Failed(trace=trace):
                self._end(trace)
            case _:
                pass

    def _end(self, trace: Trace) -> None:
        # Events do not tell of the calls inside of a composite that has a seat; the trace has them.
        self.trace, self.counts = trace, Counts.of(trace.calls)


class Tally:
    """The runs of one place, added up, from whichever threads they tell."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: list[RunTally] = []
        self._statuses: Counter[str] = Counter()
        self._counts = Counts()
        self._last: RunTally | None = None
        self._began: float | None = None
        self._ended = 0.0

    @property
    def busy(self) -> bool:
        """Whether a run is under way."""
        return bool(self._under_way)

    def hear(self, run: RunTally, event: Event) -> None:
        """Count an event of a run; its first one makes the run one of these."""
        with self._lock:
            if run not in self._under_way and run.trace is None:
                self._under_way.append(run)
                self._began = run.began if self._began is None else self._began
            run.hear(event)
            if run.trace is not None:
                self._under_way = [other for other in self._under_way if other is not run]
                self._statuses[run.trace.status] += 1
                self._counts += run.counts
                self._last, self._ended = run, time.monotonic()

    @property
    def bar(self) -> tuple[int, int]:
        """How many calls have been answered, and of how many that are planned so far."""
        with self._lock:
            return self._bar()

    def line(self) -> str:
        """All of it in one plain line: while it goes on what is going on, later the totals."""
        with self._lock:
            now = time.monotonic()
            return " · ".join(self._now(now) if self._under_way else self._totals())

    def html(self) -> str:
        """The line as HTML without script, with a bar while a run is under way."""
        answered, planned = self.bar
        bar = f'<progress max="{planned}" value="{answered}" aria-label="calls answered"></progress> '
        style = "font-variant-numeric: tabular-nums"
        return f'<div style="{style}">{bar if self.busy else ""}{text.escaped(self.line())}</div>'

    def _bar(self) -> tuple[int, int]:
        return sum(run.answered for run in self._under_way), sum(run.planned for run in self._under_way)

    def _now(self, now: float) -> list[str]:
        done, runs = self._statuses.total(), self._under_way
        answered, planned = self._bar()
        counts = sum((run.counts for run in runs), self._counts)
        phrases = [f"{done:,} run{'' if done == 1 else 's'} done"] if done else []
        phrases += [runs[0].kind, runs[0].stage] if len(runs) == 1 else [f"{len(runs):,} runs under way"]
        phrases.append(f"{answered:,} of {planned:,} answered")
        phrases += counts.phrases() if counts.calls else []
        return [*phrases, text.seconds(now - (self._began or now))]

    def _totals(self) -> list[str]:
        done = self._statuses.total()
        if self._last is None or self._last.trace is None:
            return []
        if done == 1:
            trace = self._last.trace
            return [
                f"{trace.strategy} {trace.status}",
                *self._counts.phrases(),
                text.seconds(trace.latency_s),
            ]
        how = ", ".join(f"{number:,} {status}" for status, number in self._statuses.items())
        elapsed = self._ended - (self._began or self._ended)
        return [f"{done:,} runs: {how}", *self._counts.phrases(), text.seconds(elapsed)]


class Meter:
    """Draws what is new, on a thread of its own and not too often; the last state always."""

    def __init__(self, draw: Callable[[], None], busy: Callable[[], bool]) -> None:
        self._draw = draw
        self._busy = busy
        self._lock = threading.Lock()
        self._drawing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stale = False
        self._broken = False
        self._drawn_at = time.monotonic()

    def changed(self) -> None:
        """There is something new to draw. Returns at once."""
        with self._lock:
            self._stale = True
            if self._thread is None and not self._broken:
                # With the caller's context variables: they tell the kernel which cell this belongs to.
                work = contextvars.copy_context().run
                name = "composite_lab-meter"
                self._thread = threading.Thread(target=work, args=(self._go_on,), name=name, daemon=True)
                _going.add(self)
                self._thread.start()

    def flush(self) -> None:
        """Draw now what is not drawn yet."""
        with self._drawing:
            with self._lock:
                if self._broken or not self._stale:
                    return
                self._stale = False
            self._drawn_at = time.monotonic()
            try:
                self._draw()
            except Exception as fault:  # what cannot be shown must not keep the rest from being done
                self._broken = True
                warnings.warn(f"a run is not shown: {type(fault).__name__}: {fault}", stacklevel=2)

    def _go_on(self) -> None:
        while True:
            time.sleep(DRAW_S)
            if self._busy() and time.monotonic() - self._drawn_at >= CLOCK_S:
                self._stale = True
            self.flush()
            with self._lock:
                if self._broken or not (self._stale or self._busy()):
                    self._thread = None
                    _going.discard(self)
                    return


_going: set[Meter] = set()


def flush_all() -> None:
    """Draw now what is not drawn yet, wherever: a cell that ends leaves nothing behind that is old."""
    for meter in list(_going):
        meter.flush()


def observer(tally: Tally, strategy: Strategy, heard: Callable[[], None]) -> Callable[[Event], None]:
    """What a run of this strategy is to be told to: counts its events, and says each time that it has."""
    run = RunTally(strategy.kind)

    def tell(event: Event) -> None:
        tally.hear(run, event)
        heard()

    return tell


def _sum(one: Number | None, other: Number | None) -> Number | None:
    return one if other is None else other if one is None else one + other
