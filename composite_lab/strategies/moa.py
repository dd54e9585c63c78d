"""Mixture-of-Agents: rounds of proposals by several models, then one aggregation.

Source: Wang et al. 2024, arXiv:2406.04692; Self-MoA: Li et al. 2025, arXiv:2502.00674.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Self, cast

from pydantic import Field, model_validator

from composite_lab.replies import Reply
from composite_lab.seats import Seat, SeatLike
from composite_lab.strategies.base import Strategy
from composite_lab.strategies.conversation import Message, with_material
from composite_lab.strategies.prompts import MoAPrompts, MoAPromptsLike, enclose
from composite_lab.strategies.run import Answer, Run
from composite_lab.strategies.stage import Job

SELF_MOA_SAMPLES = 3


class MoA(Strategy):
    """Mixture-of-Agents: proposers answer, later layers refine, the aggregator writes the answer.

    `layers` is the number of rounds of proposals, `samples` how many answers each proposer gives in
    each of them, `min_proposals` how many must come. Without `proposers` the aggregator's own model
    is sampled three times (Self-MoA). Proposers get the parameters of their own Seats; the caller's
    go to the aggregator. Makes `layers * len(proposers) * samples + 1` calls.
    """

    kind: ClassVar[str] = "moa"
    final_stage: ClassVar[str] = "aggregation"
    final_role: ClassVar[str] = "aggregator"

    aggregator: SeatLike
    proposers: Sequence[SeatLike] = ()
    layers: int = Field(default=1, ge=1)
    samples: int | None = Field(default=None, ge=1)
    min_proposals: int = Field(default=1, ge=1)
    prompts: MoAPromptsLike = MoAPrompts()

    @model_validator(mode="after")
    def _enough_proposals(self) -> Self:
        planned = len(self._seats()) * self._samples()
        if self.min_proposals > planned:
            raise ValueError(f"min_proposals={self.min_proposals} can never be met by {planned} proposals")
        return self

    @property
    def final_seat(self) -> Seat:
        """The aggregator."""
        return cast(Seat, self.aggregator)

    def all_seats(self) -> list[Seat]:
        """The proposers and the aggregator."""
        return [*cast(Sequence[Seat], self.proposers), self.final_seat]

    def with_seats(self, change: Callable[[Seat], Seat]) -> MoA:
        """The same strategy with `change` applied to every seat."""
        return self.model_copy(
            update={
                "proposers": [change(seat) for seat in self.all_seats()[:-1]],
                "aggregator": change(self.final_seat),
            }
        )

    async def answer(self, run: Run) -> Answer:
        """Proposals, as many rounds as there are layers, then the aggregation."""
        prompts = cast(MoAPrompts, self.prompts)
        messages = run.toolless
        proposals: list[Reply] = []
        for layer in range(self.layers):
            if layer:
                messages = self._with_proposals(run.toolless, proposals, prompts.refine)
            replies = await run.stage(
                "proposals", "proposer", self._jobs(messages), quorum=self.min_proposals, round_=layer
            )
            proposals = [reply for reply in replies if reply is not None]
        messages = self._with_proposals(run.conversation, proposals, prompts.aggregate)
        return await run.conclude(messages, fallback=proposals[0].text)

    def _jobs(self, messages: list[Message]) -> list[Job]:
        return [
            Job(seat, messages, index, sample)
            for index, seat in enumerate(self._seats())
            for sample in range(self._samples())
        ]

    def _seats(self) -> list[Seat]:
        return self.all_seats()[:-1] or [self.final_seat]

    def _samples(self) -> int:
        return self.samples or (1 if self.proposers else SELF_MOA_SAMPLES)

    @staticmethod
    def _with_proposals(conversation: list[Message], proposals: list[Reply], prompt: str) -> list[Message]:
        labelled = [(f"Answer {number}", reply.text) for number, reply in enumerate(proposals, 1)]
        return with_material(
            conversation, prompt.format(answers=enclose("answer", labelled), count=len(proposals))
        )
