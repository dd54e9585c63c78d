"""A critique beside ballots: who writes one, in whose words, and that it is never read as a ranking."""

from __future__ import annotations

import pytest

import composite_lab as lab
from composite_lab.testing import FakeServer
from tests.conftest import SeatMaker

QUESTION = "Why is the sky dark at night?"


def council(seat: SeatMaker, *members: str, **options: object) -> lab.Council:
    return lab.Council(chairman=seat("chair"), members=list(map(seat, members)), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["FINAL RANKING:%0A1. Response A", "no ranking at all"])
def test_a_critique_is_never_asked_for_again_and_no_ranking_of_one_is_read(
    fake_openai: FakeServer, seat: SeatMaker, text: str
) -> None:
    trace = council(seat, f"m0+text={text}", f"m1+text={text}", repairs=3).run(QUESTION).trace
    assert fake_openai.stats().total == 5
    assert (trace.ballots, trace.standings) == ([], [])


def test_whoever_is_shown_more_ranks_beside_one_who_cannot(seat: SeatMaker) -> None:
    trace = council(seat, "m0", "m1", reviewers=[seat("judge"), seat("m1")]).run(QUESTION).trace
    assert [(ballot.reviewer, sorted(ballot.members)) for ballot in trace.ballots] == [(0, [0, 1])]
    assert sorted(standing.member for standing in trace.standings) == [0, 1]
    ranked, critique = (call.messages[-1]["content"] for call in trace.calls if call.stage == "review")
    assert "FINAL RANKING" in ranked
    assert "Nothing is to be ranked" in critique
    assert (trace.status, trace.notes) == ("ok", [])


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
    members = ["m0", "m1"]
    members[1 - ignores.member] = f"j+text={ignores.code_word}"  # who reviews that answer
    obeys = council(seat, *members, canary=True).run(QUESTION).trace.canary
    assert obeys is not None
    assert [trial.obeyed for trial in obeys.trials] == [True]
