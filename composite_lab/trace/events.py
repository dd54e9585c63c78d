"""What a running strategy tells its observers, in the order in which it happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from composite_lab.trace.call import Call
from composite_lab.trace.model import Result, Trace


@dataclass(frozen=True)
class StageStarted:
    """A stage begins; `calls` is how many sub-calls it plans, retries not counted."""

    stage: str
    round: int
    calls: int


@dataclass(frozen=True)
class CallFinished:
    """An attempt at a sub-call has ended, well or badly."""

    call: Call


@dataclass(frozen=True)
class StageFinished:
    """A stage has ended; `summary` is its section of `reasoning_content`."""

    stage: str
    round: int
    summary: str


@dataclass(frozen=True)
class ReasoningDelta:
    """A piece of the final model's own reasoning."""

    text: str


@dataclass(frozen=True)
class TextDelta:
    """A piece of the final answer. `choice` is its index when several were asked for (`n`)."""

    text: str
    choice: int = 0


@dataclass(frozen=True)
class ToolCallDelta:
    """A piece of a tool call of the final model, as OpenAI streams it."""

    index: int
    id: str | None
    name: str | None
    arguments: str
    choice: int = 0


@dataclass(frozen=True)
class Finished:
    """The last event of a run that succeeded."""

    result: Result


@dataclass(frozen=True)
class Failed:
    """The last event of a run that failed or was cancelled: why, and the trace of what was done."""

    error: BaseException
    trace: Trace


Event = (
    StageStarted
    | CallFinished
    | StageFinished
    | ReasoningDelta
    | TextDelta
    | ToolCallDelta
    | Finished
    | Failed
)
Observer = Callable[[Event], None]
