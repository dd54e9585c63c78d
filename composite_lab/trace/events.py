"""What a running strategy tells its observers, in the order in which it happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

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
class Section:
    """A section of `reasoning_content` that is no stage's: standings, totals, a heading."""

    text: str


@dataclass(frozen=True)
class ReasoningDelta:
    """A piece of the final model's own reasoning. `choice` as in `TextDelta`."""

    text: str
    choice: int = 0


@dataclass(frozen=True)
class TextDelta:
    """A piece of the final answer. `choice` is its index when several were asked for (`n`)."""

    text: str
    choice: int = 0


@dataclass(frozen=True)
class ToolCallDelta:
    """A piece of a tool call of the final model: the first one has `id` and `name`.

    `index` is the call's place among those of its choice. `arguments` is JSON or, of the type `custom`, the
    input; `fields` holds what one provider adds, such as the signature of a thought.
    """

    index: int
    id: str | None
    name: str | None
    arguments: str
    choice: int = 0
    type: str = "function"
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DetailsDelta:
    """What else a piece of the final answer holds, as it came: annotations, images, a refusal, logprobs."""

    fields: dict[str, Any]
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
    | Section
    | ReasoningDelta
    | TextDelta
    | ToolCallDelta
    | DetailsDelta
    | Finished
    | Failed
)
Observer = Callable[[Event], None]
