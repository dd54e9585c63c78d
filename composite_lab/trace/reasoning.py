"""The text of `reasoning_content`: a section for every stage, the standings, the totals.

Each has a heading with what it took. A model's text never begins a line of it, so that the final model's own
reasoning, which stands in it under a heading, can be found again when a client sends the text back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from composite_lab.trace.call import Call, Usage, function_of
from composite_lab.trace.summary import Summary, harmless, span_s, total_cost

Detail = Literal["compact", "full", "none"]
"""How much of the stages `reasoning_content` tells: their beginnings, whole texts, or nothing."""
COMPACT_CHARS = 3_000
"""How long the lines of calls and standings may be in all where it is compact. Headings come on top."""
EXCERPT_CHARS = 160
NAME_CHARS = 80
END = "\n\n"

_STAGE = r"## [^\n]*: \d+ of \d+ answered"
_OURS = re.compile(rf"\s*{_STAGE}")
_OWN = re.compile(r"(?:^|\n)## Reasoning of the [^\n]*\n\n")
_BEHIND_OWN = re.compile(rf"(?:^|\n\n)(?={_STAGE}|## Total: )")

Wording = Callable[[Call], str]


def stage_section(
    title: str, calls: Sequence[Call], below: Iterable[Call] = (), *,
    detail: Detail = "compact", room: int = COMPACT_CHARS, wording: Wording | None = None,
) -> str:  # fmt: skip
    """The section of a stage: each seat's last attempt, errors by their type only.

    `below` are the calls inside of these, whose tokens and cost count as well. `room` is how many
    characters the lines of a compact section may take, `wording` gives the text of a call where it should
    read otherwise than it came.
    """
    last = {(call.seat, call.sample): call for call in calls}
    answered = sum(call.status == "ok" for call in last.values())
    heading = f"## {title}: {answered} of {len(last)} answered{_took([*calls, *below], span_s(calls))}"
    sampled = any(call.sample for call in calls)
    names = [_name(call, sampled) for call in last.values()]
    said = [
        (wording(call) if wording else _said(call)) if call.status == "ok" else None for call in last.values()
    ]
    reasons = [call.error_type or call.status for call in last.values()]
    told = list(zip(names, said, reasons, strict=True))
    if detail == "full":
        return f"{heading}{END}" + "".join(
            f"### {name}{END}{_quoted(text) if text is not None else f'(no answer: {reason})'}{END}"
            for name, text, reason in told
        )
    lines = [
        f"- {name}: {_excerpt(text) if text is not None else f'no answer ({reason})'}"
        for name, text, reason in told
    ]
    return f"{heading}{END}{_fitting(lines, room)}"


def lines_section(title: str, lines: Sequence[str], *, room: int = COMPACT_CHARS) -> str:
    """A section of lines of our own: a Council's standings."""
    return f"## {title}{END}{_fitting([f'- {line}' for line in lines], room)}"


def own_heading(role: str, name: str) -> str:
    """What stands above the final model's own reasoning."""
    return f"## Reasoning of the {role}, {harmless(name)}{END}"


def totals_section(summary: Summary, calls: Sequence[Call]) -> str:
    """The last line: what the whole run took."""
    counted = "1 call" if summary.calls == 1 else f"{summary.calls} calls"
    return f"## Total: {counted}, {summary.failures} failed{_took(calls, summary.wall_time_s)}"


def own_reasoning(text: str) -> str | None:
    """The final model's own reasoning in a `reasoning_content` of ours, "" without any.

    None for a text that is not ours.
    """
    if not _OURS.match(text):
        return None
    headings = list(_OWN.finditer(text))
    if not headings:
        return ""
    own = text[headings[-1].end() :]  # of several rounds the last, of nested composites the innermost
    end = _BEHIND_OWN.search(own)
    return own[: end.start()] if end else own


def _said(call: Call) -> str:
    calls = (f"calls {name}({arguments})" for name, arguments in map(function_of, call.tool_calls))
    return "\n".join(filter(None, (call.text, *calls)))


def _name(call: Call, sampled: bool) -> str:
    sample = f", sample {call.sample + 1}" if sampled else ""
    return f"{call.role} {call.seat + 1}{sample} · {harmless(call.name)[:NAME_CHARS]}"


def _took(calls: Sequence[Call], seconds: float) -> str:
    tokens = Usage.of(calls).total_tokens
    cost = total_cost(calls)
    parts = [
        f"{tokens} tokens" if tokens else "",
        "" if cost is None else f"{cost:.6f} USD",
        f"{seconds:.1f} s",
    ]
    return "".join(f" · {part}" for part in parts if part)


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT_CHARS else f"{line[:EXCERPT_CHARS].rstrip()} …"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.strip().splitlines())


def _fitting(lines: Sequence[str], room: int) -> str:
    """As many lines as there is room for, and how many were left out."""
    kept: list[str] = []
    for line in lines:
        room -= len(line)
        if room < 0:
            break
        kept.append(line)
    left = len(lines) - len(kept)
    if left:
        kept.append(f"- and {left} more" if kept else f"- {left} not shown")
    return "\n".join(kept) + END
