"""Prompts of a comparison: every form they may come in, and how their faults are told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import composite_lab as lab
from composite_lab.batch.prompts import TAKEN, Prompt, read_prompts

TALK = [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Why?"}]


def asked(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize(
    ("source", "prompts"),
    [
        (["Why?", "How?"], [Prompt("0", asked("Why?")), Prompt("1", asked("How?"))]),
        ([TALK], [Prompt("0", TALK)]),
        ((each for each in ["Why?"]), [Prompt("0", asked("Why?"))]),
        ([{"prompt": "Why?"}], [Prompt("0", asked("Why?"))]),
        ([{"messages": TALK, "id": 7, "target": 3}], [Prompt("7", TALK, 3)]),
        ([{"prompt": "Why?", "kind": "x"}], [Prompt("0", asked("Why?"), columns={"kind": "x"})]),
        ([{"prompt": "Why?", "messages": None}], [Prompt("0", asked("Why?"))]),
        ([Prompt("x", TALK), "How?"], [Prompt("x", TALK), Prompt("1", asked("How?"))]),
        ([{"prompt": "Why?", "target": ["a", "b"]}], [Prompt("0", asked("Why?"), ["a", "b"])]),
        (['[{"role": "user", "content": "in JSON"}]'], [Prompt("0", asked("in JSON"))]),
        (["[{is no JSON"], [Prompt("0", asked("[{is no JSON"))]),
    ],
    ids=[
        "texts", "messages", "a generator", "a dict", "a dict with messages", "further columns",
        "an empty cell", "Prompts", "a list of targets", "messages as JSON", "no JSON after all",
    ],
)  # fmt: skip
def test_lists_become_prompts(source: Any, prompts: list[Prompt]) -> None:
    assert read_prompts(source) == prompts


def test_a_frames_empty_cells_are_left_out_and_numpys_values_are_pythons() -> None:
    frame = pd.DataFrame(
        {
            "prompt": ["Why?", None, "When?"],
            "messages": [np.nan, TALK, pd.NA],
            "id": [np.int64(4), np.int64(5), np.int64(6)],
            "target": [np.float64(1.5), np.nan, np.array(["a", "b"])],
            "day": [pd.NaT, pd.Timestamp("2024-10-21"), pd.NaT],
            "level": pd.array([1, None, 3], dtype="Int64"),
        }
    )
    first, second, third = read_prompts(frame)
    assert first == Prompt("4", asked("Why?"), 1.5, {"level": 1})
    assert second == Prompt("5", TALK, None, {"day": pd.Timestamp("2024-10-21")})
    assert third == Prompt("6", asked("When?"), ["a", "b"], {"level": 3})
    assert type(first.target) is float
    assert type(first.columns["level"]) is int


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson", "parquet"])
def test_a_file_keeps_ids_messages_targets_and_columns(tmp_path: Path, suffix: str) -> None:
    rows = [
        {"id": "007", "messages": TALK, "target": "x", "kind": "deep"},
        {"id": "b", "messages": asked("How?"), "target": "y", "kind": "flat"},
    ]
    file = tmp_path / f"prompts.{suffix}"
    if suffix == "parquet":
        pd.DataFrame(rows).to_parquet(file)
    else:
        file.write_text("\n\n".join(map(json.dumps, rows)) + "\n")
    expected = [Prompt("007", TALK, "x", {"kind": "deep"}), Prompt("b", asked("How?"), "y", {"kind": "flat"})]
    assert read_prompts(file) == read_prompts(str(file)) == expected


def test_a_line_of_json_may_hold_any_line_break_but_the_files_own(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    text = "one\u2028two\x85three\x0cfour"
    file.write_bytes(("\ufeff" + json.dumps({"prompt": text}, ensure_ascii=False) + "\r\n").encode())
    (prompt,) = read_prompts(file)
    assert prompt.text == text


def test_a_csv_file_keeps_leading_zeros_and_words_that_pandas_takes_for_gaps(tmp_path: Path) -> None:
    file = tmp_path / "prompts.csv"
    talk = json.dumps(TALK).replace('"', '""')
    file.write_text(f'id,prompt,messages,target,year\n007,Why?,,NA,3\n008,,"{talk}",010,\n009,None,,,5\n')
    assert read_prompts(file) == [
        Prompt("007", asked("Why?"), "NA", {"year": 3}),
        Prompt("008", TALK, "010"),
        Prompt("009", asked("None"), None, {"year": 5}),
    ]


def test_the_text_of_a_prompt_is_its_last_message_and_its_scope_the_whole_conversation() -> None:
    parts = [{"type": "text", "text": "Why?"}]
    short, long, picture = read_prompts([asked("Why?"), TALK, asked(parts)])
    assert short.text == long.text == "Why?"
    assert picture.text == json.dumps(parts)
    assert len({short.scope, long.scope, picture.scope}) == 3


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ([], "there are no prompts"),
        (5, "not int"),
        ({"prompt": "Why?"}, "not dict"),
        (["Why?", 5], "prompt 1: prompts are .*, not int"),
        ([b"Why?"], "prompt 0: prompts are .*, not bytes"),
        (["Why?", " "], "prompt 1: all messages are empty"),
        ([[{"role": "robot", "content": "x"}]], r"prompt 0: messages\[0\] has role 'robot'"),
        ([{"question": "Why?"}], r"prompt 0 has neither `prompt` nor `messages`: .*\['question'\]"),
        ([{"prompt": "Why?", "messages": TALK}], "prompt 0 has both `prompt` and `messages`"),
        ([{"id": "a", "prompt": "x"}, "y", {"id": "a", "prompt": "z"}],
         "prompts 0 and 2 have the same id 'a'"),
        (["x", {"id": 0, "prompt": "y"}], "prompts 0 and 1 have the same id '0'"),
        (pd.DataFrame({"prompt": ["Why?", np.nan]}), "prompt 1 has neither"),
        ("Why is the sky dark?", r"is no file of prompts\. For one question, give a list: \[question\]"),
        ("no-such-file.jsonl", "'no-such-file.jsonl' is no file of prompts"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_row(source: Any, says: str) -> None:
    with pytest.raises(lab.ConfigError, match=says):
        read_prompts(source)


@pytest.mark.parametrize("column", TAKEN)
def test_a_column_of_the_result_is_refused(column: str) -> None:
    with pytest.raises(lab.ConfigError, match=f"prompt 0: the column '{column}' is one of the result's own"):
        read_prompts([{"prompt": "Why?", column: 1}])


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("p.jsonl", b'{"prompt": "a"}\n\n{"prompt": \n', "p.jsonl, line 3: not valid JSON: "),
        ("p.jsonl", b'{"prompt": "\xff"}\n', "p.jsonl cannot be read: .*utf-8"),
        ("p.jsonl", b"", "there are no prompts"),
        ("p.csv", b"question,target\nWhy?,x\n", r"prompt 0 has neither .* needed \(\['question'"),
        ("p.csv", b"", "p.csv cannot be read: No columns"),
        ("p.csv", b"prompt\na\nb,c,d\n", "p.csv cannot be read: .*line 3"),
        ("p.csv", b"prompt\n\xff\n", "p.csv cannot be read: .*utf-8"),
        ("p.parquet", b"no such thing", "p.parquet cannot be read: "),
        ("p.xlsx", b"", "read from .jsonl, .csv and .parquet, not '.xlsx'"),
        ("p", b"", "not ''"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(lab.ConfigError, match=f"(?s){says}"):
        read_prompts(tmp_path / name)


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "prompts.parquet"
    pd.DataFrame({"prompt": ["Why?"]}).to_parquet(file)
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as where it is not installed
    with pytest.raises(
        lab.ConfigError, match=r"prompts\.parquet: reading Parquet needs pyarrow: pip install pyarrow"
    ):
        read_prompts(file)
