"""Prompts: what the strategies of a comparison are asked, from a list, a frame or a file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from composite_lab.errors import ConfigError
from composite_lab.gateway.memory import digest
from composite_lab.strategies.conversation import read_conversation

OWN_COLUMNS = ("id", "prompt", "messages", "target")
TAKEN = (
    "strategy", "prompt_id", "repeat", "status", "text", "score", "score_note", "cost_usd", "latency_s",
    "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens", "calls",
    "failures", "error_type", "error_message", "trace_id",
)  # fmt: skip
"""Columns of a comparison's frame, which a prompt's further columns must not have the names of."""
FORMS = "strings, message lists, dicts or rows with `prompt` or `messages` (and `id`, `target`)"


@dataclass(frozen=True)
class Prompt:
    """A question with what belongs to it. `columns` are the further columns of its row."""

    id: str
    messages: list[dict[str, Any]]
    target: Any = None
    columns: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The last message as text."""
        content = self.messages[-1].get("content")
        return content if isinstance(content, str) else json.dumps(content)

    @property
    def scope(self) -> str:
        """Under what the store files the answers to this prompt."""
        return digest(self.messages)[:16]


Prompts = str | Path | pd.DataFrame | Iterable[Any]


def read_prompts(source: Prompts) -> list[Prompt]:
    """The prompts of a list, a DataFrame, or a JSONL, CSV or Parquet file; without an id, by position.

    Raises `ConfigError` that names the row of a fault: no question, two equal ids, a column whose name
    is taken.
    """
    rows = list(_rows(source))
    if not rows:
        raise ConfigError("there are no prompts: give at least one")
    prompts = [read_prompt(row, position) for position, row in enumerate(rows)]
    first: dict[str, int] = {}
    for position, prompt in enumerate(prompts):
        if prompt.id in first:
            raise ConfigError(f"prompts {first[prompt.id]} and {position} have the same id {prompt.id!r}")
        first[prompt.id] = position
    return prompts


def read_prompt(row: Any, position: int) -> Prompt:
    """One prompt of a list. Raises `ConfigError` that names its position, counted from 0."""
    where = f"prompt {position}"
    if isinstance(row, Prompt):
        return row
    if isinstance(row, str) or (isinstance(row, Sequence) and not isinstance(row, bytes)):
        return Prompt(str(position), _conversation(row, where))
    if not isinstance(row, Mapping):
        raise ConfigError(f"{where}: prompts are {FORMS}, not {type(row).__name__}")
    given = [name for name in ("prompt", "messages") if row.get(name)]
    if len(given) != 1:
        said = "both `prompt` and" if given else "neither `prompt` nor"
        raise ConfigError(f"{where} has {said} `messages`: one of them is needed ({list(row)})")
    if taken := [name for name in row if name in TAKEN]:
        raise ConfigError(f"{where}: the column {taken[0]!r} is one of the result's own: rename it")
    return Prompt(
        id=str(row.get("id", position)),
        messages=_conversation(row[given[0]], where),
        target=row.get("target"),
        columns={str(name): value for name, value in row.items() if name not in OWN_COLUMNS},
    )


def _rows(source: Prompts) -> Iterable[Any]:
    if isinstance(source, pd.DataFrame):
        return [_without_gaps(row) for row in source.to_dict("records")]
    if isinstance(source, str | Path):
        return _rows_of_file(Path(source))
    if isinstance(source, Mapping) or not isinstance(source, Iterable):
        raise ConfigError(f"prompts must be {FORMS}, a DataFrame or a file, not {type(source).__name__}")
    return source


def _rows_of_file(file: Path) -> Iterable[Any]:
    if not file.is_file():
        hint = " For one question, give a list: [question]" if " " in str(file) else ""
        raise ConfigError(f"{str(file)!r} is no file of prompts.{hint}")
    readers: dict[str, Callable[[Path], Any]] = {
        ".jsonl": _json_lines,
        ".ndjson": _json_lines,
        ".csv": _csv,
        ".parquet": pd.read_parquet,
    }
    form = file.suffix.lower()
    if form not in readers:
        raise ConfigError(f"{file}: prompts are read from .jsonl, .csv and .parquet, not {form!r}")
    try:
        return _rows(readers[form](file))
    except ConfigError:
        raise
    except ImportError as missing:
        raise ConfigError(f"{file}: reading Parquet needs pyarrow: pip install pyarrow") from missing
    except (OSError, ValueError) as fault:  # no text in UTF-8, no table, no Parquet
        raise ConfigError(f"{file} cannot be read: {fault}") from fault


def _csv(file: Path) -> pd.DataFrame:
    # As text: an id of 007 stays 007. Only an empty cell is a gap: an answer may be "NA" or "None".
    return pd.read_csv(
        file,
        dtype={"id": "string", "target": "string"},
        keep_default_na=False,
        na_values=[""],
        dtype_backend="numpy_nullable",
    )


def _json_lines(file: Path) -> list[Any]:
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ConfigError(f"{file}, line {number}: not valid JSON: {error.msg}") from None
    return rows


def _without_gaps(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A frame's row without its empty cells, with numpy's values as Python's."""
    plain = {str(name): _plain(value) for name, value in row.items()}
    return {name: value for name, value in plain.items() if not _is_gap(value)}


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _is_gap(value: Any) -> bool:
    return (
        value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))
    )


def _conversation(question: Any, where: str) -> list[dict[str, Any]]:
    if isinstance(question, str) and question.lstrip().startswith("[{"):  # a cell of a CSV file
        with suppress(json.JSONDecodeError):
            question = json.loads(question)
    try:
        return read_conversation(question)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
