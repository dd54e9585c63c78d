"""The explorer of a Trace: every text, number and change of a run, sent to the browser when looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import ipywidgets as widgets

from composite_lab.notebook.call_card import messages_list
from composite_lab.notebook.calls_table import calls_table, nested, selected, timeline
from composite_lab.notebook.changes_view import changes_view
from composite_lab.notebook.document import details, style
from composite_lab.notebook.page import ballots_of, behind_labels, facts, votes_of
from composite_lab.notebook.panes import Excerpt, Faults, html, text_lengths
from composite_lab.notebook.stage_view import Placed, stage_view
from composite_lab.notebook.text import one_line, pre
from composite_lab.tools import STAGE as TOOL_STAGE
from composite_lab.trace.call import Call
from composite_lab.trace.model import FINAL_STAGES, Trace
from composite_lab.trace.summary import critical_path

MOST_CALLS = 1_000
"""How many calls the table and the timeline show."""
REVIEW = "review"
WAITING = '<p class="cl-meta">Sent by the kernel as soon as it is free.</p>'


class View(NamedTuple):
    """A tab that is not built yet."""

    title: str
    build: Callable[[], widgets.Widget]


def trace_explorer(trace: Trace, *, headed: bool = True) -> widgets.Widget:
    """A widget with a header and tabs: the answer, every stage, what changed, table, timeline, ballots.

    A tab is built when it is first selected, and a call's texts are sent when the call is chosen. Errors
    of the widget itself are shown in it. Unless `headed`, only the tabs, for where the totals are told.
    """
    faults = Faults()
    header = html(style() + (facts(trace) if headed else ""))
    box = widgets.VBox([header, faults.pane, tabs(list(_views(trace, faults)), faults)])
    for name in ("cl-root", "cl-live", "tex2jax_ignore", "mathjax_ignore"):
        box.add_class(name)
    return box


def tabs(views: Sequence[View], faults: Faults) -> widgets.Tab:
    """A tab for each view, built when it is first selected."""
    rooms = [widgets.VBox([html(WAITING)]) for _ in views]
    tabs = widgets.Tab(children=rooms, titles=[view.title for view in views], selected_index=0)
    built: set[int] = set()

    def build(position: int | None) -> None:
        if position is None or position in built:
            return
        waiting = rooms[position].children
        rooms[position].children = [views[position].build()]
        built.add(position)
        for widget in waiting:
            widget.close()

    def select(change: Any) -> None:
        build(change["new"])

    tabs.observe(faults.shown(select), names="selected_index")
    faults.shown(build)(0)
    return tabs


def _views(trace: Trace, faults: Faults) -> Iterator[View]:
    yield View("Answer", lambda: _answer(trace, faults))
    behind = behind_labels(trace)
    for stage, calls in _stages(trace.calls):
        yield View(_stage_title(stage, calls), partial(stage_view, calls, faults, behind))
    proposals = _proposals(trace.calls)
    if proposals and trace.text:
        answer = trace.text
        yield View("Changes", lambda: changes_view(proposals, answer, faults))
    yield View("Table", lambda: html(_table(trace)))
    yield View("Timeline", lambda: html(_timeline(trace)))
    if trace.ballots:
        yield View("Ballots", lambda: html(ballots_of(trace)))


def _answer(trace: Trace, faults: Faults) -> widgets.Widget:
    excerpt = Excerpt(faults)
    texts = [trace.messages, trace.text or "", trace.reasoning]
    excerpt.show(lambda limit: _answer_page(trace, limit), list(text_lengths(texts)))
    return excerpt.box


def _answer_page(trace: Trace, limit: int) -> str:
    count = len(trace.messages)
    question = "Question" if count == 1 else f"Conversation ({count} messages)"
    parts = [details(question, messages_list(trace.messages, limit), opened=count == 1)] if count else []
    asked = [] if trace.text else _asked_for(trace)
    if asked:
        told = messages_list([{"role": "the answer is tool calls", "tool_calls": asked}], limit)
    elif trace.text:
        told = pre(trace.text, limit)
    else:
        told = f'<p class="cl-meta">No answer: the run ended as “{trace.status}”.</p>'
    parts.append(details("Answer", told, opened=True) + votes_of(trace))
    if trace.reasoning:
        parts.append(details("Reasoning: what each stage said", pre(trace.reasoning, limit)))
    return "".join(parts)


def _asked_for(trace: Trace) -> list[dict[str, Any]]:
    """The tool calls that the run answered with."""
    final = [call for call in trace.calls if call.stage in FINAL_STAGES and call.parent_call_id is None]
    return final[-1].tool_calls if final and final[-1].status == "ok" else []


def _table(trace: Trace) -> str:
    return calls_table(selected(trace.calls, MOST_CALLS)) + _left_out(trace)


def _timeline(trace: Trace) -> str:
    path = {call.call_id for call in critical_path(trace.calls)}
    return timeline(selected(trace.calls, MOST_CALLS), path) + _left_out(trace)


def _left_out(trace: Trace) -> str:
    if len(trace.calls) <= MOST_CALLS:
        return ""
    told = f"{MOST_CALLS:,} of {len(trace.calls):,} calls. All of them: <code>trace.to_dataframe()</code>"
    return f'<p class="cl-note">{told}</p>'


def _proposals(calls: Sequence[Call]) -> list[Call]:
    others = (*FINAL_STAGES, REVIEW, TOOL_STAGE)
    return [call for call in _own(calls) if call.stage not in others and call.status == "ok" and call.text]


def _own(calls: Sequence[Call]) -> list[Call]:
    return [call for call, depth in nested(calls) if depth == 0]


def _stages(calls: Sequence[Call]) -> list[tuple[str, list[Placed]]]:
    """The calls by the stage of the one at the top, with how deep each lies below it."""
    found: dict[str, list[Placed]] = {}
    stage = ""
    for call, depth in nested(calls):
        stage = stage if depth else call.stage
        found.setdefault(stage, []).append((call, depth))
    return list(found.items())


def _stage_title(stage: str, calls: Sequence[Placed]) -> str:
    own = sum(depth == 0 for _, depth in calls)
    return f"{one_line(stage).capitalize()} ({own})" if own > 1 else one_line(stage).capitalize()
