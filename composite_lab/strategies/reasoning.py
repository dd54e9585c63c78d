"""ReasoningContent: what a run tells of itself as `reasoning_content`, kept and told section by section."""

from __future__ import annotations

from collections.abc import Sequence

from composite_lab.trace.call import Call
from composite_lab.trace.events import Observer, ReasoningDelta, Section, StageFinished
from composite_lab.trace.model import by_parent, in_stable_order
from composite_lab.trace.reasoning import (
    COMPACT_CHARS,
    END,
    Detail,
    Wording,
    lines_section,
    own_heading,
    stage_section,
    totals_section,
)
from composite_lab.trace.summary import Summary


class ReasoningContent:
    """The sections so far. `streams` says that the final model's own reasoning is told as it comes.

    `role` and `name` are the final model's. The events that an observer gets add up to `text`.
    """

    def __init__(self, detail: Detail, emit: Observer, *, streams: bool, role: str, name: str) -> None:
        self._detail = detail
        self._emit = emit
        self._streams = streams
        self._heading = own_heading(role, name)
        self._sections: list[str] = []
        self._room = COMPACT_CHARS
        self._is_thinking = False
        self._seen = 0

    @property
    def text(self) -> str:
        """All sections."""
        text = "".join(self._sections)
        return text if self._detail == "none" else text.rstrip()

    def tell_stage(
        self, stage: str, round_: int, calls: Sequence[Call], wording: Wording | None = None
    ) -> None:
        """Add the section of a stage out of all calls so far, and tell that the stage has ended."""
        section = ""
        # Stages wait for each other: what was there when the last one ended is in none that follows.
        fresh, self._seen = calls[self._seen :], len(calls)
        if self._detail != "none":
            below = by_parent(list(fresh))
            # Calls of a composite that sits here belong to that seat's own answer.
            own = in_stable_order(
                [call for call in below.get(None, []) if (call.stage, call.round) == (stage, round_)]
            )
            title = stage.capitalize() if round_ == 0 else f"{stage.capitalize()}, round {round_ + 1}"
            inner = _descendants(own, below)
            section = stage_section(title, own, inner, detail=self._detail, room=self._room, wording=wording)
            self._room -= len(section.partition(END)[2])
            section = (END if self._is_thinking else "") + section
        self._is_thinking = False
        self._sections.append(section)
        self._emit(StageFinished(stage, round_, section))

    def tell_lines(self, title: str, lines: Sequence[str]) -> None:
        """Add a section of lines: a Council's standings."""
        if self._detail != "none":
            section = lines_section(title, lines, room=self._room)
            self._room -= len(section.partition(END)[2])
            self._tell(section)

    def tell_total(self, summary: Summary, calls: Sequence[Call]) -> None:
        """Close with what the whole run took."""
        if self._detail != "none":
            self._tell(totals_section(summary, calls))

    def think(self, text: str) -> None:
        """Add a piece of the final model's own reasoning, under its heading."""
        if not self._is_thinking and self._detail != "none":
            self._tell(self._heading)
        self._is_thinking = True
        self._sections.append(text)
        if self._streams:
            self._emit(ReasoningDelta(text))

    def _tell(self, section: str) -> None:
        self._sections.append(section)
        self._emit(Section(section))


def _descendants(calls: Sequence[Call], below: dict[str | None, list[Call]]) -> list[Call]:
    """All calls inside of these."""
    found: list[Call] = []
    pending = list(calls)
    while pending:
        inner = below.get(pending.pop().call_id, [])
        found += inner
        pending += inner
    return found
