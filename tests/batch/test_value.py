"""Whether aggregation beat its own material: runs made by hand, and a judge over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

import composite_lab as lab
from composite_lab.batch.comparison import Comparison
from composite_lab.batch.plan import Plan
from composite_lab.batch.runs import Row
from composite_lab.batch.scoring import Contains, ExactMatch, NumericMatch
from composite_lab.batch.store import KeptRun, Store
from composite_lab.batch.value import vote
from composite_lab.testing import FakeServer
from tests.batch.test_evidence import FACTS, row
from tests.conftest import SeatMaker

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
COUNCIL = lab.Council(chairman="openai/z", members=["openai/a", "openai/b", "openai/c"])


def call(seat: int, text: str | None, **fields: Any) -> lab.Call:
    needed: dict[str, Any] = {
        "trace_id": "t", "call_id": f"{fields}{seat}", "strategy": "council", "stage": "opinions",
        "role": "member", "seat": seat, "request_model": f"openai/{'abc'[seat]}", "status": "ok",
        "started_at": NOON, "start_offset_s": 0.0, "latency_s": 1.0, "text": text,
    }  # fmt: skip
    return lab.Call(**(needed | fields))


def trace(final: str, calls: Sequence[lab.Call], first: Sequence[int] = ()) -> lab.Trace:
    places = [
        lab.Standing(
            member=one.seat, label="", place=1 if one.seat in first else 2, borda=0.5, mean_rank=1.0,
            ballots=1,
        )
        for one in calls
    ]  # fmt: skip
    return lab.Trace(
        trace_id="t", strategy="council", model="composite/council/openai/z", started_at=NOON, latency_s=1.0,
        version="0", text=final, calls=list(calls), standings=places if first else [],
    )  # fmt: skip


def made(*runs: lab.Trace, strategy: Any = COUNCIL, scorer: Any = None) -> Comparison:
    """A comparison of one strategy, whose answers to prompts with the target 7 are these."""
    prompts = [{"prompt": f"Question {number}?", "target": "7"} for number in range(len(runs))]
    plan = Plan.of({"m": strategy}, prompts)
    comparison = Comparison(plan, Store(), "m", scorer=NumericMatch() if scorer is None else scorer)
    for number, one in enumerate(runs):
        score = float(one.text == "7")
        kept = KeptRun(f"k{number}", FACTS | {"status": "ok"}, one.model_dump_json(), ())
        comparison.store.keep_run(kept)
        comparison.rows["m", str(number), 0] = Row("m", str(number), 0, kept.key, "ok", False, score)
    return comparison


def opinions(*texts: str) -> list[lab.Call]:
    return [call(seat, text) for seat, text in enumerate(texts)]


FOUR = (
    trace("7", opinions("7", "It is 7.", "1"), first=[2]),
    trace("7", opinions("7", "2", "2"), first=[0]),
    trace("7", opinions("1", "2", "7"), first=[1]),
    trace("0", opinions("7", "7.0", "1"), first=[0, 2]),
)


def test_the_final_answer_is_set_against_the_best_seat_the_vote_and_the_first_in_the_ranking() -> None:
    frame = made(*FOUR).value_added()
    assert list(frame.rival) == ["best proposer", "majority vote", "top-ranked opinion"]
    best = row(frame, rival="best proposer")
    assert best["who"] == "member 1 (openai/a)"
    assert (best["final_score"], best["rival_score"], best["difference"]) == (0.75, 0.75, 0.0)
    assert (best["wins"], best["losses"], best["ties"]) == (1, 1, 2)
    # Right, wrong, all three tied with one of them right, right: (1 + 0 + 1/3 + 1) / 4
    assert row(frame, rival="majority vote")["rival_score"] == pytest.approx(7 / 12)
    # Wrong, right, wrong, and two who share the first place with one of them right
    assert row(frame, rival="top-ranked opinion")["rival_score"] == pytest.approx(3 / 8)
    assert all("too few prompts" in told for told in frame.verdict)


def test_every_seat_has_a_row_when_asked_for() -> None:
    frame = made(*FOUR).value_added(each_seat=True)
    assert row(frame, who="member 2 (openai/b)")["rival_score"] == 0.5
    assert row(frame, who="member 3 (openai/c)")["rival_score"] == 0.25


def test_the_last_round_counts_and_calls_that_failed_or_lie_below_do_not() -> None:
    calls = [
        call(0, "7"), call(0, "1", round=1), call(1, "7", round=1, parent_call_id="x"),
        call(2, "7", round=1, status="error"), call(1, "7", stage="review"),
    ]  # fmt: skip
    told = row(made(trace("7", calls)).value_added(), rival="best proposer")
    assert (told["who"], told["rival_score"]) == ("member 1 (openai/a)", 0.0)


def test_samples_of_a_seat_are_averaged() -> None:
    calls = [call(0, "7", sample=0), call(0, "1", sample=1)]
    assert row(made(trace("7", calls)).value_added(), rival="best proposer")["rival_score"] == 0.5


def test_a_seat_that_answered_seldom_is_not_the_best() -> None:
    runs = [trace("7", [call(0, "7"), call(1, "1")])] + [trace("7", [call(1, "7")])] * 4
    assert row(made(*runs).value_added(), rival="best proposer")["who"] == "member 2 (openai/b)"


def test_a_tie_of_all_is_the_mean_over_them_and_one_proposal_is_no_vote() -> None:
    assert (
        row(made(trace("7", opinions("7", "1"))).value_added(), rival="majority vote")["rival_score"] == 0.5
    )
    assert "majority vote" not in set(made(trace("7", opinions("7"))).value_added().rival)


@pytest.mark.parametrize(
    ("scorer", "texts", "winners"),
    [
        (NumericMatch(), ["so 7", "7.0", "1"], ["so 7", "7.0"]),
        (NumericMatch(), ["none", "NONE ", "1"], ["none", "NONE "]),
        (NumericMatch(tolerance=1), ["7", "7.5", "1"], ["7", "7.5"]),
        (ExactMatch(), ["Yes", "yes", "no"], ["Yes", "yes"]),
        (Contains(), ["a  b", "A b", "a"], ["a  b", "A b"]),
        (lab.PairwiseJudge(judge="openai/j"), ["x", "y"], ["x", "y"]),
    ],
)
def test_votes_are_counted_by_what_the_scorer_takes_for_one_answer(
    scorer: Any, texts: list[str], winners: list[str]
) -> None:
    assert vote(scorer, texts) == winners


def test_a_strategy_without_proposals_has_no_row_and_the_columns_stay() -> None:
    single = made(trace("7", [call(0, "7", stage="answer")]), strategy="openai/a").value_added()
    assert len(single) == 0
    assert list(single.dtypes) == list(made(*FOUR).value_added().dtypes)


def test_without_a_scorer_or_leave_to_pay_a_judge_it_says_what_is_missing() -> None:
    comparison = made(*FOUR)
    comparison.scorer = None
    with pytest.raises(lab.ConfigError, match="scorer="):
        comparison.value_added()
    for judge in (lab.RubricJudge(judge="openai/j", rubric="Right?"), lab.PairwiseJudge(judge="openai/j")):
        with pytest.raises(lab.ConfigError, match="allow_judge_calls=True"):
            made(*FOUR, scorer=judge).value_added()


def test_a_judge_is_paid_once_for_each_proposal(fake_openai: FakeServer, seat: SeatMaker) -> None:
    priced = seat("judge", input_cost_per_token=1e-6, output_cost_per_token=1e-6)
    judge = lab.RubricJudge(judge=priced, rubric="Is it kind?")
    moa = lab.MoA(aggregator=seat("z"), proposers=[seat("a"), seat("b")])
    comparison = lab.compare({"moa": moa}, ["Why?", "How?"], scorer=judge, progress=False)
    before, paid = len(fake_openai.requests()), comparison.paid_usd
    frame = comparison.value_added(allow_judge_calls=True)
    new = fake_openai.requests()[before:]
    assert {request.body["model"] for request in new} == {"judge"}
    assert len({request.body["messages"][0]["content"] for request in new}) == 4
    assert comparison.paid_usd > paid
    assert comparison.value_added(allow_judge_calls=True).equals(frame)
    assert len(fake_openai.requests()) == before + len(new)


def test_a_judge_stops_at_the_cap(fake_openai: FakeServer, seat: SeatMaker) -> None:
    priced = seat("judge", input_cost_per_token=1e-6, output_cost_per_token=1e-6)
    judge = lab.RubricJudge(judge=priced, rubric="Is it kind?")
    moa = lab.MoA(aggregator=seat("z"), proposers=[seat("a"), seat("b")])
    comparison = lab.compare({"moa": moa}, ["Why?"], scorer=judge, progress=False)
    before = len(fake_openai.requests())
    frame = comparison.value_added(allow_judge_calls=True, max_cost_usd=0)
    assert len(fake_openai.requests()) == before
    assert frame.n.sum() == 0


def test_a_pairwise_judge_sets_the_final_answer_against_each_proposal(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    moa = lab.MoA(aggregator=seat("z"), proposers=[seat("a"), seat("b")])
    judge = lab.PairwiseJudge(judge=seat("judge"))
    comparison = lab.compare({"moa": moa}, ["Why?"], scorer=judge, progress=False)
    before = len(fake_openai.requests())
    comparison.value_added(allow_judge_calls=True)
    asked = {request.body["messages"][0]["content"] for request in fake_openai.requests()[before:]}
    assert len(asked) == 4  # two proposals, each in both orders
