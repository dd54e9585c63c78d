"""Ballots as a table of ranks or scores, what their caption claims, and how far the reviewers agree."""

from __future__ import annotations

import re
from typing import Any

import pytest

from composite_lab import Ballot, Standing
from composite_lab.notebook import page
from composite_lab.notebook.judgement import agreement, ranks
from tests.notebook.pages import HOSTILE, TAGS, Elements, call, trace

COUNCIL = {
    "ranking": "mean_score",
    "rubric": {"criteria": {"correct": "", "clear": ""}, "scale": [1, 10]},
}
UNSEEN = "No reviewer saw its own answer."
SEEN = "marks a reviewer's own answer, which it saw among the others"


def ranked(*ranking: str, **fields: Any) -> Ballot:
    needed: dict[str, Any] = {
        "reviewer": 0, "labels": ["A", "B", "C"], "members": [0, 1, 2], "ranking": list(ranking) or None,
        "status": "valid",
    }  # fmt: skip
    return Ballot(**(needed | fields))


def scored(*means: float, **fields: Any) -> Ballot:
    """A ballot by a rubric that gives A, B and C scores of these means."""
    scores = {
        shown: {"correct": mean - 1, "clear": mean + 1} for shown, mean in zip("ABC", means, strict=False)
    }
    return ranked(**({"scores": scores} | fields))


def rows(shown: str) -> list[list[tuple[str, str]]]:
    """The cells of each reviewer: their shade and what a reader sees in them."""
    return [
        [
            (shade, re.sub("<.*?>", "", cell))
            for shade, cell in re.findall(r'<td class="cl-rank cl-(own|shade--?\d+)">(.*?)</td>', row)
        ]
        for row in re.findall(r"<tr><th>reviewer .*?</tr>", shown)
    ]


def tables(shown: str) -> list[list[str]]:
    """The texts of the rows of each table below the one of the reviewers, headings first."""
    return [
        [" | ".join(re.findall(r"<t[hd]>(.*?)</t[hd]>", row)) for row in re.findall("<tr>.*?</tr>", found)]
        for found in re.findall('<table class="cl-table">.*?</table>', shown)
    ]


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
    assert rows(shown) == [
        [("own", "own"), ("shade-5", "1"), ("shade-0", "2")],
        [("shade-5", "1"), ("own", "own"), ("shade-0", "2")],
        [("own", "not ranked"), ("own", "not ranked"), ("own", "own")],
    ]
    assert "invalid" in shown
    assert "Standings" in shown
    assert "1 is best." in shown
    assert "score" not in Elements(shown).text


def test_the_ballots_of_a_run_name_its_reviewers() -> None:
    ballot = Ballot(reviewer=1, call_id="r", labels=["A"], members=[0], ranking=["A"], status="valid")
    run = trace(call("o", stage="opinions"), call("r", stage="review", seat=1, seat_name="<b>ben</b>"))
    shown = page.ballots_of(run.model_copy(update={"ballots": [ballot]}))
    assert "<th>reviewer 2<br><bdi>&lt;b&gt;ben&lt;/b&gt;</bdi></th>" in shown


# by a rubric


def test_a_ballot_by_a_rubric_shows_mean_scores_shaded_by_their_rank() -> None:
    shown = page.ballots([scored(9, 4.25, 9), ranked(reviewer=1, status="invalid")], [], config=COUNCIL)
    assert rows(shown)[0] == [("shade-5", "9.0"), ("shade-0", "4.25"), ("shade-5", "9.0")]
    assert rows(shown)[1] == [("own", "not scored")] * 3
    assert "mean scores over the criteria, from 1 (worst) to 10 (best); shades are ranks." in shown
    assert "1 is best" not in shown


@pytest.mark.parametrize(
    "config",
    [
        None, {}, {"rubric": None}, {"rubric": []}, {"rubric": {"scale": None}},
        {"rubric": {"scale": ["1", "2"]}}, {"rubric": {"scale": [1, 10**400]}}, {"rubric": {"scale": [1]}},
    ],
)  # fmt: skip
def test_a_scale_that_is_not_known_is_not_told(config: Any) -> None:
    assert "over the criteria, higher being better; shades" in page.ballots(
        [scored(1, 2, 3)], [], config=config
    )


def test_ranks_and_scores_in_one_table_are_told_apart() -> None:
    shown = page.ballots_page([scored(9, 8, 7), ranked("B", "A", "C", reviewer=1)])
    assert "Numbers with decimals are a reviewer's mean scores" in shown
    assert "Whole numbers are ranks: 1 is best." in shown


def test_below_the_table_stand_the_means_over_the_reviewers_by_criterion() -> None:
    one = ranked(reviewer=0, members=[2, 0, 1], scores={"A": {"correct": 4, "clear": 9}, "B": {"correct": 1}})
    other = ranked(reviewer=1, scores={"C": {"correct": 7, "<i>": 5}})
    criteria = tables(page.ballots([one, other], []))[0]
    assert criteria == [
        "answer | correct | clear | &lt;i&gt;",
        "Response A | 1.0 | no score | no score",
        "Response B | no score | no score | no score",
        "Response C | 5.5 | 9.0 | 5.0",
    ]
    assert "Scores by criterion" not in page.ballots_page([ranked("A", "B", "C")])


# whose answer


@pytest.mark.parametrize("ballot", [ranked("C", "B", "A", own=1), scored(1, 2, 3, own=1)])
def test_an_own_answer_that_its_reviewer_saw_is_marked_and_the_caption_does_not_deny_it(
    ballot: Ballot,
) -> None:
    shown = page.ballots_page([ballot, ranked(own=1, status="abstained")])
    marked = [[cell.endswith(" (own)") for _, cell in cells] for cells in rows(shown)]
    assert sum(map(sum, marked)) == 2
    assert rows(shown)[0][1] == ("shade-2", "2 (own)" if ballot.scores is None else "2.0 (own)")
    assert SEEN in shown
    assert UNSEEN not in shown


def test_that_nobody_saw_its_own_answer_is_said_only_where_it_is_known() -> None:
    hidden = ranked("A", "B", own=2, labels=["A", "B"], members=[0, 1])
    shown = page.ballots_page([hidden, ranked("A", "B", "C", reviewer=5)])
    assert UNSEEN in shown
    assert rows(shown)[0][2] == ("own", "own")
    # A reviewer from outside has no answer, and an older ballot does not say whose is whose.
    unknown = page.ballots_page([ranked("A", "B", "C")])
    assert UNSEEN not in unknown
    assert SEEN not in unknown


# what went wrong


def test_why_a_ballot_was_not_accepted_stands_beside_its_status() -> None:
    labels = ["Response A", "Response B"]
    why = "the label 'Response A' is missing <b>"
    shown = page.ballots_page(
        [
            Ballot(reviewer=0, labels=labels, members=[4, 1], status="invalid", problem=why),
            ranked("A", "B", "C", reviewer=1, status="repaired", problem="x" * 10_000),
            ranked(reviewer=2, status="abstained", problem="the reviewer abstains\n\x1b[2J"),
        ]
    )
    told = re.findall(r"</span><br>.*?<bdi>(.*?)</bdi>", shown)
    # In the labels of the table's head: what this reviewer saw as A is E for everybody.
    assert told[0] == "the label &#x27;Response E&#x27; is missing &lt;b&gt;"
    assert told[1] == "x" * 119 + "…"
    assert told[2] == "the reviewer abstains ␛[2J"


NAN = float("nan")
BROKEN = {
    "more labels than members": {"members": [0]},
    "a label twice": {"labels": ["A", "A", "C"], "ranking": ["A", "A", "C"]},
    "a member twice": {"members": [1, 1, 2], "ranking": ["A", "B", "C"]},
    "an unknown label": {"ranking": ["X", "Y", "Z"], "labels": [HOSTILE, "B", "C"]},
    "a label ranked twice": {"ranking": ["A", "A", "A", "B", "C"]},
    "scores of an unknown label": {"scores": {HOSTILE: {"correct": 1}, "B": {"correct": 2}}},
    "no criteria": {"scores": {"A": {}, "B": {HOSTILE: 2}, "C": {}}},
    "no scores": {"scores": {}},
    "scores that are no numbers": {"scores": {"A": {"c": NAN, "d": 1}, "B": {"c": float("inf")}}},
    "scores without a sum": {"scores": {"A": {"c": 1.7e308, "d": 1.7e308}, "B": {"c": 1}}},
    "no labels": {"labels": [], "members": []},
    "labels that relabelling cannot take": {"labels": ["Response (", "", "C"], "problem": "Response ("},
    "an own answer that is nobody's": {"own": -3, "ranking": ["A", "B", "C"]},
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_ballot_that_a_file_made_up_is_shown_as_far_as_it_goes(name: str) -> None:
    broken = ranked(**BROKEN[name])
    for ballots in ([broken], [broken, ranked("A", "B", "C", reviewer=1)], [scored(1, 2, 3), broken]):
        shown = page.ballots_page(ballots)
        assert set(Elements(shown).tags) <= TAGS
        assert len(rows(shown)) == len(ballots)
        assert {shade for cells in rows(shown) for shade, _ in cells} <= {
            "own",
            *(f"shade-{n}" for n in range(6)),
        }
    run = trace(ballots=[broken], config={"ranking": "mean_score", "rubric": 5})
    assert set(Elements(page.trace_page(run)).tags) <= TAGS


def test_scores_beside_what_is_no_number_are_still_shown() -> None:
    broken = ranked(scores={"A": {"c": NAN, "d": 3}, "B": {"c": 4}, "nobody": {"c": 9}})
    shown = page.ballots_page([broken])
    assert rows(shown)[0] == [("shade-0", "3.0"), ("shade-5", "4.0"), ("own", "not scored")]
    assert '<p class="cl-label">Standings' not in shown, "no standings are made of it"


# agreement


def test_agreement_is_the_share_of_pairs_in_the_same_order() -> None:
    assert agreement([ranked("A", "B", "C")] * 2) == 1.0
    assert agreement([ranked("A", "B", "C"), ranked("C", "B", "A")]) == 0.0
    assert agreement([ranked("A", "B", "C"), ranked("A", "C", "B")]) == pytest.approx(2 / 3)
    assert agreement([ranked("A", "B", "C")]) is None


def test_pairs_on_a_level_count_neither_for_nor_against_agreement() -> None:
    assert agreement([scored(9, 5, 1), scored(8, 7, 6)]) == 1.0
    assert agreement([scored(9, 5, 1), ranked("C", "B", "A")]) == 0.0
    # A and B are level for the second reviewer, the pairs with C in the same order for both.
    assert agreement([scored(9, 5, 1), scored(7, 7, 6)]) == 1.0
    assert agreement([scored(9, 5, 1), scored(5, 5, 9)]) == 0.0
    assert agreement([scored(9, 5, 1), scored(5, 5, 5)]) is None
    assert agreement([scored(5, 5, 5)] * 2) is None
    assert agreement([scored(NAN, 5, 1), scored(7, 6, 5)]) is None
    level = page.ballots_page([scored(9, 5, 1), scored(7, 7, 6)])
    assert "in 100% of the cases in which neither put them on a level (chance: 50%)" in level
    assert "in 100% of the cases (chance: 50%)" in page.ballots_page([scored(9, 5, 1)] * 2)


@pytest.mark.parametrize("means", [(9, 5, 1), (5, 5, 5), (1, 9, 9), (9, 9, 1)])
def test_ranks_are_those_of_the_ballot(means: tuple[float, ...]) -> None:
    ballot = scored(*means)
    assert ranks(ballot) == ballot.ranks()


# standings


def standing(**fields: Any) -> Standing:
    needed: dict[str, Any] = {
        "member": 0, "label": "Response A", "place": 1, "borda": 1.0, "mean_rank": 1.0, "ballots": 2,
        "score": 7.125,
    }  # fmt: skip
    return Standing(**(needed | fields))


@pytest.mark.parametrize(
    ("config", "heading"),
    [
        (COUNCIL, "score (mean_score)"),
        ({"ranking": "schulze"}, "score (schulze)"),
        ({"ranking": "borda", "reviewer_weights": [1, 2]}, "score (borda, reviewers weighted)"),
        ({"ranking": "<b>"}, "score (&lt;b&gt;)"),
    ],
)
def test_standings_have_the_score_of_the_rule_that_made_them(config: dict[str, Any], heading: str) -> None:
    found = [standing(), standing(member=1, label="Response B", place=2, score=None)]
    told = tables(page.ballots([ranked("A", "B", "C")], found, config=config))[0]
    assert told[0] == f"place | answer | {heading} | beat | mean rank | ballots"
    assert told[1] == "1 | <bdi>Response A</bdi> | 7.12 | 100% of its rivals | 1.00 | 2"
    assert told[2].split(" | ")[2] == "not ranked"


@pytest.mark.parametrize("config", [None, {}, {"ranking": "borda"}, {"ranking": "schulze"}])
def test_standings_by_the_usual_rule_or_of_older_runs_have_no_second_score(config: Any) -> None:
    found = standing() if config != {"ranking": "schulze"} else standing(score=None)
    told = tables(page.ballots([ranked("A", "B", "C")], [found], config=config))[0]
    assert told[0] == "place | answer | beat | mean rank | ballots"


def test_ballots_of_scores_alone_have_standings_by_the_mean_score() -> None:
    # The second reviewer is stricter by 4 and saw no A, so that A is not first for its mild reviewer alone.
    shown = page.ballots_page([scored(8, 9, 7), ranked(reviewer=1, scores={"B": {"c": 5}, "C": {"c": 3}})])
    told = tables(shown)[-1]
    assert told[0].split(" | ")[2] == "score (mean_score)"
    assert [line.split(" | ")[1:3] for line in told[1:]] == [
        ["<bdi>Response B</bdi>", "7.0"], ["<bdi>Response A</bdi>", "6.0"], ["<bdi>Response C</bdi>", "5.0"]
    ]  # fmt: skip
    assert "had all reviewers scored all answers" in shown
    mixed = page.ballots_page([scored(8, 9, 7), ranked("A", "B", "C")])
    assert "score (" not in mixed
