"""What pages say of a verdict: the choice, how sure, the votes, and if there is none, why."""

from __future__ import annotations

import re
from typing import Any

import pytest

import composite_lab as lab
from composite_lab.notebook import page
from composite_lab.trace.verdict import Verdict, Vote
from tests.conftest import SeatMaker
from tests.notebook.pages import Elements, call, trace


def told(**fields: Any) -> str:
    """The line of a verdict among the facts of a run, as a reader sees it."""
    shown = page.facts(trace(call(), **fields))
    found = re.search(r'<p class="cl-verdict">(.*?)</p>', shown)
    return Elements(found[1]).text if found else ""


def verdict(**fields: Any) -> Verdict:
    choices = ["yes"] * 7 + ["no"] * 2
    votes = [Vote(member=n, call_id="c", choice=choice, status="valid") for n, choice in enumerate(choices)]
    needed: dict[str, Any] = {
        "options": ["yes", "no", "it depends"], "choice": "yes", "confidence": 0.85, "status": "valid",
        "votes": votes,
    }  # fmt: skip
    return Verdict(**(needed | fields))


def lost(status: str, choice: str | None = None) -> Vote:
    return Vote(member=9, call_id="c", choice=choice, status=status)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (verdict(), "Verdict: yes · 85% sure · votes: 7 yes, 2 no, 0 it depends"),
        (
            verdict(options=["yes"], votes=[lost("abstained"), lost("invalid"), lost("valid", "maybe")]),
            "Verdict: yes · 85% sure · votes: 0 yes, 1 abstained, 2 unreadable",
        ),
        (
            verdict(status="repaired", problem="there is no line", votes=[]),
            "Verdict: yes · 85% sure · asked again: there is no line",
        ),
        (
            verdict(status="failed", votes=[]),
            "Verdict: yes · 85% sure · the chairman failed: this is the choice in the opinion in its place",
        ),
        (
            verdict(choice=None, confidence=None, status="invalid", problem="no confidence", votes=[]),
            "Verdict: none · no choice could be read: no confidence",
        ),
        (
            verdict(choice=None, confidence=None, status="abstained", problem="it abstains"),
            "Verdict: none · the chairman abstained · votes: 7 yes, 2 no, 0 it depends",
        ),
        (
            verdict(choice=None, confidence=None, status="failed", problem="no line", votes=[]),
            "Verdict: none · the chairman failed, and in the opinion in its place no choice could be read: "
            "no line",
        ),
        (
            verdict(options=[f"o{n}" for n in range(9)], votes=[lost("valid", "o7")]),
            "Verdict: yes · 85% sure · votes: 1 o7",
        ),
    ],
)  # fmt: skip
def test_a_verdict_is_a_line_with_choice_confidence_votes_and_what_went_wrong(
    given: Verdict, line: str
) -> None:
    assert told(verdict=given) == line


def test_a_run_that_ended_before_its_verdict_says_so_and_others_have_no_line() -> None:
    asked = {"config": {"verdict": ["yes", "no"]}, "status": "cancelled"}
    assert told(**asked) == "Verdict: none · the run ended before the chairman gave one"
    assert told(config={"verdict": []}) == ""
    assert told() == ""


def test_the_votes_stand_below_the_answer_with_the_names_of_the_members() -> None:
    votes = [
        Vote(member=0, call_id="a", choice="yes", confidence=0.7, status="valid"),
        Vote(member=1, call_id="b", status="invalid", problem="there is <no> line"),
    ]
    run = trace(
        call("a", seat_name="ann"), call("b", seat=1, seat_name="ben"), text="the answer",
        verdict=verdict(votes=votes),
    )  # fmt: skip
    shown = page.trace_page(run)
    cells = [re.sub("<.*?>", "", cell) for cell in re.findall(r"<td>(.*?)</td>", page.votes_of(run))]
    assert cells == [
        "member 1 · ann", "yes", "70%", "valid",
        "member 2 · ben", "none", "", "invalid there is &lt;no&gt; line",
    ]  # fmt: skip
    assert shown.index("the answer") < shown.index("Votes (2)") < shown.index('class="cl-stage"')
    assert page.votes_of(trace(call(), verdict=verdict(votes=[]))) == ""


def test_a_real_council_shows_its_scores_and_its_verdict(seat: SeatMaker) -> None:
    council = lab.Council(
        chairman=seat("chair+bad_verdict+times=1"), members=[seat(f"m{n}") for n in range(3)],
        rubric=["correct", "clear"], verdict=["yes", "no"],
    )  # fmt: skip
    run = council.run("Is the sky dark at night?").trace
    assert run.verdict is not None
    shown = Elements(page.trace_page(run)).text
    assert f"Verdict: {run.verdict.choice} · {run.verdict.confidence:.0%} sure · votes: " in shown
    assert "asked again: there is no line" in shown
    assert "from 1 (worst) to 10 (best)" in shown
    assert "score (mean_score)" in shown
    for ballot in run.ballots:
        for mean in ballot.member_scores().values():
            assert f"{mean:.1f}" in shown
