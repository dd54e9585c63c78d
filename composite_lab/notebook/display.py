"""Runs as the last line of a cell: the explorer where a kernel is live, a static page everywhere.

Light on purpose, since importing the package in a notebook imports this: pages and widgets come on use.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from composite_lab.errors import ConfigError
from composite_lab.interrupts import interrupts_held
from composite_lab.strategies.base import Strategy
from composite_lab.trace.call import Ballot
from composite_lab.trace.model import Result, Trace

WIDGET, HTML, PLAIN = "application/vnd.jupyter.widget-view+json", "text/html", "text/plain"
SHOWN = (
    "a Result, a Trace, ballots, a strategy, a RunHandle, a Comparison, a Forecast, or the LiteLLM "
    "response, stream (read to its end) or error of a composite that ran in this process"
)
COMPARISON = ("composite_lab.batch.comparison", "Comparison")
FORECAST = ("composite_lab.batch.estimate", "Forecast")
HANDLE = ("composite_lab.strategies.handle", "RunHandle")

Bundle = dict[str, Any]


def register_formatters(ip: Any) -> None:
    """Teach an IPython shell to show what this package returns; to do it again changes nothing."""

    def show_live(shown: Any) -> None:
        _show_live(ip, shown)

    formatters = ip.display_formatter
    for kind in (Result, Trace, Ballot, Strategy):
        formatters.mimebundle_formatter.for_type(kind, _bundle)
    for where in (COMPARISON, FORECAST):  # by name: these would bring pandas and statsmodels
        formatters.mimebundle_formatter.for_type_by_name(*where, _bundle)
    lists = formatters.mimebundle_formatter.type_printers
    if not isinstance(lists.get(list), _ListFormatter):
        lists[list] = _ListFormatter(lists.get(list))
    if getattr(ip, "kernel", None) is not None:
        for kind in (Result, Trace):
            formatters.ipython_display_formatter.for_type(kind, show_live)
        formatters.ipython_display_formatter.for_type_by_name(*COMPARISON, show_live)
    formatters.ipython_display_formatter.for_type_by_name(*HANDLE, _show_handle)


def explore(what: Any) -> None:
    """Show a run or runs: a Result, Trace, ballots, strategy, RunHandle, Comparison or Forecast, or a
    response or error of a composite.

    In a notebook this is what the last line of a cell shows, elsewhere plain text. Raises TypeError for
    what is no run and has none.
    """
    shown = _subject(what)
    shell = _shell()
    if shell is None:
        print("\n".join(_lines(shown)))  # noqa: T201  (what was asked for)
        return
    import IPython.display

    display: Callable[..., Any] = IPython.display.display
    register_formatters(shell)
    if isinstance(shown, list):  # an empty one is nobody's in particular, but here it was said to be ballots
        display(_bundle(shown), raw=True)
    else:
        display(shown)


class _ListFormatter:
    """Shows a list of ballots; every other list as it was shown before."""

    def __init__(self, before: Callable[[Any], Any] | None) -> None:
        self.before = before

    def __call__(self, items: list[Any]) -> Any:
        if type(items) is list and items and all(isinstance(item, Ballot) for item in items):
            return _bundle(items)
        if self.before is not None:
            return self.before(items)
        # A kind of list that shows itself: being asked for lists, IPython did not look for its method.
        own = getattr(type(items), "_repr_mimebundle_", None)
        return own(items, include=None, exclude=None) if own is not None else None


def _bundle(shown: Any) -> Bundle:
    """What a front end may choose from: the page and the plain text."""
    return {HTML: _page(shown), PLAIN: _plain(shown)}


def _show_live(ip: Any, shown: Any) -> None:
    """Show the page and then the explorer, each as an output of its own.

    In one output JupyterLab would show nothing but a complaint about the explorer when the notebook is
    opened again; of two, the page's style sheet hides the one that is not wanted.
    """
    bundle = _bundle(shown)
    view: Bundle = {}
    try:
        view = {WIDGET: _explorer(shown)._repr_mimebundle_()[WIDGET], PLAIN: ""}
    except Exception as fault:  # whatever went wrong in a widget, the page has the run
        if not (isinstance(fault, ModuleNotFoundError) and fault.name == "ipywidgets"):
            bundle[HTML] = _note_on(fault) + bundle[HTML]
    for data in filter(None, (bundle, view)):
        ip.display_pub.publish(data=data, metadata={})


def _note_on(fault: Exception) -> str:
    from composite_lab.notebook.document import framed
    from composite_lab.notebook.text import escaped, one_line

    told = escaped(one_line(f"{type(fault).__name__}: {fault}", 300))
    return framed(f'<p class="cl-note">The explorer could not be made ({told}): this is the page.</p>')


def _explorer(shown: Any) -> Any:
    if _is(COMPARISON, shown):
        with interrupts_held():
            from composite_lab.notebook.comparison_explorer import comparison_explorer

        return comparison_explorer(shown)
    with interrupts_held():
        from composite_lab.notebook.explorer import trace_explorer

    return trace_explorer(shown.trace if isinstance(shown, Result) else shown)


def _page(shown: Any) -> str:
    if _is(COMPARISON, shown) or _is(FORECAST, shown):
        with interrupts_held():
            from composite_lab.notebook import comparison_page

        is_forecast = _is(FORECAST, shown)
        return comparison_page.forecast_page(shown) if is_forecast else comparison_page.comparison_page(shown)
    with interrupts_held():
        from composite_lab.notebook import page

    match shown:
        case Result():
            return page.result_page(shown)
        case Trace():
            return page.trace_page(shown)
        case Strategy():
            return page.strategy_page(shown)
        case Ballot():
            return page.ballots_page([shown])
        case _:
            return page.ballots_page(shown)


def _plain(shown: Any) -> str:
    """One line: what it is, and the run's totals."""
    if isinstance(shown, Strategy):
        from composite_lab.notebook.page import strategy_line

        return strategy_line(shown)
    if isinstance(shown, list):
        valid = sum(ballot.is_usable for ballot in shown)
        return f"<{len(shown)} ballot{'' if len(shown) == 1 else 's'}, {valid} valid>"
    return repr(shown)


def _lines(shown: Any) -> Iterator[str]:
    """Plain text for a terminal: the line, a verdict's, then a line for each call or ballot."""
    yield _plain(shown)
    if isinstance(shown, list):
        yield from map(repr, shown)
    trace = shown if isinstance(shown, Trace) else getattr(shown, "trace", None)
    if isinstance(trace, Trace):
        from composite_lab.notebook.calls_table import nested
        from composite_lab.notebook.page import call_title
        from composite_lab.notebook.verdict_view import verdict_text

        yield from filter(None, [verdict_text(trace)])
        yield from (f"  {'  ' * depth}{call_title(call)}" for call, depth in nested(trace.calls))


def _show_handle(handle: Any) -> None:
    from composite_lab.notebook import progress

    progress.show_handle(handle)


def _subject(what: Any) -> Any:
    """What there is to show of it: itself, or the trace that it carries."""
    if isinstance(what, Result | Trace | Ballot | Strategy):
        return what
    if any(_is(where, what) for where in (HANDLE, COMPARISON, FORECAST)):
        return what
    if isinstance(what, list) and all(isinstance(item, Ballot) for item in what):
        return what
    from composite_lab.provider import trace_of

    try:
        return trace_of(what)
    except ConfigError:
        raise TypeError(f"explore() shows {SHOWN}; this {type(what).__name__} carries no trace") from None


def _is(where: tuple[str, str], what: Any) -> bool:
    """Whether that is the class of it, told without importing the class."""
    return (type(what).__module__, type(what).__qualname__) == where


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None
