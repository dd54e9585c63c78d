"""Choosing one of many: a list with buttons for the next one and the one before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from composite_lab.notebook.panes import Faults
from composite_lab.notebook.text import visible

ROWS = 10
"""How many entries a list shows without scrolling."""


class CallList:
    """A list of calls; `choose` is told the position of the one that a reader chooses."""

    def __init__(
        self,
        titles: Sequence[str],
        value: int,
        *,
        description: str,
        choose: Callable[[int], None],
        faults: Faults,
    ) -> None:
        # Pairs, because equal labels would be taken for the same call.
        pairs = [(visible(title), position) for position, title in enumerate(titles)]
        self._select = widgets.Select(
            options=pairs,
            value=value,
            rows=max(2, min(ROWS, len(pairs))),
            description=description,
            layout=widgets.Layout(width="auto"),
            style={"description_width": "3em"},
        )
        self._last = len(pairs) - 1
        self._pager = Pager(self._step, "call", faults)
        self._tell(value)

        def chosen(change: Any) -> None:
            self._tell(change["new"])
            choose(change["new"])

        self._select.observe(faults.shown(chosen), names="value")
        self.box = widgets.VBox([self._select, *([self._pager.box] if self._last else [])])

    def _step(self, by: int) -> None:
        self._select.value = max(0, min(self._select.value + by, self._last))

    def _tell(self, value: int) -> None:
        self._pager.where.value = f"{value + 1:,} of {self._last + 1:,}"


class Pager:
    """Buttons that go back and on, with `where` to say where one is.

    JupyterLab takes the arrow keys of a focused list for its cells; these buttons it leaves alone. They
    are never disabled, because that would take the focus away from who holds it with the keyboard.
    """

    def __init__(self, turn: Callable[[int], None], noun: str, faults: Faults) -> None:
        back = widgets.Button(description="Previous", tooltip=f"Previous {noun}")
        on = widgets.Button(description="Next", tooltip=f"Next {noun}")
        for button, by in ((back, -1), (on, 1)):
            button.layout = widgets.Layout(width="auto")
            button.on_click(faults.shown(lambda _, by=by: turn(by)))
        self.where = widgets.Label()
        self.box = widgets.HBox([back, on, self.where])
