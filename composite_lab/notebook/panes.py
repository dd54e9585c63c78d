"""What every view of the explorer is made of: HTML of our own making, long texts on demand, shown faults."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, ParamSpec

import ipywidgets as widgets

from composite_lab.notebook.call_card import CARD_CHARS
from composite_lab.notebook.text import escaped, pre

SENT_CHARS = 2_000_000
"""How many characters "Show all" sends at most: more would make a browser slow."""

Given = ParamSpec("Given")


def html(markup: str = "") -> widgets.HTML:
    """A widget that shows HTML. It would run script, so give it only what this package wrote and escaped."""
    return widgets.HTML(markup, layout=widgets.Layout(width="100%", margin="0"))


class Faults:
    """Where errors of the explorer itself are told: elsewhere a callback's error is seen by nobody."""

    def __init__(self) -> None:
        self.pane = html()
        self.pane.layout.display = "none"

    def shown(self, callback: Callable[Given, None]) -> Callable[Given, None]:
        """The callback with its errors shown in the pane; the next one that goes well takes them away."""

        @wraps(callback)
        def guarded(*given: Given.args, **named: Given.kwargs) -> None:
            self._tell("")
            try:
                callback(*given, **named)
            except Exception as error:  # the one place that is to show whatever went wrong
                self._tell(_alert(error))

        return guarded

    def _tell(self, markup: str) -> None:
        self.pane.value = markup
        self.pane.layout.display = None if markup else "none"


class Excerpt:
    """HTML whose texts are cut, and a button that has all of them sent."""

    def __init__(self, faults: Faults) -> None:
        self._page = html()
        self._button = widgets.Button(
            layout=widgets.Layout(width="auto", align_self="flex-start", display="none")
        )
        self._button.on_click(faults.shown(self._toggle))
        self.box = widgets.VBox([self._button, self._page])
        self._render: Callable[[int], str] = str
        self._lengths: list[int] = []
        self._is_whole = False

    def show(self, render: Callable[[int], str], lengths: Sequence[int]) -> None:
        """Show `render(limit)`, where `limit` is what each text is cut to and `lengths` what they have."""
        self._render, self._lengths, self._is_whole = render, list(lengths), False
        self._refresh()

    def _toggle(self, _: Any) -> None:
        self._is_whole = not self._is_whole
        self._refresh()

    def _refresh(self) -> None:
        most = widest_limit(self._lengths, SENT_CHARS)
        self._page.value = self._render(most if self._is_whole else CARD_CHARS)
        longest, everything = max(self._lengths, default=0), sum(self._lengths)
        self._button.layout.display = None if longest > CARD_CHARS else "none"
        if self._is_whole:
            self._button.description = f"Show {CARD_CHARS:,} characters of each text"
        elif most >= longest:
            self._button.description = f"Show all {everything:,} characters"
        else:
            self._button.description = f"Show up to {most:,} characters of each text"
        self._button.tooltip = f"Long texts are cut here; together they have {everything:,} characters"


def _alert(error: Exception) -> str:
    told = escaped(f"This could not be shown: {type(error).__name__}: {error}", 500)
    lines = pre("".join(traceback.format_exception(error)), CARD_CHARS)
    return (
        f'<div class="cl-alert" role="alert"><strong>{told}</strong>'
        f"<details><summary>Where</summary>{lines}</details></div>"
    )


def widest_limit(lengths: Sequence[int], most: int) -> int:
    """The largest number of characters that each text can be cut to so that all together have `most`."""
    left = most
    shorter = sorted(lengths)
    for position, length in enumerate(shorter):
        share = left // (len(shorter) - position)
        if length > share:
            return share
        left -= length
    return max(shorter, default=0)


def text_lengths(value: Any) -> Iterator[int]:
    """The length of every text in a value that could be JSON."""
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, str):
            yield len(one)
        elif isinstance(one, dict):
            pending += one.values()
        elif isinstance(one, list | tuple):
            pending += one
