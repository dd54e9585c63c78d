"""Who can be shown only one answer writes a critique: nobody ranks one answer."""

from __future__ import annotations

import composite_lab as lab
from composite_lab.testing import FakeServer
from tests.conftest import SeatMaker

QUESTION = "Why is the sky dark at night?"


def council(seat: SeatMaker, *members: str, **options: object) -> lab.Council:
    return lab.Council(chairman=seat("chair"), members=[seat(name) for name in members], **options)


def test_a_council_of_two_makes_five_calls_and_no_ballots(fake_openai: FakeServer, seat: SeatMaker) -> None:
    trace = council(seat, "a", "b").run(QUESTION).trace
    assert fake_openai.stats().total == len(trace.calls) == 5
    assert (trace.ballots, trace.standings, trace.status) == ([], [], "ok")
    assert "nothing to rank" in trace.notes[-1]
    reviews = [request for request in fake_openai.requests() if "neutral label" in request.last_user_text]
    assert len(reviews) == 2
    for request in reviews:
        assert request.last_user_text.count("<answer-") == 1
        assert "ranking" not in request.last_user_text.lower()
        assert "assistants" not in request.last_user_text
    chairman = fake_openai.requests()[-1].last_user_text
    assert chairman.count('label="Reviewer') == 2
    assert "There are none." in chairman
    assert "## Standings: none" in trace.reasoning
    assert trace.ballots_df().empty


def test_critiques_are_told_in_the_labels_that_all_share(fake_openai: FakeServer, seat: SeatMaker) -> None:
    council(seat, "a", "b+text=I%20like%20Response%20A.").run(QUESTION)
    # The second member saw the first one's answer, which is Response A for everybody; the first one is not
    # told of in the second's words.
    assert "I like Response A." in fake_openai.requests()[-1].last_user_text
    council(seat, "a+text=I%20like%20Response%20A.", "b").run(QUESTION)
    assert "I like Response B." in fake_openai.requests()[-1].last_user_text


def test_with_its_own_answer_shown_a_council_of_two_ranks(seat: SeatMaker) -> None:
    trace = council(seat, "a", "b", self_review=True).run(QUESTION).trace
    assert [ballot.status for ballot in trace.ballots] == ["valid", "valid"]
    assert len(trace.standings) == 2


def test_two_of_three_members_left_is_a_lesser_council(seat: SeatMaker) -> None:
    trace = council(seat, "a", "b", "c+status=400").run(QUESTION).trace
    assert trace.ballots == []
    assert trace.degraded
    assert [note.partition(":")[0] for note in trace.notes] == [
        "2 of 3 members answered",
        "every reviewer was shown one answer, so there was nothing to rank and there are no standings",
    ]


def test_reviewers_of_their_own_rank_two_answers(fake_openai: FakeServer, seat: SeatMaker) -> None:
    trace = council(seat, "a", "b", reviewers=[seat("r")]).run(QUESTION).trace
    assert [ballot.status for ballot in trace.ballots] == ["valid"]
    assert fake_openai.stats().total == 4


def test_a_rubric_scores_a_single_answer(seat: SeatMaker) -> None:
    trace = council(seat, "a", "b", rubric=["correct", "clear"]).run(QUESTION).trace
    assert [ballot.status for ballot in trace.ballots] == ["valid", "valid"]
    assert all(len(ballot.members) == 1 for ballot in trace.ballots)


def test_the_canary_asks_for_praise_where_nothing_is_ranked(seat: SeatMaker) -> None:
    canary = council(seat, "a", "b", canary=True).run(QUESTION).trace.canary
    assert canary is not None
    assert "praise this answer" in canary.instruction
    assert [trial.obeyed for trial in canary.trials] == [False]


def test_one_proposal_is_not_told_as_one_assistants(fake_openai: FakeServer, seat: SeatMaker) -> None:
    lab.MoA(aggregator=seat("a"), proposers=[seat("p")]).run(QUESTION)
    assert "1 assistants" not in fake_openai.requests()[-1].last_user_text
