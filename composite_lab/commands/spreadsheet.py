"""CSV that a spreadsheet may open: no text in it becomes a formula there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pandas as pd

GuardFormulas = Annotated[
    bool,
    typer.Option(
        help="In CSV, put an apostrophe before every text that a spreadsheet would take for a formula "
        "(one that begins with = + - @, a tab or a line end). Numbers stay as they are."
    ),
]

# As spreadsheets read them, which take the full-width signs of East Asian keyboards, too.
_FORMULA = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_QUOTED_OR_END = re.compile(r'("[^"]*")|\r\n')


def csv_of(frame: pd.DataFrame, *, guard: bool, header: bool = True) -> str:
    """The frame as CSV without its index; with `guard` no text in it, headings included, is a formula."""
    if guard:
        frame = frame.rename(columns=_guarded)
        for position, kind in enumerate(frame.dtypes):
            if getattr(kind, "kind", "O") in "OUST":  # not numbers, truth values and times
                cells = frame.iloc[:, position].astype(object).map(_guarded)
                frame.isetitem(position, cells.to_numpy(dtype=object))
    # A cell with a lone carriage return is quoted only if lines end with one: unquoted, what is behind it
    # would be a line and a cell of its own.
    written = frame.to_csv(index=False, header=header, lineterminator="\r\n")
    return _QUOTED_OR_END.sub(lambda found: found[1] or "\n", written)


def _guarded(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell
