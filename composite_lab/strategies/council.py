"""Council: members answer alone, rank each other's answers blindly, and a chairman concludes.

Source: the three stages follow karpathy/llm-council; prompts, ballots and standings are our own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from composite_lab.errors import ConfigError
from composite_lab.replies import Reply
from composite_lab.seats import Seat, SeatLike
from composite_lab.strategies.base import Strategy
from composite_lab.strategies.canary import plant
from composite_lab.strategies.conversation import with_material
from composite_lab.strategies.forms import CritiqueForm, Form, RankingForm, RubricForm
from composite_lab.strategies.orders import label_orders
from composite_lab.strategies.prompts import CouncilPrompts, CouncilPromptsLike, bullets, enclose
from composite_lab.strategies.ranking import default_rule, standing_lines, standings
from composite_lab.strategies.review import Review, hold, review_messages
from composite_lab.strategies.rubric import Rubric, RubricLike
from composite_lab.strategies.run import Answer, Run
from composite_lab.strategies.stage import Job
from composite_lab.strategies.verdict import Choosing, options_fault
from composite_lab.trace.call import label

DEFAULT_MEMBERS = 3
RuleName = Literal["borda", "mean_rank", "kemeny_young", "schulze", "bradley_terry", "mean_score"]
"""How ballots become standings; see `composite_lab.strategies.rules`."""


class Council(Strategy):
    """A council: opinions, a blind review of each by the others, and the chairman's synthesis.

    `n` members make 2n + 1 calls, and those that repairs and the canary take. With one opinion left the
    review is skipped; with fewer than `min_members` the run fails. A reviewer who can be shown only one
    answer, as in a council of two, writes a critique and no ballot.

    Who sits: without `members` the chairman's model three times; without `reviewers` the members whose
    opinion came review. A reviewer sees the answers of the others, and with `self_review` its own among
    them, under neutral labels in an order drawn from `shuffle_seed` and the question, balanced over the
    reviewers.

    What they give: a ranking or, with a `rubric`, scores by its criteria. What cannot be read is asked for
    again, `repairs` times at most. `ranking` is the rule that makes standings of it (if none is named
    `borda` or, with a rubric, `mean_score`), `reviewer_weights` what each reviewer's ballot counts (1
    each). With `canary` each reviewer of one answer is asked once more, with an instruction planted in a
    copy of it, and the trace tells who obeyed; neither ballots nor chairman see that.

    What the council answers: a text or, with `verdict`, a choice among these options. Then members and
    chairman close with one of them and a confidence, a chairman whose choice cannot be read is asked
    again like a reviewer, and `Result.verdict` holds what came of it.
    """

    kind: ClassVar[str] = "council"
    final_stage: ClassVar[str] = "synthesis"
    final_role: ClassVar[str] = "chairman"

    chairman: SeatLike
    members: Sequence[SeatLike] = ()
    reviewers: Sequence[SeatLike] = ()
    min_members: int = Field(default=1, ge=1)
    shuffle_seed: int = 0
    self_review: bool = False
    canary: bool = False
    repairs: int = Field(default=1, ge=0)
    rubric: RubricLike | None = None
    ranking: RuleName | None = None
    reviewer_weights: Sequence[float] = ()
    verdict: Sequence[str] = ()
    prompts: CouncilPromptsLike = CouncilPrompts()

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        sitting = len(self.members) or DEFAULT_MEMBERS
        if self.min_members > sitting:
            raise ValueError(f"min_members={self.min_members} can never be met by {sitting} members")
        if self.ranking == "mean_score" and self.rubric is None:
            raise ValueError("ranking='mean_score' needs scores: give a rubric, such as ['correct', 'clear']")
        weights, reviewing = self.reviewer_weights, len(self.reviewers) or sitting
        if weights and len(weights) != reviewing:
            raise ValueError(f"{len(weights)} reviewer_weights for {reviewing} reviewers: give one for each")
        if weights and not (all(isfinite(each) and each >= 0 for each in weights) and any(weights)):
            raise ValueError(f"reviewer_weights={list(weights)} must be finite, not negative and not all 0")
        if fault := options_fault(self.verdict):
            raise ValueError(f"verdict={list(self.verdict)} {fault}: give options such as ['yes', 'no']")
        return self

    @property
    def final_seat(self) -> Seat:
        """The chairman."""
        return cast(Seat, self.chairman)

    @property
    def rule(self) -> str:
        """The rule that makes the standings."""
        return self.ranking or default_rule(scored=self.rubric is not None)

    def check_params(self, params: dict[str, Any]) -> None:
        """Raise `ConfigError` for parameters of the final call that do not go with the options."""
        super().check_params(params)
        if self.verdict and (params.get("n") or 1) > 1:
            raise ConfigError(f"n={params['n']} does not go with a verdict: ask for one answer at a time")
        if self.verdict and params.get("response_format") is not None:
            raise ConfigError(
                "response_format does not go with a verdict, which is read from the last lines of a text: "
                "leave one of them out, and take the choice from Result.verdict"
            )

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
        choosing = self._choosing
        asked = with_material(run.toolless, choosing.prompt) if choosing else run.toolless
        jobs = [Job(seat, asked, index) for index, seat in enumerate(seats)]
        replies = await run.stage("opinions", "member", jobs, quorum=self.min_members)
        opinions = {index: reply for index, reply in enumerate(replies) if reply is not None}
        reviews: list[Review] = []
        if len(opinions) == 1:
            run.degrade("only one opinion came, so there was nothing to review")
        else:
            reviews = await self._review(run, seats, opinions)
        return await self._conclude(run, opinions, reviews)

    def _form(self, shown: int) -> Form:
        """What a reviewer gives who is shown so many answers. A rubric has scores for a single one, too."""
        prompts = cast(CouncilPrompts, self.prompts)
        if self.rubric:
            return RubricForm(prompts, cast(Rubric, self.rubric))
        return RankingForm(prompts) if shown > 1 else CritiqueForm(prompts)

    async def _review(self, run: Run, seats: list[Seat], opinions: dict[int, Reply]) -> list[Review]:
        reviewers = self._reviewers(seats, opinions)
        question = json.dumps(run.conversation, sort_keys=True, default=str)
        orders = label_orders(
            list(opinions),
            [own for _, _, own in reviewers],
            seed=self.shuffle_seed,
            question=question,
            own_is_shown=self.self_review,
        )

        def review(number: int, seat: Seat, own: int | None, order: list[int]) -> Review:
            form = self._form(len(order))
            messages = review_messages(run, [opinions[member].text for member in order], form)
            return Review(number, seat, own, order, form, messages)

        reviews = [
            review(number, seat, own, order)
            for (number, seat, own), order in zip(reviewers, orders, strict=True)
            if order
        ]
        await hold(run, reviews, self.repairs)
        self._count(run, reviews, list(opinions))
        if self.canary:
            texts = {member: reply.text for member, reply in opinions.items()}
            run.canary = await plant(run, reviews, texts, f"{self.shuffle_seed}/{question}")
            run.notes.append(str(run.canary))
        return reviews

    def _count(self, run: Run, reviews: list[Review], members: list[int]) -> None:
        """Ballots and standings, or why there are none."""
        weights = self.reviewer_weights
        run.ballots = [review.ballot for review in reviews if review.form.gives_ballot]
        if reviews and not run.ballots:
            none = (
                "every reviewer was shown one answer, so there was nothing to rank and there are no standings"
            )
            seated = len(self.members) or DEFAULT_MEMBERS
            if len(members) < seated:  # more were to be ranked
                run.degrade(none)
            else:
                run.notes.append(none)
            run.reasoning.tell_lines("Standings: none", [none])
            return
        run.standings = standings(run.ballots, members, rule=self.rule, weights=weights)
        if not any(each.is_usable and (not weights or weights[each.reviewer]) for each in run.ballots):
            who = "no reviewer of any weight" if weights else "no reviewer"
            run.degrade(f"{who} gave a usable ballot, so there are no standings")
        run.reasoning.tell_lines(f"Standings by {self.rule}", self._standing_lines(run))

    def _standing_lines(self, run: Run) -> list[str]:
        return standing_lines(run.standings, self.rule, weighted=bool(self.reviewer_weights))

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

    async def _conclude(self, run: Run, opinions: dict[int, Reply], reviews: list[Review]) -> Answer:
        best = run.standings[0].member if run.standings else next(iter(opinions))
        answers = enclose("answer", [(label(member), reply.text) for member, reply in opinions.items()])
        spoken = [(f"Reviewer {review.reviewer + 1}", review.told()) for review in reviews if review.replies]
        prompt = cast(CouncilPrompts, self.prompts).synthesize.format(
            answers=answers,
            reviews=enclose("review", spoken) or "There are none.",
            standings=bullets(self._standing_lines(run)) or "There are none.",
        )
        if (choosing := self._choosing) is not None:
            prompt = f"{prompt}\n\n{choosing.prompt}"
        messages = with_material(run.conversation, prompt)
        answer = await run.conclude(messages, fallback=opinions[best].text)
        return answer if choosing is None else await choosing.settle(run, answer, opinions)

    @property
    def _choosing(self) -> Choosing | None:
        prompts = cast(CouncilPrompts, self.prompts)
        return Choosing(self.verdict, prompts, self.repairs) if self.verdict else None


def _seats(given: Sequence[SeatLike]) -> list[Seat]:
    # What is given becomes Seats when the Council is made; this tells the type checker.
    return list(cast(Sequence[Seat], given))
