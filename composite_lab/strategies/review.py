"""The Council's review: who is shown what, the ballots that come back, and asking again for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from composite_lab.replies import Reply
from composite_lab.seats import Seat
from composite_lab.strategies.conversation import Message, asked_on, with_material
from composite_lab.strategies.forms import Form
from composite_lab.strategies.parsing import Parsed
from composite_lab.strategies.ranking import relabel
from composite_lab.strategies.run import Run
from composite_lab.strategies.stage import Job
from composite_lab.trace.call import Ballot, BallotStatus, Call, common_names, label

STAGE = "review"
ROLE = "reviewer"


@dataclass
class Review:
    """What one reviewer is asked, and what it said: to its review, then each time it was asked again."""

    reviewer: int
    seat: Seat
    own: int | None
    members: list[int]
    form: Form = field(repr=False)
    messages: list[Message] = field(repr=False)
    replies: list[Reply] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.labels = [label(position) for position in range(len(self.members))]
        """The labels in the order shown."""
        self.names = common_names(self.labels, self.members)
        """For each label as shown, the one that the candidate has for everybody."""
        # A text is read, and put into other labels, once.
        self._read: dict[str, Parsed] = {}
        self._relabelled: dict[str, str] = {}
        self._ballot: Ballot | None = None

    def take(self, reply: Reply) -> None:
        """Add what the reviewer said."""
        self.replies.append(reply)
        self._ballot = None

    @property
    def ballot(self) -> Ballot:
        """The ballot as it stands; a review that was read at last keeps the problem it had at first."""
        if self._ballot is None:
            self._ballot = self._made_ballot()
        return self._ballot

    def _made_ballot(self) -> Ballot:
        parsed = self._parsed
        return Ballot(
            reviewer=self.reviewer,
            own=self.own,
            call_id=self.replies[0].call.call_id if self.replies else None,
            labels=self.labels,
            members=self.members,
            ranking=parsed[-1].ranking if parsed else None,
            scores=parsed[-1].scores if parsed else None,
            status=self._status(parsed),
            source=parsed[-1].source if parsed else None,
            problem=next((each.problem for each in reversed(parsed) if each.problem), None),
            repair_ids=[reply.call.call_id for reply in self.replies[1:]],
        )

    def told(self) -> str:
        """What the reviewer said to its review, in the labels that candidates have for everybody."""
        said = self.in_common_labels(self.replies[0].text)
        if self.ballot.status != "repaired":
            return said
        return f"{said}\n\nAsked again, this reviewer gave: {self.form.told(self.ballot)}"

    def in_common_labels(self, text: str) -> str:
        """What the reviewer wrote, in the labels that candidates have for everybody.

        Bare letters (`B > A`) are not found in a text, though a ballot may be written with them: then it is
        told once more behind the text.
        """
        if text not in self._relabelled:
            self._relabelled[text] = self._put_into_common_labels(text)
        return self._relabelled[text]

    def _put_into_common_labels(self, text: str) -> str:
        meant = self._parsed_from(text)
        said = relabel(text, self.names)
        if not meant.is_usable or self.form.read(said, list(self.names.values())).says(meant, self.names):
            return said
        return f"{said}\n\nIn the labels that all reviews share: {self.form.told(self.ballot_in(text))}"

    def ballot_in(self, text: str) -> Ballot:
        """The ballot that a text holds which calls the candidates by the labels shown."""
        parsed = self._parsed_from(text)
        return Ballot(
            reviewer=self.reviewer,
            labels=self.labels,
            members=self.members,
            ranking=parsed.ranking,
            scores=parsed.scores,
            status=self._status([parsed]),
        )

    def asking_again(self) -> Job:
        """The request for a ballot that can be read."""
        answered = self.replies[-1]
        problem = self._parsed[-1].problem
        prompt = self.form.ask_again(problem, self.labels)
        return Job(self.seat, asked_on(self.messages, answered.text, prompt), self.reviewer)

    @property
    def is_unreadable(self) -> bool:
        """Whether it was to hold a ballot, and none could be read."""
        return self.form.gives_ballot and self.ballot.status == "invalid"

    @property
    def _parsed(self) -> list[Parsed]:
        return [self._parsed_from(reply.text) for reply in self.replies]

    def _parsed_from(self, text: str) -> Parsed:
        if text not in self._read:
            self._read[text] = self.form.read(text, self.labels)
        return self._read[text]

    @staticmethod
    def _status(parsed: Sequence[Parsed]) -> BallotStatus:
        if not parsed:
            return "failed"
        if parsed[-1].abstained:
            return "abstained"
        if not parsed[-1].is_usable:
            return "invalid"
        return "valid" if len(parsed) == 1 else "repaired"


def review_messages(run: Run, texts: Sequence[str], form: Form) -> list[Message]:
    """What a reviewer is sent who is shown these answers, in this order."""
    prompt = form.ask([(label(position), text) for position, text in enumerate(texts)])
    return with_material(run.toolless, prompt)


async def hold(run: Run, reviews: list[Review], repairs: int) -> None:
    """Have the reviews made. Who gave no readable ballot is asked again, `repairs` times at most.

    Asking again is another round of the stage. Who abstains or fails is not asked again.
    """
    by_number = {review.reviewer: review for review in reviews}

    def in_common_labels(call: Call) -> str:
        return by_number[call.seat].in_common_labels(call.text or "")

    for round_ in range(repairs + 1):
        asked = reviews if round_ == 0 else [each for each in reviews if each.is_unreadable]
        if not asked:
            break
        jobs = [
            each.asking_again() if round_ else Job(each.seat, each.messages, each.reviewer) for each in asked
        ]
        replies = await run.stage(STAGE, ROLE, jobs, quorum=0, round_=round_, wording=in_common_labels)
        for each, reply in zip(asked, replies, strict=True):
            if reply is not None:
                each.take(reply)
