"""Where a call stands in its run, and how it fails."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from composite_lab.trace.call import Call
from composite_lab.travel import Travels

if TYPE_CHECKING:
    from composite_lab.gateway.gateway import Gateway


class Place(NamedTuple):
    """Where in a run a call stands. `draw` tells apart calls of one stage that are otherwise alike."""

    stage: str
    role: str
    round: int = 0
    seat: int = 0
    sample: int = 0
    draw: int = 0


class CallFailed(Travels, Exception):
    """A sub-call failed. `call` is its record, `cause` the exception behind it.

    `shown` tells that pieces of its answer have already gone to the observer.
    """

    def __init__(self, call: Call, cause: Exception, *, shown: bool = False) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.call = call
        self.cause = cause
        self.shown = shown


@dataclass(frozen=True)
class Enclosing:
    """The call of an outer composite inside of which this run happens."""

    gateway: Gateway
    call_id: str


ENCLOSING: ContextVar[Enclosing | None] = ContextVar("composite_lab_enclosing", default=None)
