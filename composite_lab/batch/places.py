"""Places: a limiter whose size may change while it is in use."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType


class Places:
    """At most `size` are inside of `async with places:` at once; the others wait in line.

    Made smaller, it lets nobody in until enough have left.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._taken = 0
        self._line: deque[asyncio.Future[None]] = deque()

    def resize(self, size: int) -> None:
        """Have this many places from now on."""
        self.size = size
        self._let_in()

    async def __aenter__(self) -> None:
        if self._taken < self.size and not self._line:
            self._taken += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # let in and cancelled at the same moment
                self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        self._taken -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._line and self._taken < self.size:
            turn = self._line.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)
