"""One answer of the fake model, before it is written down for travel."""

from __future__ import annotations

from dataclasses import dataclass

from composite_lab.testing.toolcalls import ToolCall


@dataclass(frozen=True)
class Choice:
    """One answer: text, calls of tools or a refusal, and perhaps the reasoning before it.

    `cut` is the reason why the text ends early.
    """

    content: str | None
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    refusal: str | None = None
    cut: str | None = None

    @property
    def finish_reason(self) -> str:
        """Why the answer ends."""
        return self.cut or ("tool_calls" if self.tool_calls else "stop")
