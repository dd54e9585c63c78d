"""Council: members answer alone, rank each other's answers blindly, and a chairman concludes.

Source: the three stages follow karpathy/llm-council; prompts, ballots and standings are our own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, cast

from pydantic import Field, model_validator

from composite_lab.replies import Reply
from composite_lab.seats import Seat, SeatLike
from composite_lab.strategies.base import Strategy
from composite_lab.strategies.conversation import with_material
from composite_lab.strategies.prompts import CouncilPrompts, CouncilPromptsLike, bullets, enclose
from composite_lab.strategies.ranking import parse_ranking, relabel, shuffled, standings
from composite_lab.strategies.run import Answer, Job, Run
from composite_lab.trace.call import Ballot, Call, Standing, label

DEFAULT_MEMBERS = 3


@dataclass(frozen=True)
class _Review:
    """One reviewer's task and, once it came, its reply."""

    reviewer: int
    seat: Seat
    members: list[int]
    reply: Reply | None = None

    @property
    def labels(self) -> list[str]:
        return [label(position) for position in range(len(self.members))]

    def ballot(self) -> Ballot:
        ranking = parse_ranking(self.reply.text, self.labels) if self.reply else None
        return Ballot(
            reviewer=self.reviewer,
            call_id=self.reply.call.call_id if self.reply else None,
            labels=self.labels,
            members=self.members,
            ranking=ranking,
            status="failed" if self.reply is None else "invalid" if ranking is None else "valid",
        )


class Council(Strategy):
    """A council: opinions, a blind review of each by the others, and the chairman's synthesis.

    Without `members` the chairman's model sits three times; without `reviewers` the members whose
    opinion came review. A reviewer never sees its own answer, and sees the others under neutral
    labels in an order drawn from `shuffle_seed` and the question. With one opinion left the review
    is skipped; with fewer than `min_members` the run fails. `n` members make 2n + 1 calls.
    """

    kind: ClassVar[str] = "council"
    final_stage: ClassVar[str] = "synthesis"
    final_role: ClassVar[str] = "chairman"

    chairman: SeatLike
    members: Sequence[SeatLike] = ()
    reviewers: Sequence[SeatLike] = ()
    min_members: int = Field(default=1, ge=1)
    shuffle_seed: int = 0
    prompts: CouncilPromptsLike = CouncilPrompts()

    @model_validator(mode="after")
    def _enough_members(self) -> Self:
        sitting = len(self.members) or DEFAULT_MEMBERS
        if self.min_members > sitting:
            raise ValueError(f"min_members={self.min_members} can never be met by {sitting} members")
        return self

    @property
    def final_seat(self) -> Seat:
        """The chairman."""
        return cast(Seat, self.chairman)

    def all_seats(self) -> list[Seat]:
        """Members, reviewers of their own, and the chairman."""
        return [*_seats(self.members), *_seats(self.reviewers), self.final_seat]

    def with_seats(self, change: Callable[[Seat], Seat]) -> Council:
        """The same strategy with `change` applied to every seat."""
        return self.model_copy(
            update={
                "members": list(map(change, _seats(self.members))),
                "reviewers": list(map(change, _seats(self.reviewers))),
                "chairman": change(self.final_seat),
            }
        )

    async def answer(self, run: Run) -> Answer:
        """Opinions, review, synthesis."""
        seats = _seats(self.members) or [self.final_seat] * DEFAULT_MEMBERS
        jobs = [Job(seat, run.toolless, index) for index, seat in enumerate(seats)]
        replies = await run.stage("opinions", "member", jobs, quorum=self.min_members)
        opinions = {index: reply for index, reply in enumerate(replies) if reply is not None}
        reviews: list[_Review] = []
        if len(opinions) == 1:
            run.degrade("only one opinion came, so there was nothing to review")
        else:
            reviews = await self._review(run, seats, opinions)
        return await self._conclude(run, opinions, reviews)

    async def _review(self, run: Run, seats: list[Seat], opinions: dict[int, Reply]) -> list[_Review]:
        question = json.dumps(run.conversation, sort_keys=True, default=str)
        reviews = []
        for index, seat, own in self._reviewers(seats, opinions):
            others = [member for member in opinions if member != own]
            order = shuffled(others, seed=self.shuffle_seed, question=question, reviewer=index)
            reviews.append(_Review(index, seat, order))
        jobs = []
        for review in reviews:
            texts = [opinions[member].text for member in review.members]
            answers = enclose("answer", list(zip(review.labels, texts, strict=True)))
            prompt = cast(CouncilPrompts, self.prompts).review.format(answers=answers, count=len(texts))
            jobs.append(Job(review.seat, with_material(run.toolless, prompt), review.reviewer))
        names = {review.reviewer: review.ballot().names for review in reviews}

        def in_common_labels(call: Call) -> str:
            return relabel(call.text or "", names[call.seat])

        replies = await run.stage("review", "reviewer", jobs, quorum=0, wording=in_common_labels)
        reviews = [
            _Review(review.reviewer, review.seat, review.members, reply)
            for review, reply in zip(reviews, replies, strict=True)
        ]
        run.ballots = [review.ballot() for review in reviews]
        if not any(ballot.status == "valid" for ballot in run.ballots):
            run.degrade("no reviewer gave a usable ranking, so there are no standings")
        run.standings = standings(run.ballots, list(opinions))
        return reviews

    def _reviewers(self, seats: list[Seat], opinions: dict[int, Reply]) -> list[tuple[int, Seat, int | None]]:
        """Who reviews: the number, the seat, and which opinion is its own."""
        if not self.reviewers:
            return [(index, seats[index], index) for index in opinions]
        free = list(enumerate(seats))
        reviewers: list[tuple[int, Seat, int | None]] = []
        for number, seat in enumerate(_seats(self.reviewers)):
            own = next((place for place in free if place[1] == seat), None)
            if own is not None:
                free.remove(own)
            reviewers.append((number, seat, own[0] if own else None))
        return reviewers

    async def _conclude(self, run: Run, opinions: dict[int, Reply], reviews: list[_Review]) -> Answer:
        best = run.standings[0].member if run.standings else next(iter(opinions))
        answers = enclose("answer", [(label(member), reply.text) for member, reply in opinions.items()])
        spoken = [
            (f"Reviewer {review.reviewer + 1}", relabel(review.reply.text, review.ballot().names))
            for review in reviews
            if review.reply
        ]
        prompt = cast(CouncilPrompts, self.prompts).synthesize.format(
            answers=answers,
            reviews=enclose("review", spoken) or "There are none.",
            standings=bullets(map(_standing_line, run.standings)) or "There are none.",
        )
        return await run.conclude(with_material(run.conversation, prompt), fallback=opinions[best].text)


def _seats(given: Sequence[SeatLike]) -> list[Seat]:
    # What is given becomes Seats when the Council is made; this tells the type checker.
    return list(cast(Sequence[Seat], given))


def _standing_line(standing: Standing) -> str:
    if standing.borda is None:
        why = "had no rival on any ballot" if standing.ballots else "not ranked by anyone"
        return f"{standing.label}: {why}"
    return (
        f"{standing.place}. {standing.label}: beat {standing.borda:.0%} of its rivals, "
        f"mean rank {standing.mean_rank:.2f} on {standing.ballots} ballots"
    )
