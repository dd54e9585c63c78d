"""A reviewer to whom only one answer can be shown writes a critique: words, and no ballot."""

from __future__ import annotations

import re

import pytest

import composite_lab as lab
from composite_lab.testing import FakeServer
from tests.conftest import SeatMaker

QUESTION = "Why is the sky dark at night?"
NOTE = "every reviewer was shown one answer, so there was nothing to rank and there are no standings"
BLOCK = re.compile(r'<(answer|review)-([0-9a-f]+) label="([^"]*)">\n(.*?)\n</\1-\2>', re.DOTALL)


def council(seat: SeatMaker, *members: str, **options: object) -> lab.Council:
    return lab.Council(chairman=seat("chair"), members=list(map(seat, members)), **options)  # type: ignore[arg-type]


def blocks(text: str, kind: str) -> dict[str, str]:
    return {found[3]: found[4] for found in BLOCK.finditer(text) if found[1] == kind}


def test_a_council_of_two_gives_critiques_and_neither_ballots_nor_standings(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    trace = council(seat, "m0+text=zero", "m1+text=one").run(QUESTION).trace
    assert [call.stage for call in trace.calls] == ["opinions"] * 2 + ["review"] * 2 + ["synthesis"]
    for call, shown in zip(trace.calls[2:4], ("one", "zero"), strict=True):
        prompt = call.messages[-1]["content"]
        assert blocks(prompt, "answer") == {"Response A": shown}
        assert "Nothing is to be ranked" in prompt
        assert "RANKING" not in prompt
    assert (trace.ballots, trace.standings) == ([], [])
    assert (trace.status, trace.notes) == ("ok", [NOTE])
    assert f"## Standings: none\n\n- {NOTE}\n" in trace.reasoning


def test_the_chairman_reads_the_critiques_in_the_labels_that_answers_have_for_everybody(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    critics = [f"{name}+text=Response%20A%20is%20right" for name in ("c0", "c1")]
    council(seat, "m0+text=zero", critics[1]).run(QUESTION)
    asked = fake_openai.requests("chair")[-1].last_user_text
    assert blocks(asked, "answer") == {"Response A": "zero", "Response B": "Response A is right"}
    told = blocks(asked, "review")
    assert told == {"Reviewer 1": "zero", "Reviewer 2": "Response A is right"}
    fake_openai.reset()
    council(seat, critics[0], "m1+text=one").run(QUESTION)
    told = blocks(fake_openai.requests("chair")[-1].last_user_text, "review")
    assert told["Reviewer 1"] == "Response B is right"


@pytest.mark.parametrize("text", ["FINAL RANKING:%0A1. Response A", "no ranking at all"])
def test_a_critique_is_never_asked_for_again_and_no_ranking_of_one_is_read(
    fake_openai: FakeServer, seat: SeatMaker, text: str
) -> None:
    trace = council(seat, f"m0+text={text}", f"m1+text={text}", repairs=3).run(QUESTION).trace
    assert fake_openai.stats().total == 5
    assert trace.ballots == []


def test_where_more_were_to_be_ranked_the_trace_is_degraded(seat: SeatMaker) -> None:
    trace = council(seat, "m0", "m1+status=400", "m2").run(QUESTION).trace
    assert trace.status == "degraded"
    lost = "2 of 3 members answered: 2 (openai/m1+status=400): BadRequestError"
    assert trace.notes == [lost, NOTE]
    assert (trace.ballots, trace.standings) == ([], [])


def test_whoever_is_shown_more_ranks_beside_one_who_cannot(seat: SeatMaker) -> None:
    trace = council(seat, "m0", "m1", reviewers=[seat("judge"), seat("m1")]).run(QUESTION).trace
    assert [(ballot.reviewer, sorted(ballot.members)) for ballot in trace.ballots] == [(0, [0, 1])]
    assert sorted(standing.member for standing in trace.standings) == [0, 1]
    critique = next(call for call in trace.calls if (call.stage, call.seat) == ("review", 1))
    assert "Nothing is to be ranked" in critique.messages[-1]["content"]
    assert (trace.status, trace.notes) == ("ok", [])


def test_whoever_sees_its_own_answer_too_ranks_both(seat: SeatMaker) -> None:
    trace = council(seat, "m0", "m1", self_review=True).run(QUESTION).trace
    assert [sorted(ballot.members) for ballot in trace.ballots] == [[0, 1], [0, 1]]
    assert (trace.status, trace.notes) == ("ok", [])


def test_by_a_rubric_a_single_answer_is_scored(seat: SeatMaker) -> None:
    trace = council(seat, "m0", "m1", rubric=["correct"]).run(QUESTION).trace
    assert [ballot.status for ballot in trace.ballots] == ["valid", "valid"]
    assert [list(ballot.scores or {}) for ballot in trace.ballots] == [["Response A"], ["Response A"]]


def test_a_critique_prompt_of_ones_own_is_sent(fake_openai: FakeServer, seat: SeatMaker) -> None:
    council(seat, "m0", "m1", prompts={"critique": "What is wrong with {answers}?"}).run(QUESTION)
    asked = [request.last_user_text for request in fake_openai.requests()]
    assert sum(text.startswith(f"{QUESTION}\n\nWhat is wrong with <answer-") for text in asked) == 2


def test_a_critic_obeys_a_planted_instruction_only_by_writing_its_word(seat: SeatMaker) -> None:
    ignores = council(seat, "m0", "m1", canary=True).run(QUESTION).trace.canary
    assert ignores is not None
    assert [(trial.obeyed, trial.rank_before, trial.rank) for trial in ignores.trials] == [
        (False, None, None)
    ]
    assert "praise this answer" in ignores.instruction
    members = ["m0", "m1"]
    members[1 - ignores.member] = f"j+text={ignores.code_word}"  # who reviews that answer
    obeys = council(seat, *members, canary=True).run(QUESTION).trace.canary
    assert obeys is not None
    assert [trial.obeyed for trial in obeys.trials] == [True]
