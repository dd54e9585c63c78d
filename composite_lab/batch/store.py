"""Store: every answer and every finished run of a comparison, in one SQLite file.

What is in it was committed when it came: a process that is killed loses nothing of it. Two processes may
use one file; both may then pay for a request that they send at the same moment.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from composite_lab.errors import StoreError
from composite_lab.gateway.memory import Remembered
from composite_lab.trace.model import Trace

VERSION = 1
APPLICATION_ID = 0x636F6D70
"""Marks the file as ours, so that no other program's database is written to."""
LOCK_WAIT_S = 30.0
SCHEMA = """
CREATE TABLE answers (
    key TEXT PRIMARY KEY, scope TEXT NOT NULL, cost_usd REAL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX answers_by_scope ON answers (scope);
CREATE TABLE runs (key TEXT PRIMARY KEY, facts TEXT NOT NULL, trace TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE run_answers (run TEXT NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (run, answer)) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class KeptAnswer:
    """An answer as the store has it. `scope` says which prompt it belongs to, `body` is JSON."""

    key: str
    scope: str
    cost_usd: float | None
    body: str

    @classmethod
    def of(cls, key: str, scope: str, answer: Remembered) -> KeptAnswer:
        """What the store keeps of an answer."""
        body = json.dumps([answer.facts, answer.latency_s, answer.response], separators=(",", ":"))
        return cls(key, scope, answer.cost_usd, body)

    def answer(self) -> Remembered:
        """The answer itself."""
        facts, latency_s, response = json.loads(self.body)
        return Remembered(facts, self.cost_usd, latency_s, response)


@dataclass(frozen=True)
class KeptRun:
    """A run as the store has it: what its row shows, its trace as JSON, the keys of its answers."""

    key: str
    facts: dict[str, Any]
    trace: str
    answers: tuple[str, ...]


class Store:
    """A store in a file, made if it is not there; without a path, one that lasts as long as this object.

    Raises `StoreError` when the file is another program's, of another version, damaged or locked, and
    when the disk is full. What was kept before is safe then.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self._folder = None if path else tempfile.TemporaryDirectory(prefix="composite_lab_")
        self.path = Path(path) if path else Path(self._folder.name, "store.sqlite")  # type: ignore[union-attr]
        self._lock = threading.RLock()
        self._counting = False
        if not self.path.parent.is_dir():
            raise StoreError(f"{self.path}: there is no folder {self.path.parent}; make it first")
        with self._reported():
            self._db = sqlite3.connect(
                self.path, timeout=LOCK_WAIT_S, isolation_level=None, check_same_thread=False
            )
            self._open()

    def close(self) -> None:
        """Give the file back. A temporary store is gone then."""
        with self._lock:
            self._db.close()
        if self._folder is not None:
            self._folder.cleanup()

    def answer(self, key: str) -> KeptAnswer | None:
        """The answer to a request, if it was paid for."""
        row = self._one("SELECT key, scope, cost_usd, body FROM answers WHERE key = ?", key)
        return KeptAnswer(*row) if row else None

    def answers_of(self, scope: str) -> list[KeptAnswer]:
        """All answers that belong to a prompt."""
        rows = self._all("SELECT key, scope, cost_usd, body FROM answers WHERE scope = ?", scope)
        return [KeptAnswer(*row) for row in rows]

    def keep_answer(self, kept: KeptAnswer) -> None:
        """Keep an answer. The first that came for a key stays."""
        with self._reported():
            self._db.execute(
                "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)",
                (kept.key, kept.scope, kept.cost_usd, kept.body),
            )

    def run_facts(self, key: str) -> dict[str, Any] | None:
        """What the row of a run shows, if the run is kept."""
        row = self._one("SELECT facts FROM runs WHERE key = ?", key)
        return json.loads(row[0]) if row else None

    def trace(self, key: str) -> Trace | None:
        """The trace of a kept run; None when it is not kept, or ended before it called anybody."""
        row = self._one("SELECT trace FROM runs WHERE key = ?", key)
        return Trace.model_validate_json(row[0]) if row and row[0] else None

    def keep_run(self, run: KeptRun) -> None:
        """Keep a run that has ended, also one that failed; a later one takes the place of an earlier."""
        facts = json.dumps(run.facts, separators=(",", ":"))
        with self._reported(), self._transaction():
            self._db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?)", (run.key, facts, run.trace))
            self._db.executemany(
                "INSERT OR IGNORE INTO run_answers VALUES (?, ?)", [(run.key, key) for key in run.answers]
            )

    def count_run(self, key: str) -> float:
        """What a kept run adds to the money that was counted (USD): its answers not counted before."""
        answers = self._all("SELECT answer FROM run_answers WHERE run = ?", key)
        return sum(self.count_answer(answer) for (answer,) in answers)

    def count_answer(self, key: str) -> float:
        """What an answer cost in USD, the first time it is counted by this object; 0.0 after that."""
        with self._reported():
            if not self._counting:  # on disk: it grows with the number of calls
                self._db.execute("CREATE TEMP TABLE counted (key TEXT PRIMARY KEY) WITHOUT ROWID")
                self._counting = True
            if not self._db.execute("INSERT OR IGNORE INTO counted VALUES (?)", (key,)).rowcount:
                return 0.0
        row = self._one("SELECT cost_usd FROM answers WHERE key = ?", key)
        return (row[0] or 0.0) if row else 0.0

    def counted_of(self, scope: str) -> list[str]:
        """The answers that belong to a prompt and were counted, by their keys."""
        if not self._counting:
            return []
        rows = self._all("SELECT key FROM answers NATURAL JOIN counted WHERE scope = ?", scope)
        return [key for (key,) in rows]

    def _open(self) -> None:
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        (owner,) = self._db.execute("PRAGMA application_id").fetchone()
        if tables and owner != APPLICATION_ID:
            raise StoreError(f"{self.path} is a database of another program: give the path of a new file")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        with self._transaction():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in filter(str.strip, SCHEMA.split(";")):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {VERSION}")
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            elif version != VERSION:
                raise StoreError(
                    f"{self.path} is a store of version {version}, and this composite_lab reads version "
                    f"{VERSION}: use the release that wrote it, or another file"
                )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _one(self, query: str, *values: str) -> Any:
        return next(iter(self._all(query, *values)), None)

    def _all(self, query: str, *values: str) -> Iterable[Any]:
        with self._reported(), self._lock:
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Turn SQLite's errors into ones that say what to do."""
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {_advice(error)}") from error


def _advice(error: sqlite3.Error) -> str:
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return "the disk is full. Make room and run the same comparison again: what it had is kept"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"another process has kept the file locked for {LOCK_WAIT_S:.0f} s. Try again when it ends"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return (
                f"the file is damaged or no store ({error}). Keep a copy, and give the path of another file"
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return f"the file cannot be written ({error}). Give a path where you may write"
        case _:
            return f"the store failed: {error}"
