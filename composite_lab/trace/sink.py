"""The file sink: off by default, it appends each finished trace to a file as one JSON line."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from composite_lab.errors import ConfigError
from composite_lab.trace.model import Trace

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
    """The traces of a file written by `save_traces`. Raises `ConfigError` naming the line at fault."""
    with Path(path).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield Trace.model_validate_json(line)
            except ValidationError as error:
                fault = error.errors()[0]
                raise ConfigError(f"{path}, line {number}, is not a trace: {fault['msg']}") from None


def record(trace: Trace) -> None:
    """Append a finished trace to the file, if there is one."""
    path = _path
    if path is None:
        return
    line = (trace.model_dump_json() + "\n").encode()
    # One write to a file opened for appending keeps lines whole when several processes share it.
    with _lock, path.open("ab", buffering=0) as file:
        file.write(line)
