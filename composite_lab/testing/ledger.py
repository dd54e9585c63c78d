"""The record of all chat requests since the last reset, and what can be counted on it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Period:
    """Everything counted since the last reset."""

    started: float = field(default_factory=time.monotonic)
    entries: list[Entry] = field(default_factory=list)
    in_flight: int = 0
    peak: int = 0
    total_tokens: int = 0
    by_model: Counter[str] = field(default_factory=Counter)
    by_outcome: Counter[str] = field(default_factory=Counter)
    times_used: Counter[str] = field(default_factory=Counter)
    bodies: Counter[str] = field(default_factory=Counter)


@dataclass
class Entry:
    """One chat request: `turn` and `repeat` count earlier ones of its behaviour and of its body."""

    ledger: Ledger
    period: Period
    index: int
    request: dict[str, Any]
    in_flight: int
    received_at: float
    turn: int
    repeat: int
    outcome: str = "in_progress"
    status: int | None = None
    ended_at: float | None = None

    def close(self, outcome: str, status: int | None, total_tokens: int = 0) -> None:
        """Note how the request ended; only the first call counts."""
        # The entry belongs to the period in which it began: a request that outlives a reset
        # leaves the new period's counts alone.
        with self.ledger.lock:
            if self.ended_at is not None:
                return
            self.outcome, self.status = outcome, status
            self.ended_at = time.monotonic() - self.period.started
            self.period.in_flight -= 1
            self.period.total_tokens += total_tokens
            self.period.by_outcome["in_progress"] -= 1
            self.period.by_outcome[outcome] += 1

    def as_json(self) -> dict[str, Any]:
        """Return the entry as `/_requests` shows it."""
        return {
            "id": f"req-{self.index}",
            "index": self.index,
            **self.request,
            "received_at": self.received_at,
            "ended_at": self.ended_at,
            "in_flight": self.in_flight,
            "outcome": self.outcome,
            "status": self.status,
        }


class Ledger:
    """All chat requests of the current period; every method may be called from any thread."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._period = Period()

    def open(self, request: dict[str, Any], *, behaviour_key: str, body_key: str) -> Entry:
        """Record a request that has arrived and return its entry, to be closed when it ends."""
        with self.lock:
            period = self._period
            period.in_flight += 1
            period.peak = max(period.peak, period.in_flight)
            entry = Entry(
                ledger=self,
                period=period,
                index=len(period.entries),
                request=request,
                in_flight=period.in_flight,
                received_at=time.monotonic() - period.started,
                turn=period.times_used[behaviour_key],
                repeat=period.bodies[body_key],
            )
            period.entries.append(entry)
            period.times_used[behaviour_key] += 1
            period.bodies[body_key] += 1
            period.by_model[request["model"]] += 1
            period.by_outcome["in_progress"] += 1
            return entry

    def reset(self) -> None:
        """Begin a new period in which nothing has been counted."""
        with self.lock:
            self._period = Period()

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests of the period in order of arrival."""
        with self.lock:
            return [entry.as_json() for entry in self._period.entries]

    def stats(self) -> dict[str, Any]:
        """Return the counts of the period."""
        with self.lock:
            period = self._period
            return {
                "total": len(period.entries),
                "in_flight": period.in_flight,
                "peak": period.peak,
                "distinct": len(period.bodies),
                "by_model": dict(period.by_model),
                "by_outcome": dict(+period.by_outcome),
                "total_tokens": period.total_tokens,
            }
