"""The file sink: off by default, it appends each finished trace to a file as one JSON line."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError
from pydantic_core import from_json

from composite_lab.errors import ConfigError
from composite_lab.trace.model import Trace
from composite_lab.trace.summary import harmless

BOM = b"\xef\xbb\xbf"
MOST_NAMED = 20
"""How many lines or fields a warning or a note names."""
READERS_FRAME = 3
"""Where the code that asked for a trace stands on the stack, seen from `_warn`."""

_lock = threading.Lock()
_path: Path | None = None


def save_traces(path: str | os.PathLike[str] | None) -> None:
    """From now on every finished run, failed ones too, is appended to this file. None stops it."""
    global _path  # noqa: PLW0603  (one sink per process, like a log file)
    if path is None:
        _path = None
        return
    target = Path(path).absolute()
    if not target.parent.is_dir():
        raise ConfigError(f"cannot save traces to {str(target)!r}: there is no folder {str(target.parent)!r}")
    if target.is_dir():
        raise ConfigError(f"cannot save traces to {str(target)!r}: that is a folder, name a file in it")
    _path = target


def load_traces(path: str | os.PathLike[str]) -> Iterator[Trace]:
    """The traces of a file written by `save_traces`, also those behind a line that is not one.

    Such lines are left out, and one warning names them when the reading ends. Fields that this version
    does not know are left out, too, and named in the trace's `notes`. Raises `ConfigError` at the end of
    a file in which no line is a trace; a file without lines holds none.
    """
    found = 0
    faults: dict[int, str] = {}
    try:
        with Path(path).open("rb") as lines:
            for number, line in enumerate(lines, 1):
                # On any line, since files that begin with one get strung together.
                text = line.removeprefix(BOM).strip()
                if not text:
                    continue
                try:
                    trace = _read(text)
                except ValidationError as error:
                    faults[number] = "" if faults else error.errors()[0]["msg"]
                    continue
                found += 1
                yield trace
    finally:  # also for a reader who stops early
        if found and faults:
            _warn(path, faults)
    if faults and not found:
        number, fault = next(iter(faults.items()))
        raise ConfigError(f"{path}, line {number}, is not a trace: {fault}; no other line is one either")


def record(trace: Trace) -> None:
    """Append a finished trace to the file, if there is one. Raises `OSError` unless all of it is written."""
    path = _path
    if path is None:
        return
    line = (trace.model_dump_json() + "\n").encode()
    # One write to a file opened for appending keeps lines whole when several processes share it.
    with _lock, path.open("ab", buffering=0) as file:
        _write(file, line if _at_a_line_start(path, file) else b"\n" + line)


def _at_a_line_start(path: Path, file: BinaryIO) -> bool:
    """Whether the file ends with a line end, and not with what a full disk or a killed writer left."""
    if not file.seekable() or file.tell() == 0:
        return True
    try:
        with path.open("rb", buffering=0) as written:
            written.seek(-1, os.SEEK_END)
            return written.read(1) == b"\n"
    except OSError:  # one may write to it and not read: a blank line does no harm
        return False


def _write(file: BinaryIO, line: bytes) -> None:
    """Write all of it. A disk that fills up takes a part, and says why when it is given the rest."""
    rest = memoryview(line)
    while rest:
        written = file.write(rest)
        if not written:  # None from a pipe that is full for now
            raise OSError(f"{file.name!r} took only {len(line) - len(rest)} of {len(line)} bytes")
        rest = rest[written:]


def _read(text: bytes) -> Trace:
    """The trace in this JSON, without the fields that are unknown here. Raises `ValidationError`."""
    try:
        return Trace.model_validate_json(text)
    except ValidationError as error:
        unknown = [fault["loc"] for fault in error.errors() if fault["type"] == "extra_forbidden"]
        if not unknown:
            raise
    content = from_json(text)
    for place in unknown:
        _remove(content, place)
    trace = Trace.model_validate(content)
    return trace.model_copy(update={"notes": [*trace.notes, _note(trace.version, unknown)]})


def _remove(content: Any, place: Sequence[Any]) -> None:
    for step in place[:-1]:
        content = content[step]
    content.pop(place[-1], None)  # JSON may say it twice


def _note(version: str, unknown: Sequence[tuple[Any, ...]]) -> str:
    fields = dict.fromkeys(".".join(step for step in place if isinstance(step, str)) for place in unknown)
    return (
        f"written by composite_lab {harmless(version)} and read without the fields that this version does "
        f"not know: {_named([harmless(field) for field in fields])}"
    )


def _warn(path: str | os.PathLike[str], faults: dict[int, str]) -> None:
    numbers = list(faults)
    one = len(numbers) == 1
    warnings.warn(
        f"{path}, line{'' if one else 's'} {_named(list(map(str, numbers)))}: {'is' if one else 'are'} not "
        f"a trace and left out (line {numbers[0]}: {faults[numbers[0]]})",
        stacklevel=READERS_FRAME,
    )


def _named(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
