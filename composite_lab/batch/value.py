"""Value: did the aggregation beat its own material? The final answers against those that they were made of.

The rivals come from the calls of the same runs: the seat that is best alone, a majority vote over all
proposals, and the opinion that a council ranked first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from composite_lab.batch.evidence import DIFFERENCE, difference_columns
from composite_lab.batch.judging import BETTER, about, asker
from composite_lab.batch.plan import Task
from composite_lab.batch.runs import FINISHED
from composite_lab.batch.scoring import ExactMatch, NumericMatch, PairwiseJudge, RubricJudge, Score, Scorer
from composite_lab.batch.session import Session
from composite_lab.batch.stats import Sample, mean_score, paired_difference
from composite_lab.errors import BudgetExceeded, ConfigError
from composite_lab.gateway.memory import remembering
from composite_lab.trace.call import Call
from composite_lab.trace.model import Trace

if TYPE_CHECKING:
    from composite_lab.batch.comparison import Comparison

MATERIAL = ("proposals", "opinions")
"""The stages whose answers the final one is made of."""
BEST, VOTE, TOP, OWN = "best proposer", "majority vote", "top-ranked opinion", "proposer"
COLUMNS = {
    "strategy": "string", "rival": "string", "who": "string", "final_score": "Float64",
    "rival_score": "Float64",
} | DIFFERENCE  # fmt: skip
_AT_ONCE = 64
_FAIR_SHARE = 0.5  # a seat that answered on fewer prompts, compared with the others, is not called the best


class Pair(NamedTuple):
    """The scores of a run's final answer and of a rival of it; None when there is none."""

    final: float | None
    rival: float | None


class Proposal(NamedTuple):
    """An answer of the last round of proposals."""

    seat: int
    name: str
    text: str


@dataclass(frozen=True)
class Material:
    """A run whose final answer was made of others."""

    task: Task
    final_text: str
    final_score: float | None
    proposals: list[Proposal]
    first: list[int]
    """The seats whose opinions share the first place."""


@dataclass(frozen=True)
class Bout:
    """A run's final answer against one rival."""

    strategy: str
    rival: str
    who: str
    prompt: str
    pair: Pair


@dataclass
class Measure:
    """Scores texts as the comparison's answers were scored, through its store: nothing is paid for twice."""

    scorer: Scorer | PairwiseJudge
    session: Session

    async def pair(self, material: Material, text: str) -> Pair:
        """The scores of the run's final answer and of the text; of a pairwise judge, who is preferred."""
        prompt = material.task.prompt
        try:
            with remembering(self.session.around(prompt.scope, material.task.repeat)):
                if isinstance(self.scorer, Scorer):
                    score = await self.scorer.score(text, prompt.target, about(material.task), ask=asker([]))
                    return Pair(material.final_score, score.value)
                found = await self.scorer.compare(prompt.text, material.final_text, text, ask=asker([]))
            preferred = BETTER.get(str(found.better))
            return Pair(preferred, None if preferred is None else 1 - preferred)
        except BudgetExceeded:
            return Pair(material.final_score, None)
        finally:
            if self.session.fault is not None:
                raise self.session.fault


async def value_added(
    comparison: Comparison,
    *,
    each_seat: bool = False,
    allow_judge_calls: bool = False,
    max_cost_usd: float | None = None,
) -> pd.DataFrame:
    """A row per strategy and rival: see `Comparison.value_added`."""
    session = Session(comparison.store, _AT_ONCE, max_cost_usd)
    measure = Measure(_scorer(comparison, allow_judge_calls=allow_judge_calls), session)
    bouts: list[Bout] = []
    todo = materials(comparison)

    async def work() -> None:
        for material in todo:
            bouts.extend(await _bouts(material, measure))

    try:
        with comparison.store.in_use():
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(work())
    except ExceptionGroup as faults:
        raise session.fault or faults.exceptions[0] from None
    finally:
        comparison.paid_usd += session.paid_usd
        comparison.calls_paid += session.calls_paid
    order = {name: place for place, name in enumerate(comparison.plan.strategies)}
    bouts.sort(key=lambda bout: (order[bout.strategy], bout.prompt))  # they end in any order
    return _frame(bouts, list(order), each_seat=each_seat)


def materials(comparison: Comparison) -> Iterator[Material]:
    """The runs that finished and have proposals or opinions, one at a time from the store."""
    for task in comparison.plan.tasks():
        row = comparison.rows.get((task.name, task.prompt.id, task.repeat))
        trace = comparison.store.trace(row.key) if row and row.status in FINISHED else None
        if row and trace and trace.text is not None and (proposals := list(_proposals(trace))):
            first = [one.member for one in trace.standings if one.place == 1 and one.borda is not None]
            yield Material(task, trace.text, row.score, proposals, first)


def vote(scorer: Scorer | PairwiseJudge, texts: Sequence[str]) -> list[str]:
    """The answers that got the most votes; those of several groups when these are equally large.

    Texts are one answer when the scorer takes one for the other, as numeric_match does with "It is 7."
    and "7.0"; without such a scorer, when they are equal but for case and white space.
    """
    groups: list[list[str]] = []
    for text in texts:
        group = next((group for group in groups if _is_same(scorer, text, group[0])), None)
        if group is None:
            groups.append([text])
        else:
            group.append(text)
    most = max(map(len, groups))
    return [text for group in groups if len(group) == most for text in group]


def _is_same(scorer: Scorer | PairwiseJudge, text: str, other: str) -> bool:
    if isinstance(scorer, NumericMatch | ExactMatch):
        try:
            found = scorer(text, other)
        except ValueError:  # the other has no number
            pass
        else:
            return found.value == 1.0 if isinstance(found, Score) else found
    return " ".join(text.split()).casefold() == " ".join(other.split()).casefold()


def _proposals(trace: Trace) -> Iterator[Proposal]:
    own = [call for call in trace.calls if call.stage in MATERIAL and call.parent_call_id is None]
    answered = [call for call in own if call.status == "ok" and (call.text or "").strip()]
    last = max((call.round for call in answered), default=0)
    for call in answered:
        if call.round == last:
            yield Proposal(call.seat, _who(call), call.text or "")


def _who(call: Call) -> str:
    return f"{call.role} {call.seat + 1} ({call.name})"


async def _bouts(material: Material, measure: Measure) -> list[Bout]:
    """The final answer against every seat, the vote, and the first of the ranking."""
    texts = list(dict.fromkeys(proposal.text for proposal in material.proposals))
    measured = await asyncio.gather(*(measure.pair(material, text) for text in texts))
    pairs = dict(zip(texts, measured, strict=True))
    told = partial(Bout, material.task.name, prompt=material.task.prompt.id)
    seats: dict[str, list[str]] = {}
    for proposal in material.proposals:
        seats.setdefault(proposal.name, []).append(proposal.text)
    bouts = [told(OWN, name, pair=_mean(pairs, own)) for name, own in seats.items()]
    if len(material.proposals) > 1:
        winners = vote(measure.scorer, [proposal.text for proposal in material.proposals])
        bouts.append(told(VOTE, "all proposals", pair=_mean(pairs, winners)))
    first = [proposal for proposal in material.proposals if proposal.seat in material.first]
    if first:
        bouts.append(told(TOP, "by the reviewers", pair=_mean(pairs, [one.text for one in first])))
    return bouts


def _mean(pairs: Mapping[str, Pair], texts: Sequence[str]) -> Pair:
    """What the texts score on average; None when one of them has no score."""
    chosen = [pairs[text] for text in texts]
    return Pair(_known_mean(pair.final for pair in chosen), _known_mean(pair.rival for pair in chosen))


def _known_mean(scores: Iterable[float | None]) -> float | None:
    scores = list(scores)
    return None if None in scores else fmean(score for score in scores if score is not None)


def _frame(bouts: Sequence[Bout], strategies: Iterable[str], *, each_seat: bool) -> pd.DataFrame:
    against: dict[tuple[str, str, str], list[Bout]] = {}
    for bout in bouts:
        against.setdefault((bout.strategy, bout.rival, bout.who), []).append(bout)
    rows, found = [], []
    for strategy in strategies:
        own = {key: fought for key, fought in against.items() if key[0] == strategy}
        seats = {key: fought for key, fought in own.items() if key[1] == OWN}
        best = _best(seats)
        chosen = [(BEST, best)] + [(rival, key) for rival in (VOTE, TOP) for key in own if key[1] == rival]
        if each_seat:
            chosen += [(OWN, key) for key in sorted(seats) if key != best]
        for rival, key in chosen:
            if key is not None:
                sides = _sides(own[key])
                rows.append((strategy, rival, key[2], *map(_score, sides)))
                found.append(paired_difference(*sides))
    told = pd.DataFrame(rows, columns=["strategy", "rival", "who", "final_score", "rival_score"])
    return pd.concat([told, difference_columns(found)], axis=1).astype(COLUMNS)


def _best(seats: Mapping[tuple[str, str, str], list[Bout]]) -> tuple[str, str, str] | None:
    """The seat with the best mean score of its own, among those that answered often enough."""
    sides = {key: _sides(fought)[1] for key, fought in seats.items()}
    scored = {key: mean_score(*side) for key, side in sides.items()}
    most = max((estimate.n for estimate in scored.values()), default=0)
    fit = {
        key: one.mean for key, one in scored.items() if one.mean is not None and one.n >= _FAIR_SHARE * most
    }
    return max(fit, key=fit.__getitem__, default=None)


def _sides(bouts: Sequence[Bout]) -> tuple[Sample, Sample]:
    """Final and rival, of the bouts in which both have a score."""
    fought = [bout for bout in bouts if None not in bout.pair]
    prompts = [bout.prompt for bout in fought]
    return Sample([one.pair.final for one in fought], prompts), Sample(
        [one.pair.rival for one in fought], prompts
    )


def _score(sample: Sample) -> float | None:
    return mean_score(*sample, resamples=1).mean


def _scorer(comparison: Comparison, *, allow_judge_calls: bool) -> Scorer | PairwiseJudge:
    """The comparison's scorer. Raises `ConfigError` when it has none, or one that may not be paid."""
    scorer = comparison.scorer
    if scorer is None:
        raise ConfigError(
            "value_added scores what the answers were made of, and this comparison has no scorer: "
            'compare(…, scorer="numeric_match")'
        )
    if isinstance(scorer, RubricJudge | PairwiseJudge) and not allow_judge_calls:
        raise ConfigError(
            f"value_added has the judge ({scorer.judge}) score every proposal, which costs money: "
            "value_added(allow_judge_calls=True), with max_cost_usd= as a limit"
        )
    return scorer
