"""Ballots as a table of ranks, and how far the reviewers agree."""

from __future__ import annotations

import re

import pytest

from composite_lab import Ballot
from composite_lab.notebook import page
from composite_lab.notebook.ballots_page import agreement
from tests.notebook.pages import call, trace


def test_ballots_are_a_table_of_ranks_shaded_by_rank() -> None:
    ballots = [
        Ballot(reviewer=0, labels=["A", "B"], members=[2, 1], ranking=["B", "A"], status="valid"),
        Ballot(reviewer=1, labels=["A", "B"], members=[0, 2], ranking=["A", "B"], status="valid"),
        Ballot(reviewer=2, labels=["A", "B"], members=[0, 1], ranking=None, status="invalid"),
    ]
    shown = page.ballots_page(ballots)
    head = re.search(r"<thead><tr>(.*?)</tr>", shown)
    assert head is not None
    # Response C was last on both of its ballots.
    assert re.findall(r"Response \w", head[1]) == ["Response A", "Response B", "Response C"]
    rows = [
        re.findall(r'cl-(own|shade-\d)">([\w ]+)</td>', row)
        for row in re.findall(r"<tr><th>reviewer \d.*?</tr>", shown)
    ]
    assert rows[0] == [("own", "own"), ("shade-5", "1"), ("shade-0", "2")]
    assert rows[1] == [("shade-5", "1"), ("own", "own"), ("shade-0", "2")]
    assert rows[2] == [("own", "not ranked"), ("own", "not ranked"), ("own", "own")]
    assert "invalid" in shown
    assert "Standings" in shown


def test_the_ballots_of_a_run_name_its_reviewers() -> None:
    ballot = Ballot(reviewer=1, call_id="r", labels=["A"], members=[0], ranking=["A"], status="valid")
    run = trace(call("o", stage="opinions"), call("r", stage="review", seat=1, seat_name="<b>ben</b>"))
    shown = page.ballots_of(run.model_copy(update={"ballots": [ballot]}))
    assert "<th>reviewer 2<br><bdi>&lt;b&gt;ben&lt;/b&gt;</bdi></th>" in shown


def test_agreement_is_the_share_of_pairs_in_the_same_order() -> None:
    def ballot(*ranking: str) -> Ballot:
        return Ballot(
            reviewer=0, labels=["A", "B", "C"], members=[0, 1, 2], ranking=list(ranking), status="valid"
        )

    assert agreement([ballot("A", "B", "C")] * 2) == 1.0
    assert agreement([ballot("A", "B", "C"), ballot("C", "B", "A")]) == 0.0
    assert agreement([ballot("A", "B", "C"), ballot("A", "C", "B")]) == pytest.approx(2 / 3)
    assert agreement([ballot("A", "B", "C")]) is None
