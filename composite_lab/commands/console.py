"""The two consoles that all commands print to, and how a command fails.

What models, files and servers say may hold sequences that clear a screen, set a clipboard or make a link
lie. On a terminal none of it has an effect: control and invisible characters are shown. Anywhere else
(a pipe, a file) texts are what they are.
"""

from __future__ import annotations

import json
import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any, NoReturn

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.highlighter import JSONHighlighter
from rich.segment import Segment
from rich.text import Span, Text

from composite_lab import terminal
from composite_lab.errors import CompositeError, ConfigError
from composite_lab.notebook.text import UNSEEN, visible
from composite_lab.provider import trace_of
from composite_lab.trace.model import Trace


class SafeConsole(Console):
    """A console on which only its own styles do anything to a terminal, whatever is printed."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """As rich has it; every part of a table and of a line comes through here."""
        if not self.file.isatty():
            yield from super().render(renderable, options)
            return
        # Before the layout, so that what is shown has its room; and after it, whatever else it was made of.
        shown = _visible_text(renderable) if isinstance(renderable, Text) else renderable
        for text, style, control in super().render(shown, options):
            yield Segment(text if control else shown_on(self.file, text), style, control)


out = SafeConsole(soft_wrap=False)
err = SafeConsole(stderr=True)


def shown_on(file: IO[str], text: str) -> str:
    """The text as it may be written to this file: as it is, or for a terminal visible and in its encoding."""
    if not file.isatty():
        return text
    encoding = getattr(file, "encoding", None) or "utf-8"
    return visible(text).encode(encoding, "backslashreplace").decode(encoding)


def write(text: str) -> None:
    """Write a text, or a piece of one, to standard output."""
    # A sequence begins with a control character, so it is broken also when it comes in two pieces.
    sys.stdout.write(shown_on(sys.stdout, text))
    sys.stdout.flush()


def json_text(content: Any) -> str:
    """JSON in which every control and every invisible character is escaped: the same data."""
    return UNSEEN.sub(_escapes, json.dumps(content, indent=2, ensure_ascii=False))


def print_json(content: Any) -> None:
    """Print JSON, in colours on a terminal."""
    out.print(JSONHighlighter()(json_text(content)), soft_wrap=True)


def show_answer(trace: Trace, text: str) -> None:
    """Print a run's answer, its calls and its totals."""
    out.print("[bold]Answer[/bold]")
    out.print(terminal.answer(text))
    out.print(terminal.calls_table(trace))
    out.print(terminal.headline(trace))


def fail(error: Exception, *, code: int) -> NoReturn:
    """Print the error, with the calls that were made before it, and end with this exit code."""
    name = "" if isinstance(error, CompositeError) else f"{type(error).__name__}: "
    err.print(Text(name + str(error), style="red"), soft_wrap=True)
    with suppress(ConfigError):  # it has no trace when nothing was called
        err.print(terminal.calls_table(trace_of(error)))
    raise typer.Exit(code)


def show_crash() -> NoReturn:
    """Print the error under way as Python would, and end as Python would."""
    err.print(Text(traceback.format_exc()), soft_wrap=True, end="")
    raise SystemExit(1)


def show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any
) -> None:
    """Print a warning; stands in for `warnings.showwarning`. A plain one is told without its line of code."""
    if category is UserWarning:
        err.print(Text(f"Warning: {message}", style="yellow"), soft_wrap=True)
    else:
        told = warnings.formatwarning(message, category, filename, lineno)
        err.print(Text(told), soft_wrap=True, end="")


def _visible_text(text: Text) -> Text:
    """The text with its unseen characters shown, and its styles where they were."""
    bounds = [bound for found in UNSEEN.finditer(text.plain) for bound in found.span()]
    if not bounds:
        return text
    whole = text.blank_copy()
    for part in text.divide(bounds):
        shown = Text(visible(part.plain), style=part.style, end="")
        shown.spans = [Span(0, len(shown), span.style) for span in part.spans]
        whole.append_text(shown)
    return whole


def _escapes(found: re.Match[str]) -> str:
    """The characters as JSON writes them in a string; outside of strings JSON has none of them."""
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
