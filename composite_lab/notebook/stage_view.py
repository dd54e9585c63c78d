"""The calls of a stage: one at a time with everything about it, or their answers side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as widgets

from composite_lab.notebook.call_card import CARD_CHARS, call_card, call_title
from composite_lab.notebook.call_list import CallList, Pager
from composite_lab.notebook.panes import Excerpt, Faults, html, text_lengths
from composite_lab.notebook.text import escaped, pre
from composite_lab.trace.call import Call

COLUMNS = 6
"""How many answers stand side by side; for more there are pages."""
ONE, SIDE_BY_SIDE = "One at a time", "Side by side"
INDENT = "\u00a0\u00a0\u00a0\u00a0"

Placed = tuple[Call, int]


def stage_view(
    calls: Sequence[Placed], faults: Faults, labels: Mapping[str, Mapping[str, str]] | None = None
) -> widgets.Widget:
    """The calls of a stage, each with how deep it lies below another; a single one without a choice.

    `labels` says by a reviewer's call id who was behind each label that it saw.
    """
    if len(calls) == 1:
        excerpt = Excerpt(faults)
        show_call(excerpt, calls[0][0], labels or {})
        return excerpt.box
    return _StageView(calls, faults, labels or {}).box


def show_call(excerpt: Excerpt, call: Call, labels: Mapping[str, Mapping[str, str]]) -> None:
    """Everything about a call, its long texts cut until more is asked for."""
    texts = [call.messages, call.text, call.reasoning, call.tool_calls, call.error_message, call.params]
    behind = labels.get(call.call_id, {})
    heading = f'<p class="cl-label">{escaped(call_title(call))}</p>'
    excerpt.show(
        lambda limit: heading + call_card(call, limit=limit, labels=behind), list(text_lengths(texts))
    )


class _StageView:
    def __init__(
        self, calls: Sequence[Placed], faults: Faults, labels: Mapping[str, Mapping[str, str]]
    ) -> None:
        self._calls = [call for call, _ in calls]
        self._labels = labels
        self._excerpt = Excerpt(faults)
        titles = [
            f"{INDENT * depth}↳ {call_title(call)}" if depth else call_title(call) for call, depth in calls
        ]
        self._list = CallList(titles, 0, description="Call", choose=self._choose, faults=faults)
        self._mode = widgets.ToggleButtons(
            options=[ONE, SIDE_BY_SIDE],
            tooltips=["The list of calls and everything about one", "The answers in columns"],
            description="View",
            layout=widgets.Layout(display="flex", width="auto"),
            style={"description_width": "3em", "button_width": "auto"},
        )
        self._mode.observe(faults.shown(self._switch), names="value")
        self._columns = _Columns(_last_attempts(calls), faults)
        self.box = widgets.VBox([self._mode, self._list.box, self._excerpt.box])
        show_call(self._excerpt, self._calls[0], labels)

    def _choose(self, position: int) -> None:
        show_call(self._excerpt, self._calls[position], self._labels)

    def _switch(self, change: Any) -> None:
        if change["new"] == SIDE_BY_SIDE:
            self._columns.show()
            self.box.children = [self._mode, self._columns.box]
        else:
            self.box.children = [self._mode, self._list.box, self._excerpt.box]


class _Columns:
    """Answers side by side, a page of them at a time."""

    def __init__(self, calls: Sequence[Call], faults: Faults) -> None:
        self._calls = calls
        self._first = 0
        self._panes = [html() for _ in range(min(COLUMNS, len(calls)))]
        for pane in self._panes:
            pane.layout = widgets.Layout(flex="1 1 18em", min_width="0", max_width="100%", margin="0 1em 0 0")
        self._pager = Pager(self._turn, f"{COLUMNS} answers", faults)
        turning = [self._pager.box] if len(calls) > COLUMNS else []
        grid = widgets.HBox(self._panes, layout=widgets.Layout(flex_flow="row wrap", width="100%"))
        self.box = widgets.VBox([*turning, grid])

    def show(self) -> None:
        """Send the answers of the page."""
        page = self._calls[self._first : self._first + COLUMNS]
        for position, pane in enumerate(self._panes):
            pane.value = _column(page[position]) if position < len(page) else ""
            pane.layout.display = None if position < len(page) else "none"
        self._pager.where.value = f"{self._first + 1} to {self._first + len(page)} of {len(self._calls)}"

    def _turn(self, by: int) -> None:
        if 0 <= self._first + by * COLUMNS < len(self._calls):
            self._first += by * COLUMNS
        self.show()


def _column(call: Call) -> str:
    failed = "" if call.status == "ok" else (call.error_message or call.status)
    alert = f'<div class="cl-alert">{pre(failed, CARD_CHARS)}</div>' if failed else ""
    answer = pre(call.text, CARD_CHARS) if call.text else ""
    nothing = "" if alert or answer else '<p class="cl-meta">No text.</p>'
    return f'<p class="cl-label">{escaped(call_title(call))}</p>{alert}{answer}{nothing}'


def _last_attempts(calls: Sequence[Placed]) -> list[Call]:
    """The calls of the stage's own seats, of those that were repeated the last attempt."""
    last = {(call.round, call.seat, call.sample): call for call, depth in calls if depth == 0}
    return list(last.values())
