"""A RunHandle in a notebook: how its run stands, a button that ends it, and in the end its trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import ipywidgets as widgets

from composite_lab.notebook import page, text
from composite_lab.notebook.explorer import trace_explorer
from composite_lab.notebook.meter import Meter, Tally, observer
from composite_lab.strategies.handle import RunHandle
from composite_lab.trace.model import Trace


class Shows(Protocol):
    """An output of a cell: shows a MIME bundle, a later one in the place of an earlier one."""

    def show(self, bundle: dict[str, Any]) -> None: ...


class HandleView:
    """The view of one handle. It follows the run on threads of its own, whatever cells do meanwhile.

    It has two outputs: a static page, and below it the widget, for which the page makes room.
    """

    def __init__(self, handle: RunHandle, page_output: Shows, widget_output: Shows) -> None:
        self.handle = handle
        self.tally = Tally()
        self._page_output, self._widget_output = page_output, widget_output
        self._page_says_how_it_ended = self._settled = False
        self._meter = Meter(self._draw, lambda: not self._settled)
        self.stop = widgets.Button(
            description="Stop",
            icon="stop",
            tooltip="End the calls in flight, as soon as no cell is busy; the trace keeps what was answered",
        )
        self.stop.on_click(lambda _: self._shown(self._stop))
        self.bar = widgets.IntProgress(value=0, max=1, layout=widgets.Layout(width="10em"))
        self.line = widgets.Label(value=self._words())
        self.fault = widgets.HTML()
        self.end = widgets.VBox()
        head = widgets.HBox([self.stop, self.bar, self.line], layout=widgets.Layout(align_items="center"))
        self.widget = widgets.VBox([head, self.fault, self.end])
        self.widget.add_class("cl-live")

    def show(self) -> None:
        """Display it and follow the run until it has ended."""
        self._show_page()
        view: dict[str, Any] = dict(self.widget._repr_mimebundle_() or {})
        self._widget_output.show(view | {"text/plain": ""})
        self.handle.observe(observer(self.tally, self.handle.strategy, self._meter.changed))
        self._meter.changed()  # a run that is cancelled before it begins tells nothing
        if self.handle.done:
            self._meter.flush()

    def cell_ended(self) -> bool:
        """Show how the run ended once more, now that a cell ends. False while the run goes on.

        What executes a whole notebook (nbclient) hears only what belongs to the running cell. The end, when
        it came between two cells or from the thread that follows the run, would not be in the saved notebook.
        """
        if not self.handle.done:
            return False
        self._page_says_how_it_ended = True
        self._publish_page()
        return True

    def _draw(self) -> None:
        ended = self.handle.done
        self._shown(self._update)
        if ended and not self._settled:
            self._shown(self._settle)
            self._settled = True
            self._show_page()  # what is saved from now on says how it ended

    def _update(self) -> None:
        answered, planned = self.tally.bar
        self.bar.max, self.bar.value = max(planned, 1), answered
        self.line.value = self._words()

    def _settle(self) -> None:
        self.stop.disabled = True
        self.stop.description = "Stopped" if self.handle.status == "cancelled" else "Stop"
        self.bar.layout.display = "none"
        trace = self.handle.trace
        if trace is None or not trace.calls:
            return
        self.line.layout.display = "none"  # what follows has the totals
        has_table = trace.status == "error"  # which says what a header would
        table = [widgets.HTML(page.failures(trace))] if has_table else []
        self.end.children = (*table, trace_explorer(trace, headed=not has_table))

    def _stop(self) -> None:
        self.stop.disabled = True
        self.stop.description = "Stopping…"
        self.handle.cancel()

    def _shown(self, work: Callable[[], None]) -> None:
        # Nobody sees an exception in a callback unless it is shown where it happened.
        try:
            work()
        except Exception as fault:
            said = text.escaped(f"{type(fault).__name__}: {fault}", 2_000)
            self.fault.value = f'<div role="alert">The view of this run failed. {said}</div>'

    def _words(self) -> str:
        return self.tally.line() or f"{self.handle.strategy.kind} {self.handle.status}"

    def _show_page(self) -> None:
        if not self._page_says_how_it_ended:
            self._page_says_how_it_ended = self.handle.done
            self._publish_page()

    def _publish_page(self) -> None:
        html = self._static(self.handle.trace)
        self._page_output.show({"text/html": html, "text/plain": repr(self.handle)})

    def _static(self, trace: Trace | None) -> str:
        if trace is None:
            return page.document(f"<p>{text.escaped(repr(self.handle))}</p>")
        return page.failures(trace) if trace.status == "error" else page.trace_page(trace)
