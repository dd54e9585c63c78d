"""The file sink: whole JSON lines, whoever writes at once, and loading of all that is good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from composite_lab import ConfigError, Trace, load_traces, save_traces
from composite_lab.trace.call import Ballot
from composite_lab.trace.sink import record
from composite_lab.trace.verdict import Verdict
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

LIMITED = """
import resource, sys
from datetime import UTC, datetime
from composite_lab import Trace, save_traces
from composite_lab.trace.sink import record

path = sys.argv[1]
save_traces(path)
one = Trace(
    trace_id="1", strategy="moa", model="m", version="0", latency_s=1.0,
    started_at=datetime(2025, 3, 1, tzinfo=UTC),
)
record(one)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
try:
    record(one.model_copy(update={"trace_id": "2", "text": "x" * 2000}))
except OSError as error:
    print(type(error).__name__)
print(len(open(path, "rb").read()))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
record(one.model_copy(update={"trace_id": "3"}))
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


BROKEN = [
    b"not json",
    b"[]",
    b'{"trace_id": "2"}',
    b'{"trace_id": "2", "unknown": 1}',
    trace("2", text="abc").model_dump_json().encode()[:-40],
    trace("2").model_dump_json().encode() * 2,
    b"[" * 5_000,
    b'{"trace_id": "\xe6\x9d',
]


def written(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


@pytest.mark.parametrize("broken", BROKEN, ids=lambda line: repr(line[:12] + line[-4:]))
def test_a_broken_line_is_named_and_takes_no_other_trace_away(tmp_path: Path, broken: bytes) -> None:
    one, two = (trace(name).model_dump_json().encode() for name in "12")
    path = written(tmp_path / "traces.jsonl", one, b"", broken, two)
    with pytest.warns(UserWarning, match="is not a trace") as caught:
        assert list(load_traces(path)) == [trace("1"), trace("2")]
    assert [str(warning.message).startswith(f"{path}, line 3: ") for warning in caught] == [True]
    assert caught[0].filename == __file__


def test_all_broken_lines_of_a_file_are_named_in_one_warning(tmp_path: Path) -> None:
    whole = trace("1").model_dump_json().encode()
    path = written(tmp_path / "traces.jsonl", b"x", whole, *BROKEN[:3], whole, *[b"x"] * 30)
    with pytest.warns(UserWarning, match="not a trace") as caught:
        assert len(list(load_traces(path))) == 2
    (warning,) = caught
    assert f"{path}, lines 1, 3, 4, 5, 7, 8, " in str(warning.message)
    assert " and 14 more: are not a trace" in str(warning.message)


def test_a_reader_who_stops_early_is_told_of_the_lines_left_out_so_far(tmp_path: Path) -> None:
    whole = trace("1").model_dump_json().encode()
    traces = load_traces(written(tmp_path / "traces.jsonl", b"x", whole, whole, b"x"))
    next(traces)
    with pytest.warns(UserWarning, match="line 1: is not a trace"):
        traces.close()


@pytest.mark.parametrize("lines", [[broken] for broken in BROKEN] + [BROKEN, ["a,b".encode("utf-16")]])
def test_a_file_without_any_trace_is_refused_with_its_first_line(tmp_path: Path, lines: list[bytes]) -> None:
    path = written(tmp_path / "traces.jsonl", b"", *lines)
    with pytest.raises(ConfigError) as caught:
        list(load_traces(path))
    assert f"{path}, line 2, is not a trace: " in str(caught.value)


def test_every_whole_trace_is_read_wherever_the_file_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    traces = [trace("1"), trace("2", text="東 🗼\r\n"), trace("3", text='"}')]
    lines = [one.model_dump_json().encode() for one in traces]
    whole = b"".join(line + b"\n" for line in lines)
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        ends = [len(b"\n".join(lines[:count])) for count in (1, 2, 3)]
        expected = [one for one, end in zip(traces, ends, strict=True) if end <= cut]
        torn = cut > 0 and cut not in (*ends, *(end + 1 for end in ends))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if torn and not expected:
                with pytest.raises(ConfigError):
                    list(load_traces(path))
            else:
                assert list(load_traces(path)) == expected, cut
        assert len(caught) == (torn and bool(expected)), cut


def test_a_trace_written_behind_a_torn_line_is_read(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    save_traces(path)
    record(trace("1"))
    whole = path.read_bytes()
    for cut in (1, len(whole) // 2, len(whole) - 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        record(trace("2"))
        record(trace("3"))
        assert path.read_bytes().count(b"\n") == 3
        with warnings.catch_warnings(record=True):
            found = [one.trace_id for one in load_traces(path)]
        assert found == (["1", "2", "3"] if cut == len(whole) - 1 else ["2", "3"])


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files there")
def test_a_line_that_does_not_fit_is_an_error_and_the_next_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, path], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == ["OSError", "1000"], done.stderr
    assert path.read_bytes()[:1000].count(b"\n") == 1  # a part of the second trace was taken
    with pytest.warns(UserWarning, match="line 2: is not a trace"):
        assert [one.trace_id for one in load_traces(path)] == ["1", "3"]


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes in the file system there")
def test_traces_go_to_a_pipe_as_well(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    save_traces(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        record(trace("1", text="x" * 20_000))
        said, _ = reader.communicate(timeout=60)
    assert Trace.model_validate_json(said).trace_id == "1"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_mark_of_byte_order_and_windows_line_ends_are_no_fault(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "traces.jsonl"
    line = b"\xef\xbb\xbf" + trace("1").model_dump_json().encode() + end
    path.write_bytes(line + end + line)
    assert list(load_traces(path)) == [trace("1")] * 2


def test_a_newer_trace_is_read_with_a_note_of_what_is_unknown(tmp_path: Path) -> None:
    ballot = Ballot(reviewer=0, labels=[], members=[], status="failed")
    verdict = Verdict(options=["a"], status="valid")
    known = trace(
        "1", calls=[call(), call("d")], version="99.0", notes=["one"], ballots=[ballot], verdict=verdict,
        messages=[{"role": "user", "content": "", "mood": "good"}],
    )  # fmt: skip
    newer = known.model_dump(mode="json")
    for place in (newer, *newer["calls"], newer["ballots"][0], newer["verdict"]):
        place["new\x1b[2J"] = {"deep": [1]}
    path = written(tmp_path / "traces.jsonl", json.dumps(newer).encode())
    (found,) = load_traces(path)
    assert found == known.model_copy(update={"notes": ["one", found.notes[-1]]})
    assert "composite_lab 99.0" in found.notes[-1]
    fields = ["new\x1b[2J", "calls.new\x1b[2J", "ballots.new\x1b[2J", "verdict.new\x1b[2J"]
    assert sorted(found.notes[-1].partition("not know: ")[2].split(", ")) == sorted(map(repr, fields))
    save_traces(tmp_path / "again.jsonl")
    record(found)
    assert list(load_traces(tmp_path / "again.jsonl")) == [found]


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
