"""The progress bar of a comparison, in a terminal and in a notebook."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from tqdm.auto import tqdm

from composite_lab.batch.runs import FINISHED, UNDONE, Row
from composite_lab.batch.session import Session


class Bar:
    """Runs done, what is left, and beside it the money paid now, failures, and what came from the store."""

    def __init__(self, runs: int, shown: bool) -> None:
        self._bar = tqdm(total=runs, unit="run", disable=not shown)
        self._failed = self._undone = self._reused = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, where: TracebackType | None) -> None:
        self._bar.close()

    def tell(self, row: Row, session: Session) -> None:
        """A run has ended."""
        self._failed += row.status not in (*FINISHED, UNDONE)
        self._undone += row.status == UNDONE
        self._reused += row.reused
        facts = {"paid": f"{session.paid_usd:.4f} USD", "failed": self._failed}
        if self._undone:
            facts["undone"] = self._undone
        if self._reused:
            facts["kept"] = self._reused
        self._bar.set_postfix(facts, refresh=False)
        self._bar.update()
