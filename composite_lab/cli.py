"""The command line: parse arguments, call the library, print."""

from __future__ import annotations

import warnings

import typer

from composite_lab.commands.ask import ask
from composite_lab.commands.compare import compare
from composite_lab.commands.console import show_crash, show_warning
from composite_lab.commands.demo import demo
from composite_lab.commands.profiles import profiles
from composite_lab.commands.serve import fake_server, serve
from composite_lab.commands.trace import trace

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
for command in (demo, ask, compare, trace, profiles, serve, fake_server):
    app.command()(command)


def main() -> None:
    """The entry point of `composite-lab`."""
    warnings.showwarning = show_warning  # type: ignore[assignment]  # it needs no file
    try:
        app()
    except Exception:
        show_crash()


if __name__ == "__main__":
    main()
