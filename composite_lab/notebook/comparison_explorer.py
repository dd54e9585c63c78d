"""The explorer of a Comparison: strategies side by side on one prompt, sent to the browser when looked at."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import ipywidgets as widgets

from composite_lab.batch.comparison import Comparison
from composite_lab.batch.prompts import Prompt
from composite_lab.batch.runs import UNDONE, Row
from composite_lab.notebook.call_list import ROWS, Pager
from composite_lab.notebook.comparison_page import DASH, failures, overview, planned_rows, run_facts_line
from composite_lab.notebook.document import details, style
from composite_lab.notebook.explorer import View, tabs, trace_explorer
from composite_lab.notebook.panes import Excerpt, Faults, html, text_lengths
from composite_lab.notebook.text import escaped, one_line, pre

PAGE = 100
"""How many prompts, or runs that failed, are sent at a time."""
MOST_SIDE_BY_SIDE = 24
"""How many answers to one prompt stand beside each other; the rest are in the frame."""
NOBODY = '<p class="cl-meta">No strategy has come to this prompt.</p>'
DISAGREE, IN_ORDER = "Most different scores first", "In their order"


def comparison_explorer(comparison: Comparison) -> widgets.Widget:
    """A widget with tabs: the strategies and their differences, the answers prompt by prompt, the failures.

    A tab is built when it is first selected, and a prompt's answers are sent when it is chosen. Errors of
    the widget itself are shown in it.
    """
    faults = Faults()
    views = [
        View("Strategies", lambda: html(overview(comparison))),
        View("Answers", lambda: _Answers(comparison, faults).box),
    ]
    for title, statuses in (("Failed", ("error",)), ("Undone", (UNDONE,))):
        rows = [row for row in planned_rows(comparison) if row.status in statuses]
        if rows:
            views.append(View(f"{title} ({len(rows):,})", partial(_failures_view, comparison, rows, faults)))
    box = widgets.VBox([html(style()), faults.pane, tabs(views, faults)])
    for kind in ("cl-root", "cl-live", "tex2jax_ignore", "mathjax_ignore"):
        box.add_class(kind)
    return box


def by_disagreement(comparison: Comparison) -> list[Prompt]:
    """The prompts, those first on which the strategies' scores are furthest apart."""
    return sorted(comparison.plan.prompts, key=lambda prompt: -_spread(comparison, prompt))


class _Answers:
    """The list of prompts, and the answers to the one that is chosen."""

    def __init__(self, comparison: Comparison, faults: Faults) -> None:
        self._comparison, self._faults = comparison, faults
        self._prompts = by_disagreement(comparison)
        self._first = 0
        self._shown: Prompt | None = None
        self._excerpt = Excerpt(faults)
        self._run = _RunOpener(comparison, faults)
        self._order = widgets.ToggleButtons(
            options=[DISAGREE, IN_ORDER], description="Prompts", style={"button_width": "auto"},
            layout=widgets.Layout(display="flex", width="auto"),
        )  # fmt: skip
        self._order.observe(faults.shown(self._sort), names="value")
        self._list = widgets.Select(
            rows=min(ROWS, max(2, len(self._prompts))), layout=widgets.Layout(width="auto")
        )
        self._list.observe(faults.shown(self._chosen), names="value")
        self._pager = Pager(self._turn, f"{PAGE} prompts", faults)
        ordered = [self._order] if comparison.scorer is not None else []
        paged = [self._pager.box] if len(self._prompts) > PAGE else []
        self.box = widgets.VBox([*ordered, *paged, self._list, self._excerpt.box, self._run.box])
        self._list_page()

    def _sort(self, change: Any) -> None:
        self._prompts = (
            by_disagreement(self._comparison) if change["new"] == DISAGREE else self._comparison.plan.prompts
        )
        self._first = 0
        self._list_page()

    def _turn(self, by: int) -> None:
        if 0 <= self._first + by * PAGE < len(self._prompts):
            self._first += by * PAGE
            self._list_page()

    def _list_page(self) -> None:
        """Send the titles of the page's prompts, and the answers to the first of them."""
        page = self._prompts[self._first : self._first + PAGE]
        titles = [
            (_title(self._comparison, prompt), self._first + place) for place, prompt in enumerate(page)
        ]
        self._list.options = titles
        self._list.value = self._first
        self._pager.where.value = (
            f"{self._first + 1:,} to {self._first + len(page):,} of {len(self._prompts):,}"
        )
        self._show(page[0])

    def _chosen(self, change: Any) -> None:
        if change["new"] is not None:
            self._show(self._prompts[change["new"]])

    def _show(self, prompt: Prompt) -> None:
        if prompt is self._shown:
            return
        self._shown = prompt
        rows = _rows(self._comparison, prompt)
        shown = [(row, self._comparison.store.run_facts(row.key) or {}) for row in rows[:MOST_SIDE_BY_SIDE]]
        texts = [prompt.text, *(facts.get("text") or facts.get("error_message") or "" for _, facts in shown)]
        left_out = len(rows) - len(shown)
        self._excerpt.show(
            lambda limit: _side_by_side(prompt, shown, left_out, limit), list(text_lengths(texts))
        )
        self._run.offer(rows)


class _RunOpener:
    """A choice of runs and a button that opens one of them in the explorer of its trace."""

    def __init__(self, comparison: Comparison, faults: Faults) -> None:
        self._comparison = comparison
        self._rows: list[Row] = []
        self._choice = widgets.Dropdown(description="Run", layout=widgets.Layout(width="auto"))
        button = widgets.Button(
            description="Open its calls",
            tooltip="Every call of this run",
            layout=widgets.Layout(width="auto"),
        )
        button.on_click(faults.shown(self._open))
        self._room = widgets.VBox()
        self.box = widgets.VBox([widgets.HBox([self._choice, button]), self._room])

    def offer(self, rows: Sequence[Row]) -> None:
        """Let a reader choose among these runs; the one that was open is closed."""
        self._rows = list(rows)
        self._choice.options = [(_run_title(row), place) for place, row in enumerate(rows)]
        self._choice.value = 0 if rows else None
        self.box.layout.display = None if rows else "none"
        self._clear()

    def _open(self, _: Any) -> None:
        self._clear()
        row = self._rows[self._choice.value]
        self._room.children = [trace_explorer(self._comparison.trace(row.name, row.prompt, row.repeat))]

    def _clear(self) -> None:
        opened = self._room.children
        self._room.children = []
        for widget in opened:
            _close(widget)


def _failures_view(comparison: Comparison, rows: Sequence[Row], faults: Faults) -> widgets.Widget:
    pane, first = html(), 0

    def turn(by: int) -> None:
        nonlocal first
        if 0 <= first + by * PAGE < len(rows):
            first += by * PAGE
        page = rows[first : first + PAGE]
        pager.where.value = f"{first + 1:,} to {first + len(page):,} of {len(rows):,}"
        pane.value = failures(comparison, page, 500)

    pager = Pager(turn, f"{PAGE} runs", faults)
    turn(0)
    return widgets.VBox([*([pager.box] if len(rows) > PAGE else []), pane])


def _side_by_side(
    prompt: Prompt, shown: Sequence[tuple[Row, dict[str, Any]]], left_out: int, limit: int
) -> str:
    target = (
        "" if prompt.target is None else f'<p class="cl-meta">Target: {escaped(str(prompt.target), 300)}</p>'
    )
    cards = "".join(f"<div>{_card(row, facts, limit)}</div>" for row, facts in shown)
    more = f'<p class="cl-note">{left_out:,} more are in <code>to_dataframe()</code></p>' if left_out else ""
    question = details(f"Prompt {escaped(one_line(prompt.id))}", pre(prompt.text, limit), opened=True)
    return f'{question}{target}<div class="cl-answers">{cards or NOBODY}</div>{more}'


def _card(row: Row, facts: dict[str, Any], limit: int) -> str:
    head = f'<p class="cl-label">{escaped(_run_title(row))}</p>'
    mark = (
        "" if row.status == "ok" else f'<span class="cl-status cl-{row.status}">{escaped(row.status)}</span> '
    )
    meta = f'<p class="cl-meta">{mark}{run_facts_line(facts, row.score)}</p>'
    noted = f'<p class="cl-meta">{escaped(row.score_note, 300)}</p>' if row.score_note else ""
    error = facts.get("error_message")
    told = pre(f"{facts.get('error_type')}: {error}", limit)
    failed = f'<div class="cl-alert">{told}</div>' if error else ""
    text = facts.get("text")
    return head + meta + noted + failed + (pre(text, limit) if text else "")


def _rows(comparison: Comparison, prompt: Prompt) -> list[Row]:
    plan = comparison.plan
    keys = [(name, prompt.id, repeat) for name in plan.strategies for repeat in range(plan.repeats)]
    return [comparison.rows[key] for key in keys if key in comparison.rows]


def _spread(comparison: Comparison, prompt: Prompt) -> float:
    scores = [row.score for row in _rows(comparison, prompt) if row.score is not None]
    return max(scores) - min(scores) if scores else -1.0


def _title(comparison: Comparison, prompt: Prompt) -> str:
    scores = [DASH if row.score is None else f"{row.score:.2g}" for row in _rows(comparison, prompt)]
    told = f"{' '.join(scores[:12])}  ·  " if comparison.scorer is not None else ""
    return f"{told}{one_line(prompt.id, 30)}  ·  {one_line(prompt.text, 80)}"


def _run_title(row: Row) -> str:
    return one_line(row.name) + (f", repeat {row.repeat + 1}" if row.repeat else "")


def _close(widget: Any) -> None:
    """Close a widget and all that stands in it, so that the kernel forgets them."""
    for child in getattr(widget, "children", ()):
        _close(child)
    widget.close()
