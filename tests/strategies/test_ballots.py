"""The Council as an instrument: ballots that are right or refused, rules, orders, self-review."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest

import composite_lab as lab
from composite_lab.strategies.agreement import agreement
from composite_lab.strategies.orders import label_orders
from composite_lab.strategies.rules import RULES
from composite_lab.testing import FakeServer
from composite_lab.trace.call import label
from composite_lab.trace.summary import critical_path
from tests.conftest import SeatMaker

QUESTION = "Why is the sky dark at night?"
BLOCK = re.compile(r'<(answer|review)-([0-9a-f]+) label="([^"]*)">\n(.*?)\n</\1-\2>', re.DOTALL)
ABSTAINS = "text=" + "I%20abstain."


def council(seat: SeatMaker, *members: str, **options: Any) -> lab.Council:
    return lab.Council(chairman=seat("chair"), members=[seat(member) for member in members], **options)


def judged(seat: SeatMaker, judge: str, **options: Any) -> lab.Council:
    """Three members and one reviewer of its own, which no request but reviews reaches."""
    return council(seat, "m0", "m1", "m2", reviewers=[seat(judge)], **options)


def test_a_ranking_that_cannot_be_read_is_asked_for_once_more(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    trace = judged(seat, "j+bad_ranking+times=1").run(QUESTION).trace
    (ballot,) = trace.ballots
    review, repair = (call for call in trace.calls if call.stage == "review")
    assert (ballot.status, ballot.source, ballot.is_usable) == ("repaired", "numbered list", True)
    assert "no heading" in (ballot.problem or "")
    assert (ballot.call_id, ballot.repair_ids) == (review.call_id, [repair.call_id])
    assert (review.round, repair.round) == (0, 1)
    first, again = fake_openai.requests("j+bad_ranking+times=1")
    assert again.messages[:-2] == first.messages
    assert again.messages[-2] == {"role": "assistant", "content": review.text}
    assert ballot.problem in again.last_user_text
    assert all(name in again.last_user_text for name in ballot.labels)
    assert not BLOCK.search(again.last_user_text)


def test_asking_again_stands_behind_the_review_in_order_reasoning_and_critical_path(seat: SeatMaker) -> None:
    trace = council(seat, "m0", "m1", "m2+bad_ranking+times=2").run(QUESTION).trace
    stages = [(call.stage, call.round, call.seat) for call in trace.calls]
    assert stages[3:] == [
        ("review", 0, 0),
        ("review", 0, 1),
        ("review", 0, 2),
        ("review", 1, 2),
        ("synthesis", 0, 0),
    ]
    assert "## Review, round 2: 1 of 1 answered" in trace.reasoning
    assert [(call.stage, call.round) for call in critical_path(trace.calls)] == [
        ("opinions", 0), ("review", 0), ("review", 1), ("synthesis", 0)
    ]  # fmt: skip
    assert trace.summary().calls == 8
    assert trace.status == "ok"


def test_the_chairman_reads_the_review_and_the_ranking_that_was_asked_for_again(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    trace = judged(seat, "j+bad_ranking+times=1").run(QUESTION).trace
    told = next(f[4] for f in BLOCK.finditer(fake_openai.requests()[-1].last_user_text) if f[1] == "review")
    assert "All of them have their merits" in told
    assert told.endswith(": " + " > ".join(map(label, trace.ballots[0].ranked_members())))


@pytest.mark.parametrize(("repairs", "asked"), [(0, 1), (1, 2), (3, 4)])
def test_a_reviewer_is_asked_again_as_often_as_repairs_says(
    fake_openai: FakeServer, seat: SeatMaker, repairs: int, asked: int
) -> None:
    (ballot,) = judged(seat, "j+bad_ranking", repairs=repairs).run(QUESTION).trace.ballots
    assert len(fake_openai.requests("j+bad_ranking")) == asked
    assert (ballot.status, ballot.ranking, len(ballot.repair_ids)) == ("invalid", None, repairs)
    assert ballot.problem


BARE = {"ranking": "Final ranking: B > A > C", "rubric": '{"A": {"x": 2}, "B": {"x": 9}, "C": {"x": 1}}'}


@pytest.mark.parametrize("form", BARE)
def test_a_ballot_in_bare_labels_is_told_in_those_that_all_share(
    fake_openai: FakeServer, seat: SeatMaker, form: str
) -> None:
    options: dict[str, Any] = {"rubric": ["x"]} if form == "rubric" else {}
    for shuffle_seed in range(4):
        panel = judged(seat, f"j+text={quote(BARE[form])}", shuffle_seed=shuffle_seed, **options)
        trace = panel.run(QUESTION).trace
        (ballot,) = trace.ballots
        assert ballot.status == "valid"
        sent = fake_openai.requests()[-1].last_user_text
        told = next(found[4] for found in BLOCK.finditer(sent) if found[1] == "review")
        best = label(min(ballot.ranks(), key=ballot.ranks().__getitem__))
        expected = f"{best} > " if form == "ranking" else f"{best}: 9.00"
        renamed = ballot.members != sorted(ballot.members)
        assert (expected in told.partition("In the labels that all reviews share: ")[2]) == renamed
        assert ("In the labels that all reviews share" in trace.reasoning) == renamed


def test_who_abstains_is_not_asked_again(fake_openai: FakeServer, seat: SeatMaker) -> None:
    trace = judged(seat, f"j+{ABSTAINS}").run(QUESTION).trace
    assert [(ballot.status, ballot.ranking) for ballot in trace.ballots] == [("abstained", None)]
    assert len(fake_openai.requests(f"j+{ABSTAINS}")) == 1
    assert trace.degraded


def test_a_reviewer_that_failed_is_not_asked_again(fake_openai: FakeServer, seat: SeatMaker) -> None:
    (ballot,) = judged(seat, "j+status=400").run(QUESTION).trace.ballots
    assert (ballot.status, ballot.call_ids) == ("failed", [])
    assert len(fake_openai.requests("j+status=400")) == 1


def test_an_incomplete_ranking_is_refused_and_named(seat: SeatMaker) -> None:
    (ballot,) = judged(seat, "j+partial_ranking", repairs=0).run(QUESTION).trace.ballots
    assert (ballot.status, ballot.ranking, ballot.source) == ("invalid", None, "numbered list")
    assert ballot.problem


def test_a_repair_prompt_of_ones_own_is_sent(fake_openai: FakeServer, seat: SeatMaker) -> None:
    prompts = {"repair": "FINAL RANKING of {labels}, please."}
    judged(seat, "j+bad_ranking+times=1", prompts=prompts).run(QUESTION)
    again = fake_openai.requests("j+bad_ranking+times=1")[1].last_user_text
    assert again == "FINAL RANKING of Response A, Response B, Response C, please."


@pytest.mark.parametrize("self_review", [False, True])
def test_every_ballot_leads_back_to_the_exact_texts_that_its_reviewer_was_shown(
    seat: SeatMaker, self_review: bool
) -> None:
    trace = (
        council(seat, "m0", "m1", "m2+bad_ranking+times=2", "m3", self_review=self_review).run(QUESTION).trace
    )
    trace = lab.Trace.model_validate_json(trace.model_dump_json())
    calls = {call.call_id: call for call in trace.calls}
    answers = {call.seat: call.text for call in trace.calls if call.stage == "opinions"}
    for ballot in trace.ballots:
        for call_id in ballot.call_ids:
            call = calls[call_id]
            assert (call.stage, call.seat) == ("review", ballot.reviewer)
            shown = [
                (found[3], found[4])
                for message in call.messages
                for found in BLOCK.finditer(message["content"])
            ]
            assert shown == [
                (name, answers[member]) for name, member in zip(ballot.labels, ballot.members, strict=True)
            ]
        assert calls[ballot.call_ids[-1]].text.count(ballot.ranking[0]) >= 1


@pytest.mark.parametrize("rule", RULES)
def test_standings_and_what_the_chairman_reads_follow_the_rule(
    fake_openai: FakeServer, seat: SeatMaker, rule: Any
) -> None:
    trace = council(seat, *(f"m{n}" for n in range(5)), ranking=rule).run(QUESTION).trace
    orders = [ballot.ranked_members() for ballot in trace.ballots]
    expected = RULES[rule](orders, candidates=range(5))
    assert [(s.member, s.score, s.place) for s in trace.standings] == [tuple(row) for row in expected]
    told = fake_openai.requests()[-1].last_user_text
    first = trace.standings[0]
    line = next(
        line for line in told.splitlines() if line.startswith(f"- {first.place}. {first.label}: beat")
    )
    assert (rule == "borda") != (f": {first.score:.2f}" in line)


def test_a_reviewer_of_no_weight_moves_nobody(seat: SeatMaker) -> None:
    weights = [0.0, 1.0, 1.0, 1.0]
    trace = council(seat, *(f"m{n}" for n in range(4)), reviewer_weights=weights).run(QUESTION).trace
    heard = [ballot.ranked_members() for ballot in trace.ballots[1:]]
    assert {s.member: s.place for s in trace.standings} == RULES["borda"](heard, candidates=range(4)).places
    assert len(trace.ballots) == 4


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [1.0, float("nan"), 1.0]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(lab.ConfigError, match="reviewer_weights"):
        lab.Council(chairman="openai/a", reviewer_weights=weights)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(lab.ConfigError, match="schulze"):
        lab.Council(chairman="openai/a", ranking="plurality")  # type: ignore[arg-type]


@pytest.mark.parametrize("size", range(2, 13))
def test_every_candidate_stands_in_every_position_equally_often(size: int) -> None:
    orders = label_orders(range(10, 10 + size), list(range(10, 10 + size)), seed=3, question="Why?")
    assert [sorted(order) for order in orders] == [
        [each for each in range(10, 10 + size) if each != own] for own in range(10, 10 + size)
    ]
    positions = Counter((member, position) for order in orders for position, member in enumerate(order))
    assert set(positions.values()) == {1}
    assert len(positions) == size * (size - 1)
    neighbours = Counter(pair for order in orders for pair in pairwise(order))
    assert max(neighbours.values(), default=0) <= (1 if size % 2 == 0 else 2)


@pytest.mark.parametrize("size", range(2, 10))
@pytest.mark.parametrize("rounds", [1, 3])
def test_reviewers_who_are_nobodys_candidate_see_each_in_every_position_equally_often(
    size: int, rounds: int
) -> None:
    orders = label_orders(range(size), [None] * size * rounds, seed=0, question="Why?")
    positions = Counter((member, position) for order in orders for position, member in enumerate(order))
    assert set(positions.values()) == {rounds}
    assert len(positions) == size * size


@pytest.mark.parametrize("size", range(2, 10))
def test_with_self_review_all_positions_are_balanced_and_ones_own_is_no_constant(size: int) -> None:
    orders = label_orders(range(size), list(range(size)), seed=0, question="Why?", own_is_shown=True)
    positions = Counter((member, position) for order in orders for position, member in enumerate(order))
    assert set(positions.values()) == {1}
    assert len(positions) == size * size
    own = Counter(order.index(reviewer) for reviewer, order in enumerate(orders))
    assert set(own.values()) == ({1} if size % 2 else {2})


def test_orders_are_drawn_from_seed_and_question() -> None:
    def drawn(seed: int, question: str) -> list[list[int]]:
        return label_orders(range(9), list(range(9)), seed=seed, question=question)

    assert drawn(0, "Why?") == drawn(0, "Why?")
    assert len({str(drawn(0, "Why?")), str(drawn(1, "Why?")), str(drawn(0, "Why not?"))}) == 3


def test_positions_cancel_in_a_run(seat: SeatMaker) -> None:
    frame = council(seat, *(f"m{n}" for n in range(5))).run(QUESTION).trace.ballots_df()
    assert frame.groupby("candidate").shown_position.sum().tolist() == [0 + 1 + 2 + 3] * 5


def test_with_self_review_everybody_ranks_all_answers_blindly(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    trace = council(seat, "m0", "m1", "m2", self_review=True).run(QUESTION).trace
    assert [sorted(ballot.members) for ballot in trace.ballots] == [[0, 1, 2]] * 3
    assert {ballot.status for ballot in trace.ballots} == {"valid"}
    for request in fake_openai.requests()[3:6]:
        shown = [found[3] for found in BLOCK.finditer(request.last_user_text)]
        assert shown == ["Response A", "Response B", "Response C"]
        assert not re.search(r"\bm[0-2]\b(?=\+|,)|\byour own\b", BLOCK.sub("", request.last_user_text))


def test_the_frame_tells_what_estimates_of_bias_need(seat: SeatMaker) -> None:
    members = ["m0+completion_tokens=5", "m1+completion_tokens=50", "m2"]
    frame = council(seat, *members, self_review=True).run(QUESTION).trace.ballots_df()
    assert frame[frame.is_self].candidate.tolist() == frame[frame.is_self].reviewer.tolist() == [0, 1, 2]
    assert frame.groupby("candidate").answer_tokens.unique().map(list).tolist() == [[5], [50], [20]]
    assert set(frame.answer_model) == set(frame.reviewer_model) == {f"openai/{name}" for name in members}
    assert set(frame.source) == {"numbered list"}


def test_agreement_and_sensitivity_are_told_by_seat(seat: SeatMaker) -> None:
    trace = (
        council(seat, *(f"m{n}" for n in range(5)), "m5+status=400", ranking="schulze").run(QUESTION).trace
    )
    orders = [ballot.ranked_members() for ballot in trace.ballots]
    assert trace.agreement() == agreement(orders)
    assert trace.agreement().w is not None
    found = trace.sensitivity()
    assert next(iter(found.winners)) == "schulze"
    assert set(found.winners) == set(RULES)
    assert found.winners["schulze"] == tuple(s.member for s in trace.standings if s.place == 1)


def test_sensitivity_names_the_reviewer_and_not_the_number_of_the_ballot() -> None:
    labels = [label(0), label(1)]

    def ballot(reviewer: int, *members: int, status: str = "valid") -> lab.Ballot:
        ranking = labels if status == "valid" else None
        return lab.Ballot.model_validate(
            {
                "reviewer": reviewer,
                "labels": labels,
                "members": list(members),
                "ranking": ranking,
                "status": status,
            }
        )

    ballots = [ballot(0, 3, 4, status="invalid"), ballot(2, 3, 4), ballot(5, 3, 4), ballot(7, 4, 3)]
    whole = lab.Trace(
        trace_id="t" * 8, strategy="council", model="m", version="0",
        started_at=datetime.now(UTC), latency_s=1.0,
        ballots=ballots, config={"reviewer_weights": [1, 1, 1, 1, 1, 1, 1, 2.5]},
    )  # fmt: skip
    assert whole.agreement().condorcet_winner == 4
    assert whole.sensitivity().flips["borda"] == {7: (3,)}


def test_a_trace_without_ballots_has_nothing_to_agree_on(seat: SeatMaker) -> None:
    trace = council(seat, "m0", "m1+status=400").run(QUESTION).trace
    assert trace.agreement() == agreement([])
    assert trace.sensitivity().winners["borda"] == ()
