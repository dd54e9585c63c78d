"""Store: every answer and every finished run of a comparison, in one SQLite file.

What is in it was committed when it came: a process that is killed loses nothing of it. While a comparison
is under way, the newest of it is in SQLite's log beside the file; when it has ended, the file alone has all.
Two comparisons may use one file at once. They do not wait for each other's answers: what both want and
neither has is paid for by both.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from composite_lab.batch.rows import Damaged, KeptAnswer, KeptRun, read_run_facts
from composite_lab.errors import StoreError
from composite_lab.trace.model import Trace

VERSION = 2
"""Files of version 1 are read, and become ones of version 2. What differs is in `rows.py`."""
APPLICATION_ID = 0x636F6D70
"""Marks the file as ours, so that no other program's database is written to."""
LOCK_WAIT_S = 30.0
LAST_WAIT_S = 1.0
"""How long the end of a comparison waits for others before it leaves the log beside the file."""
SCHEMA = """
CREATE TABLE answers (
    key TEXT PRIMARY KEY, scope TEXT NOT NULL, cost_usd REAL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX answers_by_scope ON answers (scope);
CREATE TABLE runs (key TEXT PRIMARY KEY, facts TEXT NOT NULL, trace TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE run_answers (run TEXT NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (run, answer)) WITHOUT ROWID;
"""


class Store:
    """A store in a file, made if it is not there; without a path, one that lasts as long as this object.

    Raises `StoreError` when the file is another program's, of another version, damaged or locked, and
    when the disk is full. What was kept before is safe then.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self._folder = None if path else tempfile.TemporaryDirectory(prefix="composite_lab_")
        self.path = Path(path) if path else Path(self._folder.name, "store.sqlite")  # type: ignore[union-attr]
        self._file = self.path.absolute()  # it may be opened again from another working directory
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._was_open = self._counting = False
        self._users = 0
        self._damaged: set[str] = set()
        if not self.path.parent.is_dir():
            raise StoreError(f"{self.path}: there is no folder {self.path.parent}; make it first")
        with self._reported():
            self._db  # noqa: B018  (opened now, for what is wrong with it)

    def close(self) -> None:
        """Give the file back. A temporary store is gone then; another is opened again when it is used."""
        self._rest()
        if self._folder is not None:
            self._folder.cleanup()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Around all that a comparison does. When the last one has ended, the file by itself is complete.

        So it can be copied while this object lives on, which opens it again when it is asked for a run.
        """
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._rest()

    def answer(self, key: str) -> KeptAnswer | None:
        """The answer to a request, if it was paid for. One that is damaged is none, with a warning."""
        row = self._one("SELECT key, scope, cost_usd, body FROM answers WHERE key = ?", key)
        return KeptAnswer(*row) if row and self._is_sound(KeptAnswer(*row)) else None

    def answers_of(self, scope: str) -> list[KeptAnswer]:
        """All sound answers that belong to a prompt."""
        rows = self._all("SELECT key, scope, cost_usd, body FROM answers WHERE scope = ?", scope)
        return [kept for kept in (KeptAnswer(*row) for row in rows) if self._is_sound(kept)]

    def keep_answer(self, kept: KeptAnswer) -> None:
        """Keep an answer. The first that came for a key stays, unless it was found to be damaged."""
        with self._reported():
            instead = "REPLACE" if kept.key in self._damaged else "IGNORE"
            self._db.execute(
                f"INSERT OR {instead} INTO answers VALUES (?, ?, ?, ?)",
                (kept.key, kept.scope, kept.cost_usd, kept.body),
            )
            self._damaged.discard(kept.key)

    def run_facts(self, key: str) -> dict[str, Any] | None:
        """What the row of a run shows, if the run is kept and not damaged."""
        text = "CASE WHEN json_valid(trace) THEN json_extract(trace, '$.text') END"
        row = self._one(f"SELECT facts, {text} FROM runs WHERE key = ?", key)
        try:
            return read_run_facts(*row) if row else None
        except Damaged as fault:
            self._warn(key, "a run", fault)
            return None

    def trace(self, key: str) -> Trace | None:
        """The trace of a kept run; None when it is not kept or damaged, or ended before it called anybody."""
        row = self._one("SELECT trace FROM runs WHERE key = ?", key)
        try:
            return Trace.model_validate_json(row[0]) if row and row[0] else None
        except ValidationError as fault:
            self._warn(key, "a trace", fault)
            return None

    def keep_run(self, run: KeptRun) -> None:
        """Keep a run that has ended, also one that failed; a later one takes the place of an earlier."""
        kept = dict(run.facts)
        if run.trace and kept.get("text") == json.loads(run.trace).get("text"):
            del kept["text"]  # the trace has it
        facts = json.dumps(kept, separators=(",", ":"))
        with self._reported(), self._transaction():
            self._db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?)", (run.key, facts, run.trace))
            self._db.executemany(
                "INSERT OR IGNORE INTO run_answers VALUES (?, ?)", [(run.key, key) for key in run.answers]
            )
            self._damaged.discard(run.key)

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
        return row[0] if row and isinstance(row[0], float) else 0.0

    def counted_of(self, scope: str) -> list[str]:
        """The answers that belong to a prompt and were counted, by their keys."""
        if not self._counting:
            return []
        rows = self._all("SELECT key FROM answers NATURAL JOIN counted WHERE scope = ?", scope)
        return [key for (key,) in rows]

    @property
    def _db(self) -> sqlite3.Connection:
        """The connection, made when there is none. Used with the lock held."""
        if self._connection is None:
            if self._was_open and not self._file.exists():
                raise StoreError(f"{self.path} is not there any more: what it held is lost without a copy")
            self._connection = sqlite3.connect(
                self._file, timeout=LOCK_WAIT_S, isolation_level=None, check_same_thread=False
            )
            # A byte that is no UTF-8 is then found by who reads the row, and not a fault of the whole file.
            self._connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
            try:
                self._open()
            except BaseException:
                self._connection.close()
                self._connection = None
                raise
            self._was_open = True
        return self._connection

    def _rest(self) -> None:
        with self._lock:
            if self._connection is None:
                return
            with suppress(sqlite3.Error):  # what is in the log beside the file is as safe there
                self._connection.execute(f"PRAGMA busy_timeout = {round(LAST_WAIT_S * 1000)}")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.close()
            self._connection, self._counting = None, False

    def _is_sound(self, kept: KeptAnswer) -> bool:
        try:
            kept.answer()
        except Damaged as fault:
            self._warn(kept.key, "an answer", fault)
            return False
        return True

    def _warn(self, key: str, what: str, fault: ValueError) -> None:
        """Say once that a row is damaged. It stays as it is until another takes its place."""
        if key not in self._damaged:
            self._damaged.add(key)
            told = str(fault).splitlines()[0][:200]
            warnings.warn(
                f"{self.path}: {what} in it is damaged ({told}): the next comparison asks for it again",
                stacklevel=3,
            )

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
            elif version == 1:
                self._db.execute(f"PRAGMA user_version = {VERSION}")
            elif version != VERSION:
                raise StoreError(
                    f"{self.path} is a store of version {version}, and this composite_lab reads version "
                    f"{VERSION}: use the release that wrote it, or another file"
                )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
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
        with self._reported():
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Turn SQLite's errors into ones that say what to do. One thread at a time is inside."""
        try:
            with self._lock:
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
