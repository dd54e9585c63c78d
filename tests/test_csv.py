"""CSV that the command line writes: no text in it is a formula, numbers are numbers, and a reader gets it."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from composite_lab.commands.spreadsheet import csv_of
from tests.records import call, trace
from tests.test_cli import run

FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\uff1d1",
    '=HYPERLINK("http://evil","x")',
    "-",
]
PLAIN = ["1-1", " =1", "'=1", "", "a=1", "東京", 'say "x", y', "x\r=1", "x\r\n=1\n", "[-1]"]


def rows(written: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(written, newline=""), strict=True))


@pytest.mark.parametrize("dtype", ["string", "object", "str", "category"])
def test_only_texts_that_a_spreadsheet_takes_for_formulas_are_guarded(dtype: str) -> None:
    frame = pd.DataFrame({"text": pd.Series(FORMULAS + PLAIN, dtype=dtype), "last": "x"})  # type: ignore[call-overload]
    guarded = rows(csv_of(frame, guard=True))
    assert guarded == [
        ["text", "last"],
        *([f"'{text}", "x"] for text in FORMULAS),
        *([text, "x"] for text in PLAIN),
    ]
    assert rows(csv_of(frame, guard=False)) == [["text", "last"], *([text, "x"] for text in FORMULAS + PLAIN)]
    assert list(frame["text"]) == FORMULAS + PLAIN


def test_numbers_and_what_is_unknown_stay_as_they_are() -> None:
    cells: list[Any] = [-1, -2.5, None, True, pd.NA, "-x"]
    frame = pd.DataFrame(
        {
            "int": pd.Series([-1, None, 3, 4, 5, 6], dtype="Int64"),
            "float": [-1.5, float("nan"), 1e-7, -0.0, float("-inf"), 2],
            "any": pd.Series(cells, dtype="object"),
        }
    )
    plain = csv_of(frame, guard=False)
    assert plain == frame.to_csv(index=False, lineterminator="\n")
    assert csv_of(frame, guard=True) == plain.replace(",-x\n", ",'-x\n")


def test_headings_are_cells_too_and_may_be_left_out() -> None:
    frame = pd.DataFrame([["a", "=b"]], columns=["=cmd", "=cmd"])
    assert csv_of(frame, guard=True) == "'=cmd,'=cmd\na,'=b\n"
    assert csv_of(frame, guard=True, header=False) == "a,'=b\n"


def test_the_command_guards_unless_told_not_to(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    calls = [call(seat_name="=cmd|'/c calc'!A1", request_model="@x\r=1", start_offset_s=-1.5)]
    file.write_text(trace(*calls).model_dump_json() + "\n")
    guarded = rows(run("trace", str(file), "--csv").stdout)
    told = dict(zip(*guarded, strict=True))
    assert told["name"] == "'=cmd|'/c calc'!A1"
    assert told["start_offset_s"] == "-1.5"
    bare = dict(zip(*rows(run("trace", str(file), "--csv", "--no-guard-formulas").stdout), strict=True))
    assert bare["name"] == "=cmd|'/c calc'!A1"
