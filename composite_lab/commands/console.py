"""The two consoles that all commands print to, and how a command fails."""

from __future__ import annotations

from contextlib import suppress
from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

from composite_lab import terminal
from composite_lab.errors import CompositeError, ConfigError
from composite_lab.provider import trace_of
from composite_lab.trace.model import Trace

out = Console(soft_wrap=False)
err = Console(stderr=True)


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
