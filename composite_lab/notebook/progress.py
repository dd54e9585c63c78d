"""Runs as they go on in a notebook: a line below the cell that made them, and a table of what failed.

Light on purpose: importing the package in a notebook imports this. Pages and widgets come on use.
"""

from __future__ import annotations

import os
import sys
import uuid
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from composite_lab.gateway.place import ENCLOSING
from composite_lab.notebook import text
from composite_lab.notebook.meter import Meter, Tally, flush_all, observer
from composite_lab.strategies.base import WATCHERS, Strategy
from composite_lab.strategies.handle import RunHandle
from composite_lab.trace.call import Call
from composite_lab.trace.events import Observer
from composite_lab.trace.model import Trace

KEPT_CELLS = 8
"""Of how many cells the lines are kept for further runs; subshells and threads may work on several."""
CHAIN_LINKS = 32
"""How many causes of an error are looked at for a trace."""
ERROR_CHARS = 300
"""How much of an error's message the table shows where there is no HTML, in characters."""
UNCOMPILED = (SyntaxError, OverflowError, ValueError, TypeError, MemoryError)
"""What Python raises for a cell that does not compile."""

_followed: weakref.WeakSet[Any] = weakref.WeakSet()


def follow_runs(shell: Any) -> None:
    """Have the cells of this IPython shell show their runs and what failed in them.

    Does nothing in a shell without a kernel, where no output can be drawn anew, and nothing again.
    """
    if getattr(shell, "kernel", None) is None or shell in _followed:
        return
    _followed.add(shell)
    WATCHERS.append(CellLines(shell).watch)
    shell.events.register("post_execute", flush_all)
    if not shell.custom_exceptions:  # somebody else's handler stays
        shell.set_custom_exc((Exception,), show_error)


def show_handle(handle: RunHandle) -> None:
    """Display a run in the background: how it stands, a button that ends it, then its trace."""
    from composite_lab.notebook.handle_view import HandleView

    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is None:
        sys.stdout.write(f"{handle!r}\n")
    else:
        view = HandleView(handle, Display(shell), Display(shell))
        ended = handle.done
        view.show()
        if not ended:
            _at_cell_ends(shell, view.cell_ended)


def _at_cell_ends(shell: Any, tell: Callable[[], bool]) -> None:
    """Have it called at the end of this cell and of each that follows, until it says that it is done."""

    def cell_ended() -> None:
        if tell():
            shell.events.unregister("post_execute", cell_ended)

    shell.events.register("post_execute", cell_ended)


class Display:
    """An output in a notebook that can be replaced where it stands."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._id = uuid.uuid4().hex
        self.is_there = False

    def show(self, bundle: dict[str, Any]) -> None:
        """Show a MIME bundle, the first time as a new output and later in its place."""
        transient = {"display_id": self._id}
        update, self.is_there = self.is_there, True
        self._shell.display_pub.publish(data=bundle, metadata={}, transient=transient, update=update)


class CellLines:
    """One line for each cell that makes runs, however many it makes."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._lines: OrderedDict[str, CellLine] = OrderedDict()
        self._pid = os.getpid()

    def watch(self, strategy: Strategy) -> Observer | None:
        """The observer of a run that begins. None inside another run's call, which counts it as its own.

        None in a forked child, too, which cannot speak for the kernel.
        """
        if ENCLOSING.get() is not None or os.getpid() != self._pid:
            return None
        request = self._shell.get_parent().get("header", {}).get("msg_id", "")
        line = self._lines.setdefault(request, CellLine(self._shell))
        while len(self._lines) > KEPT_CELLS:
            self._lines.popitem(last=False)
        return observer(line.tally, strategy, line.changed)


class CellLine:
    """The line of one cell: there from the first event on, then drawn anew in its place."""

    def __init__(self, shell: Any) -> None:
        self.tally = Tally()
        self._display = Display(shell)
        self._meter = Meter(self._draw, lambda: self.tally.busy)

    def changed(self) -> None:
        """A run of this cell has told something."""
        self._meter.changed()
        if not self._display.is_there:  # above what the cell prints later, not below
            self._meter.flush()

    def _draw(self) -> None:
        self._display.show({"text/html": self.tally.html(), "text/plain": self.tally.line()})


# --- errors


def show_error(
    shell: Any,
    kind: type[BaseException],
    error: BaseException,
    traceback: TracebackType,
    tb_offset: int | None = None,
) -> None:
    """IPython's handler of exceptions: the calls that failed, then the traceback as it always is."""
    trace = failed_trace(error)
    if trace is not None:
        try:
            shell.display_pub.publish(data=failures_bundle(trace), metadata={})
        except Exception as fault:  # the error itself matters more than its table
            warnings.warn(f"the failed calls are not shown: {type(fault).__name__}: {fault}", stacklevel=2)
    if traceback.tb_frame.f_code.co_name != "run_code" and isinstance(error, UNCOMPILED):
        # IPython hands us cells that do not compile, too, and has ways of its own with these.
        show = shell.showindentationerror if isinstance(error, IndentationError) else shell.showsyntaxerror
        show()
    else:
        shell.showtraceback((kind, error, traceback), tb_offset=tb_offset, running_compiled_code=True)


def failed_trace(error: BaseException) -> Trace | None:
    """The trace of the failed run behind an error, if there is one and calls of it failed."""
    for link in _chain(error):
        trace = getattr(link, "trace", None)
        if isinstance(trace, Trace) and trace.status == "error" and _failed(trace):
            return trace
    return None


def failures_bundle(trace: Trace) -> dict[str, str]:
    """The table of the calls that failed, for a notebook and as plain text."""
    from composite_lab.notebook import page

    return {"text/html": page.failures(trace), "text/plain": "\n".join(map(_failure, _failed(trace)))}


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    for _ in range(CHAIN_LINKS):  # a chain may be a circle
        if link is None:
            return
        yield link
        link = link.__cause__ or link.__context__


def _failed(trace: Trace) -> list[Call]:
    return [call for call in trace.calls if call.status != "ok"]


def _failure(call: Call) -> str:
    who = f"{call.role} {call.seat + 1} ({text.one_line(call.name)}), attempt {call.attempt + 1}"
    what = text.one_line(call.error_message or "", ERROR_CHARS)
    return f"{who}: {call.error_type or call.status}{': ' if what else ''}{what}"
