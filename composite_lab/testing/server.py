"""A handle on the fake server: start it in its own process, read what it recorded, stop it."""

from __future__ import annotations

import atexit
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, ClassVar, Literal

URL_VARIABLE = "COMPOSITE_LAB_FAKE_URL"

Outcome = Literal["in_progress", "answered", "error", "client_disconnected", "dropped"]

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 10.0
_POLL_INTERVAL_S = 0.02

# `python -m composite_lab.testing.fake_openai` would import composite_lab itself first and with it
# LiteLLM, which takes seconds; the server needs neither, so a bare package stands in for it.
_CHILD = """
import sys, types
package = types.ModuleType("composite_lab")
package.__path__ = [sys.argv[1]]
sys.modules["composite_lab"] = package
from composite_lab.testing.fake_openai import main
sys.exit(main(sys.argv[2:]))
"""

# Proxies of the environment are not for the loopback.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class FakeServerError(RuntimeError):
    """The fake server could not be started."""


@dataclass(frozen=True)
class RecordedRequest:
    """One chat request the server received; times are in seconds since its start or last reset.

    `in_flight` counts the chat requests that were open when it arrived, itself included; `status` is
    the HTTP status, None as long as none was sent; the names in `headers` are in lower case.
    """

    id: str
    index: int
    model: str
    path: str
    headers: dict[str, str]
    body: Any
    received_at: float
    ended_at: float | None
    in_flight: int
    outcome: Outcome
    status: int | None

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages of the body; empty if it has none."""
        found = self.body.get("messages") if isinstance(self.body, dict) else None
        return found if isinstance(found, list) else []

    @cached_property
    def texts(self) -> list[str]:
        """The texts of all messages, one for each string content and each text part, in order."""
        return [text for message in self.messages for text in _texts(message)]

    @cached_property
    def last_user_text(self) -> str:
        """The text of the last user message, its parts joined by line breaks; "" without one."""
        users = [message for message in self.messages if message.get("role") == "user"]
        return "\n".join(_texts(users[-1])) if users else ""

    def header(self, name: str) -> str | None:
        """Return the header of that name in any case, or None."""
        return self.headers.get(name.lower())


@dataclass(frozen=True)
class ServerStats:
    """What the server counted since its start or last reset.

    `peak` is the largest number of chat requests open at once, `distinct` the number of different
    (model, body) pairs.
    """

    total: int
    in_flight: int
    peak: int
    distinct: int
    by_model: dict[str, int]
    by_outcome: dict[str, int]
    total_tokens: int


class FakeServer:
    """A running fake server: `with FakeServer.start() as server:` stops it at the end."""

    _shared: ClassVar[FakeServer | None] = None
    _shared_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, base_url: str, process: subprocess.Popen[bytes] | None = None) -> None:
        """Take hold of a server at `base_url` (ending in /v1); only with a process can it be stopped."""
        self.base_url = base_url.rstrip("/")
        self._process = process

    @classmethod
    def start(cls) -> FakeServer:
        """Start a server on a free loopback port; it ends with this process at the latest.

        Raises:
            FakeServerError: It did not come up within 60 seconds; the text holds what it wrote to stderr.
        """
        with tempfile.TemporaryFile() as errors:
            process = _spawn(errors)
            base_url = _first_line(process)
            if not base_url.startswith("http://"):
                process.kill()
                code = process.wait()
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip() or "nothing"
                raise FakeServerError(
                    f"The fake server did not start within {_START_TIMEOUT_S:g} s (exit code {code}, "
                    f"first line {base_url!r}). It wrote to stderr: {said}"
                )
        server = cls(base_url, process)
        atexit.register(server.stop)
        return server

    @classmethod
    def shared(cls) -> FakeServer:
        """Return the server at COMPOSITE_LAB_FAKE_URL if that is set, else one for the whole process.

        Neither is stopped by `stop`: the one ends with its owner, the other with this process.
        """
        given = os.environ.get(URL_VARIABLE)
        if given:
            return cls(given)
        with cls._shared_lock:
            if cls._shared is None:
                cls._shared = cls.start()
            return cls(cls._shared.base_url)

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def requests(self, model: str | None = None) -> list[RecordedRequest]:
        """Return the recorded chat requests in order of arrival.

        With `model`, only those for it: either the full name as sent or the part before its options.
        """
        rows = self._fetch("/_requests")["requests"]
        found = [RecordedRequest(**row) for row in rows]
        return [one for one in found if model is None or model in {one.model, one.model.partition("+")[0]}]

    def stats(self) -> ServerStats:
        """Return the server's counts."""
        return ServerStats(**self._fetch("/_stats"))

    def reset(self) -> None:
        """Forget all requests and counts; requests still in flight no longer count."""
        self._fetch("/_reset", method="POST")

    def wait_until(self, predicate: Callable[[ServerStats], bool], timeout_s: float = 10.0) -> ServerStats:
        """Return the first stats for which the predicate holds.

        Raises:
            TimeoutError: It did not hold within `timeout_s` seconds; the text shows the last stats.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            seen = self.stats()
            if predicate(seen):
                return seen
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"The condition did not hold within {timeout_s:g} s; the server saw {seen}."
                )
            time.sleep(_POLL_INTERVAL_S)

    def stop(self) -> None:
        """Stop the server if this object started it."""
        process = self._process
        if process is None:
            return
        self._process = None
        atexit.unregister(self.stop)
        # In a forked child, which inherits the handle, this does nothing: the server is not its child.
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _fetch(self, path: str, method: str = "GET") -> Any:
        url = self.base_url.removesuffix("/v1") + path
        with _opener.open(urllib.request.Request(url, method=method), timeout=30) as answer:
            return json.load(answer)


def _spawn(errors: IO[bytes]) -> subprocess.Popen[bytes]:
    package = Path(__file__).parents[1]
    # -P keeps a module of the current directory from shadowing what the server imports.
    command = [sys.executable, "-P", "-c", _CHILD, str(package), "--port", "0", "--exit-with-parent"]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # its end tells the child that this process is gone
        stdout=subprocess.PIPE,
        stderr=errors,
        start_new_session=True,  # Ctrl-C in the terminal is for the parent, which stops the child
    )


def _first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    lines: queue.Queue[bytes] = queue.Queue()
    read = process.stdout.readline
    threading.Thread(target=lambda: lines.put(read()), daemon=True).start()
    try:
        return lines.get(timeout=_START_TIMEOUT_S).decode().strip()
    except queue.Empty:
        return ""


def _texts(message: dict[str, Any]) -> list[str]:
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else []
    found = [part.get("text") for part in parts if isinstance(part, dict)]
    return [text for text in found if isinstance(text, str)]
