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
    """Where the view stands: shows a MIME bundle, a later one in the place of an earlier one."""

    def show(self, bundle: dict[str, Any]) -> None: ...


class HandleView:
    """The view of one handle. It follows the run on threads of its own, whatever cells do meanwhile."""

    def __init__(self, handle: RunHandle, display: Shows) -> None:
        self.handle = handle
        self.tally = Tally()
        self._display = display
        self._settled = False
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

    def show(self) -> None:
        """Display it and follow the run until it has ended."""
        if not self.handle.done:
            self._display.show(self._bundle())
        self.handle.observe(observer(self.tally, self.handle.strategy, self._meter.changed))
        self._meter.changed()  # a run that is cancelled before it begins tells nothing
        if self.handle.done:
            self._meter.flush()

    def _draw(self) -> None:
        ended = self.handle.done
        self._shown(self._update)
        if ended and not self._settled:
            self._shown(self._settle)
            self._settled = True
            self._display.show(self._bundle())  # what is saved from now on says how it ended

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
        table = [widgets.HTML(page.failures(trace))] if trace.status == "error" else []
        self.end.children = (*table, trace_explorer(trace))

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

    def _bundle(self) -> dict[str, Any]:
        view: dict[str, Any] = dict(self.widget._repr_mimebundle_() or {})
        trace = self.handle.trace
        return view | {"text/html": self._static(trace), "text/plain": repr(self.handle)}

    def _static(self, trace: Trace | None) -> str:
        if trace is None:
            return f"<p>{text.escaped(repr(self.handle))}</p>"
        return page.failures(trace) if trace.status == "error" else page.trace_page(trace)
