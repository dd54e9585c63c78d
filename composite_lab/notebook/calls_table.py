"""The calls of a run side by side: in a table, and on a line of time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from composite_lab.notebook.call_card import outcome, who
from composite_lab.notebook.document import name, row, table
from composite_lab.notebook.text import UNKNOWN, escaped, one_line, seconds
from composite_lab.tools import STAGE as TOOL_STAGE
from composite_lab.trace.call import Call
from composite_lab.trace.model import FINAL_STAGES, by_parent
from composite_lab.trace.summary import critical_path, is_unpriced

DEEPEST = 8
"""How deep calls are shown below each other. Real ones go three deep."""
NOTHING = "–"  # noqa: RUF001  (a dash in a table, for what cannot be there)


@dataclass(frozen=True)
class Stage:
    """The calls of one stage and round, each with how deep it lies below another."""

    title: str
    calls: list[tuple[Call, int]]

    @property
    def top(self) -> list[Call]:
        """The stage's own calls, without those below them."""
        return [call for call, depth in self.calls if depth == 0]

    @property
    def numbers(self) -> str:
        """How many answered, and the time from the first start to the last end. Plain text."""
        last = {(call.seat, call.sample): call for call in self.top}
        answered = sum(call.status == "ok" for call in last.values())
        begin = min(call.start_offset_s for call in self.top)
        end = max(call.start_offset_s + call.latency_s for call in self.top)
        return f"{answered} of {len(last)} answered · {seconds(end - begin)}"


def stages(calls: Sequence[Call]) -> list[Stage]:
    """The calls by stage and round, in trace order; calls of a composite stand behind their parent."""
    found: dict[tuple[str, int], list[tuple[Call, int]]] = {}
    current: list[tuple[Call, int]] = []
    for call, depth in nested(calls):
        if depth == 0:
            current = found.setdefault((call.stage, call.round), [])
        current.append((call, depth))
    return [
        Stage(f"{one_line(stage).capitalize()}{f', round {round_ + 1}' if round_ else ''}", rows)
        for (stage, round_), rows in found.items()
    ]


def nested(calls: Sequence[Call]) -> list[tuple[Call, int]]:
    """Each call once, those of a composite behind their parent, with the depth of each (0 at the top)."""
    below = by_parent(list(calls))
    ordered: list[tuple[Call, int]] = []
    seen: set[int] = set()
    pending = [(call, 0) for call in reversed(below.get(None, []))]
    while pending:
        call, depth = pending.pop()
        if id(call) in seen:
            continue
        seen.add(id(call))
        ordered.append((call, min(depth, DEEPEST)))
        pending += [(child, depth + 1) for child in reversed(below.get(call.call_id, []))]
    # A file may hold calls that are their own ancestors.
    return ordered + [(call, 0) for call in calls if id(call) not in seen]


def selected(calls: Sequence[Call], most: int) -> list[Call]:
    """At most so many of the calls, in their order: some of each stage, failed ones and the final ones."""
    if len(calls) <= most:
        return list(calls)
    groups: dict[tuple[str | None, str, int, bool], int] = {}
    turns: dict[int, int] = {}
    for call in calls:
        group = (call.parent_call_id, call.stage, call.round, call.status == "ok")
        turns[id(call)] = groups[group] = groups.get(group, 0) + 1
        if call.stage in FINAL_STAGES and call.parent_call_id is None:
            turns[id(call)] = 0
    chosen = {id(call) for call in sorted(calls, key=lambda call: turns[id(call)])[:most]}
    known = {call.call_id for call in calls}
    kept: set[str] = set()
    shown = []
    for call, _ in nested(calls):
        if id(call) in chosen and (call.parent_call_id not in known or call.parent_call_id in kept):
            kept.add(call.call_id)
            shown.append(call)
    return shown


def calls_table(calls: Sequence[Call]) -> str:
    """A row per attempt: who, model, how it ended, tokens, cost, start and latency."""
    headings = ("call", "model", "status", "tokens in", "out", "USD", "start s", "took s")
    return "".join(table(headings, (_row(call, depth) for call, depth in nested(calls)), "cl-calls"))


def timeline(calls: Sequence[Call], critical: Collection[str] | None = None) -> str:
    """When each call was under way: a bar per attempt on a scale in seconds since the run's start.

    `critical` holds the ids of the calls on the critical path, where `calls` are only some of a run.
    """
    if not calls:
        return '<p class="cl-meta">No calls.</p>'
    path = {call.call_id for call in critical_path(calls)} if critical is None else critical
    end = max(call.start_offset_s + call.latency_s for call in calls)
    rows = [_bar(call, depth, end, call.call_id in path) for call, depth in nested(calls)]
    ticks = "".join(f"<span>{seconds(end * share)} </span>" for share in (0, 0.25, 0.5, 0.75, 1))
    head = f'<tr><th></th><th><div class="cl-scale">{ticks}</div></th><th>start, latency</th></tr>'
    return (
        f'<div class="cl-wide"><table class="cl-table cl-timeline"><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="cl-meta">◆ critical path: the calls that the run had to wait for</p>'
    )


def _row(call: Call, depth: int) -> str:
    return row(
        [
            f"{_indent(depth)}{escaped(who(call))}",
            name(call.name),
            status_mark(call),
            *_tokens(call),
            _cost(call),
            f"{call.start_offset_s:.2f}",
            f"{call.latency_s:.2f}",
        ]
    )


def status_mark(call: Call) -> str:
    """How a call ended, as HTML: in words, and in a colour."""
    return f'<span class="cl-status cl-{call.status}">{escaped(outcome(call))}</span>'


def _tokens(call: Call) -> Iterator[str]:
    for count in (call.prompt_tokens, call.completion_tokens):
        if count is not None:
            yield f"{count:,}"
        else:
            yield UNKNOWN if call.status == "ok" and not _has_none(call) else NOTHING


def _cost(call: Call) -> str:
    if call.cost_usd is not None:
        return f"{call.cost_usd:.6f}"
    return UNKNOWN if is_unpriced(call) else NOTHING


def _has_none(call: Call) -> bool:
    return call.usage_source == "children" or call.stage == TOOL_STAGE


def _bar(call: Call, depth: int, end: float, is_critical: bool) -> str:
    left = _percent(call.start_offset_s, end)
    width = min(_percent(call.latency_s, end), 100 - left)
    kind = f"cl-bar cl-{call.status}{' cl-critical' if is_critical else ''}"
    told = f"{seconds(call.start_offset_s)}, {seconds(call.latency_s)}"
    ended = "" if call.status == "ok" else f" {status_mark(call)}"
    mark = "◆ " if is_critical else ""
    return row(
        [
            f"{_indent(depth)}{mark}{escaped(who(call))} {name(call.name, 40)}",
            f'<div class="cl-track"><div class="{kind}" style="margin-left:{left:.1f}%;width:{width:.1f}%">'
            "</div></div>",
            f"{told}{ended}",
        ]
    )


def _percent(part: float, whole: float) -> float:
    return max(0.0, min(100.0, 100 * part / whole)) if whole > 0 else 0.0


def _indent(depth: int) -> str:
    return "&emsp;" * (depth - 1) + "↳ " if depth else ""
