"""Single: one model answers alone. What every ensemble is compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, cast

from composite_lab.seats import Seat, SeatLike
from composite_lab.strategies.base import Strategy
from composite_lab.strategies.run import Answer, Run


class Single(Strategy):
    """One call of one model, run and traced like any other strategy, so that the two can be compared."""

    kind: ClassVar[str] = "single"
    final_stage: ClassVar[str] = "answer"
    final_role: ClassVar[str] = "model"

    model: SeatLike

    @property
    def final_seat(self) -> Seat:
        """The model."""
        return cast(Seat, self.model)

    def all_seats(self) -> list[Seat]:
        """The one seat."""
        return [self.final_seat]

    def with_seats(self, change: Callable[[Seat], Seat]) -> Single:
        """The same strategy with `change` applied to its seat."""
        return self.model_copy(update={"model": change(self.final_seat)})

    async def answer(self, run: Run) -> Answer:
        """The one call, with the conversation as it is."""
        return await run.conclude(run.conversation, fallback=None)
