"""What became of each proposal in the final answer: how much of it stands there, and what changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import ipywidgets as widgets

from composite_lab.notebook.call_card import call_title
from composite_lab.notebook.call_list import CallList
from composite_lab.notebook.diff import Difference, difference, marked
from composite_lab.notebook.panes import Excerpt, Faults, html
from composite_lab.trace.call import Call

COMPARED_CHARS = 1_000_000
"""How many characters are compared before anything is chosen: about a second's work."""
LEGEND = (
    '<p class="cl-meta">In the text: <del class="cl-del">only in the proposal</del> '
    '<ins class="cl-ins">only in the answer</ins>, the rest in both.</p>'
)


def changes_view(proposals: Sequence[Call], answer: str, faults: Faults) -> widgets.Widget:
    """The proposals with the share of the answer's words each has, and the changes from a chosen one."""
    return _ChangesView(proposals, answer, faults).box


class _ChangesView:
    def __init__(self, proposals: Sequence[Call], answer: str, faults: Faults) -> None:
        self._proposals = proposals
        self._answer = answer
        self._found = dict(self._affordable())
        titles = [f"{self._share(position)} · {call_title(call)}" for position, call in enumerate(proposals)]
        most_kept = max(self._found, key=lambda position: self._found[position].kept_share, default=0)
        choice = CallList(titles, most_kept, description="From", choose=self._show, faults=faults)
        self._excerpt = Excerpt(faults)
        self._heading = html()
        self.box = widgets.VBox([choice.box, self._heading, self._excerpt.box])
        self._show(most_kept)

    def _affordable(self) -> Iterator[tuple[int, Difference]]:
        left = COMPARED_CHARS
        for position, call in enumerate(self._proposals):
            cost = len(call.text or "") + len(self._answer)
            if cost <= left:
                left -= cost
                yield position, difference(call.text or "", self._answer)

    def _share(self, position: int) -> str:
        """How much of the answer stands in a proposal, in words that take the same room in a list."""
        if position not in self._found:
            return "not compared"
        found = self._found[position]
        share = f"{found.kept_share:.0%}".rjust(4, "\u2007")  # a blank as wide as a digit
        return f"{share} kept" if found.is_exact else f"{share} or more kept"

    def _show(self, position: int) -> None:
        before = self._proposals[position].text or ""
        if position not in self._found:
            self._found[position] = difference(before, self._answer)
        found = self._found[position]
        least = "" if found.is_exact else "At least "
        self._heading.value = (
            f'<p class="cl-meta">{least}{found.kept_share:.0%} of the words of the answer stand '
            f"in this proposal in the same order.</p>{LEGEND}"
        )
        self._excerpt.show(lambda limit: marked(found, limit), [sum(len(text) for _, text in found.pieces)])
