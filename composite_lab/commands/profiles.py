"""`composite-lab profiles`: whether a file of profiles is sound, and what is in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from composite_lab.commands.console import fail, out
from composite_lab.errors import ConfigError
from composite_lab.profiles import load_profiles, profile, profiles_schema


def profiles(
    file: Annotated[Path | None, typer.Argument(help="A YAML file of profiles; see the README.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of such files.")] = False,
) -> None:
    """Check a file of profiles and list them: name, strategy, seats."""
    if schema:
        sys.stdout.write(json.dumps(profiles_schema(), indent=2) + "\n")
        return
    if file is None:
        fail(ConfigError("give the FILE to check, or --schema for the JSON schema of such files"), code=2)
    table = Table("profile", "strategy", "seats")
    try:
        for name in load_profiles(file):
            strategy = profile(name)
            table.add_row(escape(name), strategy.kind, escape(", ".join(map(str, strategy.all_seats()))))
    except ConfigError as error:
        fail(error, code=2)
    out.print(table)
