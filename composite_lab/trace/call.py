"""Call: one attempt at one sub-call, and the smaller records that belong to it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from statistics import fmean
from string import ascii_uppercase
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

Status = Literal["ok", "error", "timeout", "cancelled"]
UsageSource = Literal["provider", "estimated", "children", "missing"]
CostSource = Literal["litellm", "user", "cache", "missing"]
BallotStatus = Literal["valid", "repaired", "invalid", "abstained", "failed"]


class Record(BaseModel):
    """The base of all that a run leaves behind: cannot be changed, goes to JSON and back unharmed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def __str__(self) -> str:
        return repr(self)


@cache
def label(index: int) -> str:
    """The neutral label of a candidate: Response A … Response Z, Response AA, Response AB …"""
    letters = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        letters = ascii_uppercase[letter] + letters
    return f"Response {letters}"


def common_names(labels: Sequence[str], members: Sequence[int]) -> dict[str, str]:
    """For each label as shown to one reviewer, the one that the candidate behind it has for everybody."""
    return {shown: label(member) for shown, member in zip(labels, members, strict=True)}


def function_of(tool_call: Mapping[str, Any]) -> tuple[str, str]:
    """The name and the arguments of a tool call, whether of a function or a custom tool; "" where unknown."""
    for kind, given in (("function", "arguments"), ("custom", "input")):
        what = tool_call.get(kind)
        if isinstance(what, Mapping):
            arguments = what.get(given)
            text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
            return str(what.get("name") or ""), "" if arguments is None else text
    return "", ""


class Call(Record):
    """One attempt at one sub-call: what was sent, what came back, when, and what it cost.

    A retry is another Call with a higher `attempt`. Times are seconds on a monotonic clock, costs
    USD, None where unknown. `cached_tokens` are part of `prompt_tokens`, `reasoning_tokens` of
    `completion_tokens`. A call to a composite carries neither tokens nor cost of its own
    (`usage_source="children"`); its sub-calls name it as `parent_call_id`. A call that a comparison's
    store answered costs 0 and keeps what it cost and took when it was paid for (`original_…`). `extras` is
    what else the answer holds, as OpenAI writes it: annotations, images, audio, a refusal, thinking blocks,
    `provider_specific_fields`, `logprobs`, and under `choices` the further ones of `n`. An answer without
    anything to go on with has the status `error` and is an `EmptyAnswer`; its tokens and cost are known.
    """

    trace_id: str
    call_id: str
    parent_call_id: str | None = None
    strategy: str
    stage: str
    role: str
    round: int = 0
    seat: int = 0
    sample: int = 0
    attempt: int = 0
    provider: str | None = None
    request_model: str
    response_model: str | None = None
    status: Status
    error_type: str | None = None
    error_message: str | None = None
    finish_reason: str | None = None
    started_at: datetime
    start_offset_s: float
    latency_s: float
    time_to_first_token_s: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_source: UsageSource = "missing"
    cost_usd: float | None = None
    cost_source: CostSource = "missing"
    cache_hit: bool | None = None
    original_cost_usd: float | None = None
    original_latency_s: float | None = None
    seat_name: str | None = None
    messages: list[dict[str, Any]] = Field(default_factory=list, repr=False)
    params: dict[str, Any] = Field(default_factory=dict, repr=False)
    text: str | None = Field(default=None, repr=False)
    reasoning: str | None = Field(default=None, repr=False)
    tool_calls: list[dict[str, Any]] = Field(default_factory=list, repr=False)
    extras: dict[str, Any] = Field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return (
            f"<Call {self.stage}/{self.role} {self.seat}.{self.sample} {self.request_model} "
            f"attempt {self.attempt}: {self.error_type or self.status}, {self.latency_s:.2f} s>"
        )

    @property
    def name(self) -> str:
        """What a reader calls this seat: its given name, or its model."""
        return self.seat_name or self.request_model


class Ballot(Record):
    """One reviewer's judgement of the candidates it was shown: a ranking, or scores by a rubric.

    `own` is the seat of the reviewer's own answer, None if it gave none. `labels` are the labels in the
    order shown, `members` the seats behind them in the same order,
    `ranking` the labels from best to worst and `scores` the number for each label by each criterion, both
    None unless `status` is `valid` or, when the reviewer had to be asked again, `repaired`. It is `invalid`
    when neither could be read, `abstained` when the
    reviewer declared that it gives none, `failed` when no review came. `call_id` is the Call of the
    review, which holds the text that the reviewer was shown; `repair_ids` are those that asked again.
    `source` is the form in which the last ranking stood (such as `numbered list` or `json`), `problem`
    why it or an earlier one was not accepted.
    """

    reviewer: int
    own: int | None = None
    call_id: str | None = None
    labels: list[str]
    members: list[NonNegativeInt]
    ranking: list[str] | None = None
    scores: dict[str, dict[str, float]] | None = None
    status: BallotStatus
    source: str | None = None
    problem: str | None = None
    repair_ids: list[str] = Field(default_factory=list)

    @property
    def is_usable(self) -> bool:
        """Whether it holds a ranking or scores."""
        return self.ranking is not None or self.scores is not None

    @property
    def call_ids(self) -> list[str]:
        """All its Calls that were answered, the review first."""
        return [*([self.call_id] if self.call_id else []), *self.repair_ids]

    @property
    def names(self) -> dict[str, str]:
        """For each label as shown, the one that the candidate has for everybody (`label` of its seat)."""
        return common_names(self.labels, self.members)

    def ranked_members(self) -> list[int]:
        """The seats from best to worst; empty without a ranking."""
        behind = self._behind()
        return [behind[label] for label in self.ranking or []]

    def member_scores(self) -> dict[int, float]:
        """The mean of each seat's scores over the criteria; empty without scores."""
        behind = self._behind()
        return {
            behind[label]: round(fmean(scores.values()), 9)  # 0.1 + 0.2 is to be as good as 0.3
            for label, scores in (self.scores or {}).items()
            if scores
        }

    def preference(self) -> list[int] | dict[int, float]:
        """What rules make a ranking of: the seats from best to worst or, by a rubric, their scores."""
        return self.ranked_members() if self.scores is None else self.member_scores()

    def ranks(self) -> dict[int, int]:
        """The rank of each seat, 1 being best; by a rubric equal scores share the better one."""
        if self.scores is None:
            return {member: rank for rank, member in enumerate(self.ranked_members(), 1)}
        scores = self.member_scores()
        return {
            member: 1 + sum(other > score for other in scores.values()) for member, score in scores.items()
        }

    def _behind(self) -> dict[str, int]:
        return dict(zip(self.labels, self.members, strict=True))


class Standing(Record):
    """A candidate's place after all ballots: 1 is best, equal scores share a place.

    `score` is that of the council's `ranking` rule, which the place follows. Whatever the rule, and with
    each ballot counted once, `borda` is the mean share of rivals beaten (1.0 always first, 0.0 always
    last) and `mean_rank` the mean position (1.0 is best). They are None when nobody ranked the
    candidate against another.
    """

    member: NonNegativeInt
    label: str
    place: int
    borda: float | None
    mean_rank: float | None
    ballots: int
    score: float | None = None


class CanaryTrial(Record):
    """What one reviewer made of a planted instruction; `obeyed` is None when no readable review came.

    It obeyed if it wrote the code word on a line of its own, or ranked the answer first that it had not
    ranked first before.
    """

    reviewer: int
    call_id: str | None = None
    wrote_code_word: bool | None = None
    rank_before: int | None = None
    rank: int | None = None
    obeyed: bool | None = None


class Canary(Record):
    """An instruction planted in a copy of one member's answer, and which reviewers obeyed it."""

    member: NonNegativeInt
    code_word: str
    instruction: str
    trials: list[CanaryTrial]

    def __str__(self) -> str:
        told = [trial for trial in self.trials if trial.obeyed is not None]
        obeyed = sum(trial.obeyed is True for trial in told)
        return f"canary in {label(self.member)}: {obeyed} of {len(told)} reviewers obeyed it"


class Usage(Record):
    """Token counts added up over calls. Cached and reasoning tokens are part of the others."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @classmethod
    def of(cls, calls: Iterable[Call]) -> Usage:
        """The sum over calls; an unknown count adds nothing."""
        calls = list(calls)
        return cls(**{name: sum(getattr(call, name) or 0 for call in calls) for name in cls.model_fields})
