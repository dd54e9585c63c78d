"""The file sink: whole JSON lines, whoever writes at once, and loading that names the line at fault."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from composite_lab import ConfigError, Trace, load_traces, save_traces
from composite_lab.trace.sink import record
from tests import records
from tests.records import call

WRITER = """
import sys
from datetime import UTC, datetime
from composite_lab import Trace, save_traces
from composite_lab.trace.sink import record

path, name = sys.argv[1:]
save_traces(path)
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    record(
        Trace(
            trace_id=f"{name}-{number}", strategy="moa", model="m", version="0", latency_s=1.0,
            started_at=datetime(2025, 3, 1, tzinfo=UTC), text="東京" * 20_000,
        )
    )
"""


def trace(trace_id: str, **fields: Any) -> Trace:
    return records.trace(trace_id=trace_id, **fields)


@pytest.fixture(autouse=True)
def _sink_off_again() -> Iterator[None]:
    yield
    save_traces(None)


@pytest.mark.parametrize("kind", [str, Path])
def test_traces_are_appended_as_json_lines_and_loaded_again(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "traces.jsonl"
    odd = 'line\u2028separators\r\n"quotes" \0 🗼'
    traces = [
        trace("1", text=odd),
        trace("2", calls=[call(text=odd)], messages=[{"role": "user", "content": odd}]),
    ]
    save_traces(kind(path))
    for one in traces:
        record(one)
    assert [json.loads(line)["trace_id"] for line in path.read_bytes().splitlines()] == ["1", "2"]
    assert list(load_traces(kind(path))) == traces


def test_file_that_is_there_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    for number in range(3):
        save_traces(path)
        record(trace(str(number)))
        save_traces(None)
    assert [one.trace_id for one in load_traces(path)] == ["0", "1", "2"]


def test_nothing_is_written_before_a_trace_comes_or_after_none(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    record(trace("1"))
    save_traces(path)
    assert not path.exists()
    save_traces(None)
    record(trace("2"))
    assert list(tmp_path.iterdir()) == []


def test_threads_writing_at_once_keep_lines_whole(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    save_traces(path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: record(trace(str(number), text="é" * 50_000)), range(160)))
    assert {one.trace_id for one in load_traces(path)} == {str(number) for number in range(160)}
    assert path.read_bytes().count(b"\n") == 160


def test_processes_writing_at_once_keep_lines_whole(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    try:
        for writer in writers:
            assert writer.stdout
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            writer.communicate(timeout=120)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    found = [one.trace_id for one in load_traces(path)]
    assert sorted(found) == sorted(f"{name}-{number}" for name in range(3) for number in range(40))


def test_missing_folder_is_refused_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "nowhere"
    with pytest.raises(ConfigError) as caught:
        save_traces(folder / "traces.jsonl")
    assert repr(str(folder)) in str(caught.value)
    assert not folder.exists()


def test_folder_in_place_of_a_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder"):
        save_traces(tmp_path)


def test_refused_path_leaves_the_earlier_file_in_use(tmp_path: Path) -> None:
    save_traces(tmp_path / "traces.jsonl")
    with pytest.raises(ConfigError):
        save_traces(tmp_path / "nowhere" / "traces.jsonl")
    record(trace("1"))
    assert [one.trace_id for one in load_traces(tmp_path / "traces.jsonl")] == ["1"]


def test_relative_path_stays_where_it_was_when_the_program_changes_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    save_traces("traces.jsonl")
    monkeypatch.chdir(tmp_path / "elsewhere")
    record(trace("1"))
    assert [one.trace_id for one in load_traces(tmp_path / "traces.jsonl")] == ["1"]


@pytest.mark.parametrize(
    "broken",
    [
        b"not json",
        b"[]",
        b'{"trace_id": "2"}',
        trace("2", text="abc").model_dump_json().encode()[:-40],
        trace("2").model_dump_json().encode().replace(b'"moa"', b'"moa", "unknown": 1'),
        b'{"trace_id": "\xe6\x9d',
    ],
    ids=["words", "list", "too little", "torn", "too much", "torn inside a character"],
)
def test_broken_line_is_named_after_the_traces_before_it(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "traces.jsonl"
    whole = trace("1")
    path.write_bytes(whole.model_dump_json().encode() + b"\n\n" + broken + b"\n")
    traces = load_traces(path)
    assert next(traces) == whole
    with pytest.raises(ConfigError) as caught:
        next(traces)
    assert f"{path}, line 3," in str(caught.value)


def test_blank_lines_and_a_missing_last_line_end_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    line = trace("1").model_dump_json()
    path.write_text(f"\n{line}\n  \n\n{line}", encoding="utf-8")
    assert list(load_traces(path)) == [trace("1")] * 2


def test_empty_file_holds_no_traces(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    path.touch()
    assert list(load_traces(path)) == []


def test_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(load_traces(tmp_path / "traces.jsonl"))
