"""Verdict: what a council chose among options, and how its members voted."""

from __future__ import annotations

from collections import Counter

from pydantic import Field

from composite_lab.trace.call import BallotStatus, Record


class Vote(Record):
    """The choice in one member's opinion, and how sure the member says it is, from 0 to 1.

    `status` is `valid`, `invalid` when no choice could be read (`problem` says why), or `abstained`.
    """

    member: int
    call_id: str
    choice: str | None = None
    confidence: float | None = None
    status: BallotStatus
    problem: str | None = None


class Verdict(Record):
    """A council's choice among `options`, and how sure its chairman says it is, from 0 to 1.

    `choice` is None when the chairman abstained or no choice could be read from its reply, also when it
    was asked again; `problem` says why. `status` is that of the chairman's reply: `failed` when a member's
    opinion stands in for it. A confidence is what a model states, and as a rule not calibrated.
    """

    options: list[str]
    choice: str | None = None
    confidence: float | None = None
    status: BallotStatus
    problem: str | None = None
    votes: list[Vote] = Field(default_factory=list)

    def __repr__(self) -> str:
        sure = "" if self.confidence is None else f", {self.confidence:.0%} sure"
        counted = ", ".join(f"{votes} for {option!r}" for option, votes in self.counts().items())
        return f"<Verdict {self.choice!r}{sure}; votes: {counted}>"

    def counts(self) -> dict[str, int]:
        """How many members chose each option."""
        cast = Counter(vote.choice for vote in self.votes)
        return {option: cast[option] for option in self.options}
