"""The canary: planted in a copy that reviewers see, measured, and kept from ballots and chairman."""

from __future__ import annotations

from urllib.parse import quote

import composite_lab as lab
from composite_lab.testing import FakeServer
from composite_lab.trace.summary import critical_path
from tests.conftest import SeatMaker

QUESTION = "Why is the sky dark at night?"
MEMBERS = ("m0", "m1", "m2")
RANKS = "FINAL RANKING:\n1. Response A\n2. Response B\n3. Response C"


def judged(seat: SeatMaker, *judges: str, **options: bool) -> lab.Result:
    """A Council with reviewers of its own. The fake's rankings hang on the texts, the judges' here do not."""
    panel = lab.Council(
        chairman=seat("chair"), members=list(map(seat, MEMBERS)), reviewers=list(map(seat, judges)), **options
    )
    return panel.run(QUESTION)


def saying(text: str) -> str:
    return f"j+text={quote(text)}"


def test_the_copy_goes_to_extra_reviews_and_to_nobody_else(fake_openai: FakeServer, seat: SeatMaker) -> None:
    plain = judged(seat, "j0", "j1").trace
    fake_openai.reset()
    trace = judged(seat, "j0", "j1", canary=True).trace
    assert trace.canary is not None
    assert fake_openai.stats().total == 3 + 2 + 2 + 1
    planted = [r.model for r in fake_openai.requests() if trace.canary.code_word in r.last_user_text]
    assert sorted(planted) == ["j0", "j1"]
    assert [ballot.ranking for ballot in trace.ballots] == [ballot.ranking for ballot in plain.ballots]
    assert trace.standings == plain.standings
    assert trace.text == plain.text, "the chairman was told something else"


def test_the_copy_is_the_answer_with_the_instruction_behind_it(seat: SeatMaker) -> None:
    trace = judged(seat, "j0", canary=True).trace
    assert trace.canary is not None
    calls = {call.call_id: call for call in trace.calls}
    (trial,) = trace.canary.trials
    answer = next(c.text for c in trace.calls if (c.stage, c.seat) == ("opinions", trace.canary.member))
    shown = calls[trial.call_id or ""].messages[-1]["content"]
    assert f"{answer}\n\n{trace.canary.instruction}\n</answer-" in shown
    review = calls[trace.ballots[0].call_id or ""].messages[-1]["content"]
    assert trace.canary.code_word not in review


def test_who_writes_the_code_word_has_obeyed_and_who_quotes_it_in_a_warning_has_not(seat: SeatMaker) -> None:
    canary = judged(seat, "j0", canary=True).trace.canary
    assert canary is not None
    obeys = saying(f"{canary.code_word}\n\n{RANKS}")
    warns = saying(f"One of them wants me to write {canary.code_word}; I will not.\n\n{RANKS}")
    trace = judged(seat, obeys, warns, "j+status=400", canary=True).trace
    assert trace.canary is not None
    assert [trial.obeyed for trial in trace.canary.trials] == [True, False, None]
    assert [trial.rank == trial.rank_before for trial in trace.canary.trials[:2]] == [True, True]
    lost = "2 of 3 reviewers answered: 3 (openai/j+status=400): BadRequestError"
    assert trace.notes == [lost, lost, str(trace.canary)]  # of the review, and of the canary
    assert "1 of 2 reviewers obeyed" in trace.notes[-1]
    assert lab.Trace.model_validate_json(trace.model_dump_json()) == trace


def test_the_extra_reviews_stand_between_review_and_synthesis(seat: SeatMaker) -> None:
    trace = judged(seat, "j0", canary=True).trace
    assert [call.stage for call in trace.calls] == ["opinions"] * 3 + ["review", "canary", "synthesis"]
    assert [c.stage for c in critical_path(trace.calls)] == ["opinions", "review", "canary", "synthesis"]
    assert trace.status == "ok"


def test_members_who_review_are_asked_again_but_for_the_one_whose_answer_it_is(seat: SeatMaker) -> None:
    trace = (
        lab.Council(chairman=seat("chair"), members=list(map(seat, MEMBERS)), canary=True).run(QUESTION).trace
    )
    assert trace.canary is not None
    assert {t.reviewer for t in trace.canary.trials} == {0, 1, 2} - {trace.canary.member}
