"""`composite-lab trace`: what is in a file of saved traces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from composite_lab import terminal
from composite_lab.commands.console import fail, out, show_answer, write
from composite_lab.commands.spreadsheet import GuardFormulas, csv_of
from composite_lab.errors import ConfigError
from composite_lab.trace.sink import load_traces


def trace(
    file: Annotated[Path, typer.Argument(help="A file that `save_traces` or `ask --save` wrote.")],
    id_: Annotated[str, typer.Option("--id", metavar="PREFIX", help="Only traces whose id begins so.")] = "",
    text: Annotated[bool, typer.Option("--text", help="Also the answers of every stage.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="The calls of all traces as one CSV table.")] = False,
    guard_formulas: GuardFormulas = True,
) -> None:
    """Show saved traces."""
    try:
        chosen = [trace for trace in load_traces(file) if trace.trace_id.startswith(id_)]
    except (ConfigError, OSError) as error:
        fail(error, code=2)
    if not chosen:
        fail(
            ConfigError(f"{file} holds no trace" + (f" whose id begins with {id_!r}" if id_ else "")), code=2
        )
    if csv:
        for number, one in enumerate(chosen):
            write(csv_of(one.to_dataframe(), guard=guard_formulas, header=number == 0))
        return
    for one in chosen:
        title = f"{one.trace_id} · {one.started_at:%Y-%m-%d %H:%M:%S} UTC"
        out.rule(Text(title, style="rule.text"))
        if text:
            out.print(*terminal.stages(one, limit=10_000), sep="\n")
        show_answer(one, one.text or one.error_message or "")
