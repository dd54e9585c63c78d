"""Trace and Result: the whole of a run, and what its caller holds in hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field

from composite_lab.interrupts import interrupts_held
from composite_lab.trace.call import Ballot, Call, Canary, Record, Standing, Usage
from composite_lab.trace.summary import Summary, harmless, summarize, total_cost
from composite_lab.trace.verdict import Verdict

if TYPE_CHECKING:
    import pandas as pd

    from composite_lab.strategies.agreement import Agreement, Sensitivity

FINAL_STAGES = ("aggregation", "synthesis")
_PHASE = {"review": 1, "canary": 2, "aggregation": 3, "synthesis": 3, "tool": 3}


class Trace(Record):
    """Every call of one run, in an order that does not depend on which came back first.

    `messages` is the caller's conversation, `config` the strategy without its secrets, `notes` what
    went otherwise than planned. `status` is `degraded` when the answer was made in a lesser way
    than the strategy promises. Goes to JSON and back unchanged.
    """

    trace_id: str
    strategy: str
    model: str
    status: Literal["ok", "degraded", "error", "cancelled"] = "ok"
    error_type: str | None = None
    error_message: str | None = None
    started_at: datetime
    latency_s: float
    version: str
    config: dict[str, Any] = Field(default_factory=dict, repr=False)
    messages: list[dict[str, Any]] = Field(default_factory=list, repr=False)
    text: str | None = Field(default=None, repr=False)
    reasoning: str = Field(default="", repr=False)
    calls: list[Call] = Field(default_factory=list, repr=False)
    ballots: list[Ballot] = Field(default_factory=list, repr=False)
    standings: list[Standing] = Field(default_factory=list, repr=False)
    notes: list[str] = Field(default_factory=list, repr=False)
    canary: Canary | None = Field(default=None, repr=False)
    verdict: Verdict | None = Field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"<Trace {harmless(self.trace_id[:8])} {self.summary()}>"

    @property
    def degraded(self) -> bool:
        """True when the answer was made in a lesser way than the strategy promises; see `notes`."""
        return self.status == "degraded"

    @property
    def usage(self) -> Usage:
        """Tokens of all calls added up."""
        return Usage.of(self.calls)

    @property
    def cost_usd(self) -> float | None:
        """The known costs added up, None when no price is known. See `summary().unpriced_calls`."""
        return total_cost(self.calls)

    def summary(self) -> Summary:
        """The totals: calls, failures, tokens, cost, wall time, critical path, speed-up."""
        return summarize(self.trace_id, self.strategy, self.status, self.calls, self.latency_s)

    def to_dataframe(self, *, include_text: bool = False) -> pd.DataFrame:
        """A row per attempt and no total rows, so that `df.cost_usd.sum()` is right.

        All columns are always there, with pandas' nullable dtypes: NA where unknown, never 0.
        `include_text=True` adds `messages` (a list of dicts) and `text`.
        """
        with interrupts_held():
            from composite_lab.trace import frames

        return frames.calls_frame(self.calls, include_text=include_text)

    def messages_df(self) -> pd.DataFrame:
        """A row per message sent and per answer received, for reading a run like a transcript."""
        with interrupts_held():
            from composite_lab.trace import frames

        return frames.messages_frame(self.calls)

    def ballots_df(self) -> pd.DataFrame:
        """A row per reviewer and candidate shown; empty for a strategy without a review.

        For estimates of bias: the position shown, whether the answer is the reviewer's own, its length in
        completion tokens, and the models of both. By a rubric, `score` is the mean over its criteria.
        """
        with interrupts_held():
            from composite_lab.trace import frames

        return frames.ballots_frame(self.trace_id, self.ballots, self.standings, self.calls)

    def scores_df(self) -> pd.DataFrame:
        """A row per reviewer, candidate and criterion of a review by a rubric; empty without one."""
        with interrupts_held():
            from composite_lab.trace import frames

        return frames.scores_frame(self.trace_id, self.ballots)

    def agreement(self) -> Agreement:
        """How far the usable ballots agree: Kendall's W, mean tau, Condorcet winner or cycle.

        Candidates are told by the number of their seat, from 0. The majorities behind winner and cycle
        count each ballot with its reviewer's weight, W and tau count every ballot once.
        """
        from composite_lab.strategies.agreement import agreement

        orders, weights = self._orders()
        return agreement(orders, weights)

    def sensitivity(self) -> Sensitivity:
        """What the winner hangs on: the rule (first the run's own), and which reviewer's ballot.

        Candidates are told by the number of their seat, and `flips` names the reviewers, both from 0.
        """
        from composite_lab.strategies.agreement import sensitivity
        from composite_lab.strategies.ranking import rule_of
        from composite_lab.strategies.rules import RULES, SCORE_RULES

        orders, weights = self._orders()
        known = SCORE_RULES if self.config.get("rubric") else RULES
        own = rule_of(self.config)
        rules = {own: known[own]} | known
        found = sensitivity(orders, rules, weights)
        reviewers = [ballot.reviewer for ballot in self.ballots if ballot.is_usable]
        flips = {
            rule: {reviewers[number]: winners for number, winners in flipped.items()}
            for rule, flipped in found.flips.items()
        }
        return replace(found, flips=flips)

    def _orders(self) -> tuple[list[list[int] | dict[int, float]], list[float] | None]:
        """The rankings or scores of the usable ballots, and what each counts."""
        usable = [ballot for ballot in self.ballots if ballot.is_usable]
        weights = self.config.get("reviewer_weights")
        return (
            [ballot.preference() for ballot in usable],
            [weights[ballot.reviewer] for ballot in usable] if weights else None,
        )


class Result(Record):
    """What a run returns: the answer, its price and its trace.

    `response` is LiteLLM's ModelResponse of the final call; it does not go to JSON.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    text: str
    message: dict[str, Any] = Field(repr=False)
    trace: Trace = Field(repr=False)
    response: Any = Field(default=None, exclude=True, repr=False)

    def __repr__(self) -> str:
        return f"<Result {self.text[:60]!r} {self.trace.summary()}>"

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The final model's tool calls, as OpenAI writes them; empty when there are none."""
        return list(self.message.get("tool_calls") or [])

    @property
    def verdict(self) -> Verdict | None:
        """The choice among its options, of a council that was given any."""
        return self.trace.verdict

    @property
    def usage(self) -> Usage:
        """Tokens of all calls added up."""
        return self.trace.usage

    @property
    def cost_usd(self) -> float | None:
        """The known costs of all calls added up in USD, None when no price is known."""
        return self.trace.cost_usd


def by_parent(calls: list[Call]) -> dict[str | None, list[Call]]:
    """The calls below each call, and under None those at the top or whose parent is not among them."""
    below: dict[str | None, list[Call]] = {}
    known = {call.call_id for call in calls}
    for call in calls:
        parent = call.parent_call_id if call.parent_call_id in known else None
        below.setdefault(parent, []).append(call)
    return below


def in_stable_order(calls: list[Call]) -> list[Call]:
    """Calls by stage, round, seat, sample and attempt, each followed by the calls below it."""
    if not any(call.parent_call_id for call in calls):  # as in most runs
        return sorted(calls, key=_place)
    below = by_parent(calls)
    ordered: list[Call] = []
    pending = sorted(below.get(None, []), key=_place, reverse=True)
    while pending:
        call = pending.pop()
        ordered.append(call)
        pending += sorted(below.get(call.call_id, []), key=_place, reverse=True)
    return ordered


def _place(call: Call) -> tuple[int, int, bool, int, int, int]:
    return (
        _PHASE.get(call.stage, 0), call.round, call.stage == "tool", call.seat, call.sample, call.attempt
    )  # fmt: skip
