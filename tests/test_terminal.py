"""What a terminal shows of a run: its totals, its verdict, and the numbers behind the standings."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from composite_lab import Standing, Trace, terminal
from composite_lab.trace.verdict import Verdict, Vote
from tests.notebook.pages import call, trace

VERDICT = Verdict(
    options=["yes", "no"],
    choice="yes",
    confidence=0.85,
    status="valid",
    votes=[Vote(member=seat, call_id="c", choice="yes", status="valid") for seat in range(7)],
)


def printed(*shown: Any) -> list[str]:
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(*shown, sep="\n")
    return captured.get().splitlines()


def test_the_verdict_stands_below_the_totals() -> None:
    totals, verdict = printed(terminal.headline(trace(call(), verdict=VERDICT)))
    assert totals.startswith("moa ok: 1 call")
    assert verdict == "Verdict: yes · 85% sure · votes: 7 yes, 0 no"


def test_without_a_verdict_there_is_one_line_and_why_where_one_was_asked_for() -> None:
    assert len(printed(terminal.headline(trace(call())))) == 1
    abstained = Verdict(options=["yes", "no"], status="abstained", problem="it abstains")
    assert printed(terminal.headline(trace(verdict=abstained)))[1] == "Verdict: none · the chairman abstained"


def test_a_verdict_from_a_file_does_nothing_to_the_terminal() -> None:
    evil = Verdict(
        options=["\x1b[2J", "[bold]"], choice="\x1b[2J\n", status="repaired", problem="\x1b]0;x\x07"
    )
    lines = printed(terminal.headline(trace(verdict=evil)))
    assert lines[1] == "Verdict: ␛[2J · asked again: ␛]0;x␇"
    assert "\x1b" not in "".join(lines)


def reviewed(config: dict[str, Any], score: float | None = 7.125) -> Trace:
    standing = Standing(
        member=2, label="Response C", place=1, borda=1.0, mean_rank=1.0, ballots=2, score=score
    )
    return trace(strategy="council", standings=[standing], config=config)


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (reviewed({"ranking": "mean_score"}), ", mean_score 7.12"),
        (reviewed({"ranking": "borda", "reviewer_weights": [2, 1]}), ", borda (reviewers weighted) 7.12"),
        (reviewed({"ranking": "borda"}), ""),
        (reviewed({}), ""),
        (reviewed({"ranking": "schulze"}, score=None), ""),
        (reviewed({"ranking": "\x1b[2J"}), ", '\\x1b[2J' 7.12"),
    ],
)
def test_standings_have_the_score_of_the_rule_that_made_them(run: Trace, told: str) -> None:
    lines = printed(*terminal.stages(run))
    assert lines == ["Standings", f"  1. Response C (member 3): beat 100% of its rivals{told}"]
