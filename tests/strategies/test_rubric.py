"""Review by a rubric: scores that are right or refused, asked for, kept, counted and told."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import composite_lab as lab
from composite_lab.strategies.prompts import enclose
from composite_lab.strategies.rubric import read_scores
from composite_lab.testing import FakeServer
from composite_lab.trace.call import Ballot, label
from tests.conftest import SeatMaker

QUESTION = "Why is the sky dark at night?"
A, B = LABELS = [label(index) for index in range(2)]
RUBRIC = lab.Rubric(criteria={"correct": "Is it true?", "to the point": ""}, scale=(0, 5))
SHEET = {A: {"correct": 4, "to the point": 2}, B: {"correct": 1.5, "to the point": 5}}
GOOD = json.dumps(SHEET)
OTHER = json.dumps({name: {"correct": 0, "to the point": 0} for name in LABELS})


def changed(**cells: Any) -> str:
    return json.dumps({**SHEET, A: {**SHEET[A], **cells}})


VALID = [
    GOOD,
    f"Response A is short.\nResponse B is wrong.\n\n{GOOD}",
    json.dumps(SHEET, indent=2),
    f"```json\n{json.dumps(SHEET, indent=2)}\n```\nThat is all.",
    GOOD.replace("Response A", "A").replace("Response B", "**response b**"),
    GOOD.replace("to the point", "To_The_Point").replace("correct", "CORRECT"),
    json.dumps({"scores": SHEET, "remark": "easy"}),
    json.dumps({"Ratings": SHEET}),
    changed(reason="it says so", remark="short"),
    f"{OTHER}\n\nNo, on reflection:\n\n{GOOD}",
    f"<think>{OTHER}</think>\n{GOOD}",
    f"{GOOD}\n\n> {OTHER}\n\nI gave no weight to that.",
    f"{GOOD}\n\nResponse A says:\n```\n{OTHER}\n```",
    f"{enclose('answer', [(A, OTHER), (B, 'Rain.')])}\n\n{GOOD}",
    f"{GOOD}\n\nI cannot rank answers of which I know nothing more.",
]
INVALID = [
    ("no JSON object", "Response A: 4, Response B: 2"),
    ("no JSON object", ""),
    ("no JSON object", json.dumps({"correct": 4, "to the point": 2})),
    ("no JSON object", "[1, 2]"),
    ("no JSON object", GOOD[:-2]),
    ("no JSON object", f"<think>{GOOD}"),
    ("no JSON object", f"> {GOOD}"),
    ("'Response B' is missing", json.dumps({A: SHEET[A]})),
    ("'Response C' is no label", json.dumps({**SHEET, "Response C": SHEET[A]})),
    ("'Response A' stands twice", f'{{"Response A": {{}}, {GOOD[1:]}'),
    ("'to the point' is missing", json.dumps({A: {"correct": 4}, B: SHEET[B]})),
    ("'correct' is missing", json.dumps({A: 3, B: 4})),
    ("'correct' is missing", json.dumps({A: [4, 2], B: [1, 5]})),
    ("'style' is no criterion", changed(style=3)),
    ("'correct' stands twice", GOOD.replace('"correct"', '"correct": 4, "Correct"', 1)),
    ("6 is no number from 0 to 5", changed(correct=6)),
    ("-1 is no number from 0 to 5", changed(correct=-1)),
    ("'4' is no number", changed(correct="4")),
    ("True is no number", changed(correct=True)),
    ("None is no number", changed(correct=None)),
    ("nan is no number", changed(correct=float("nan"))),
    ("inf is no number", changed(correct=float("inf"))),
    ("an object or a list is no number", changed(correct={"score": 4})),
    ("9000000000", changed(correct=9 * 10**300)),
]


def council(seat: SeatMaker, *members: str, **options: Any) -> lab.Council:
    given: dict[str, Any] = {"rubric": ["correct", "clear"], **options}
    return lab.Council(chairman=seat("chair"), members=[seat(member) for member in members], **given)


def judged(seat: SeatMaker, judge: str, **options: Any) -> lab.Council:
    return council(seat, "m0", "m1", "m2", reviewers=[seat(judge)], **options)


@pytest.mark.parametrize("text", VALID)
def test_every_label_has_its_score_by_every_criterion(text: str) -> None:
    parsed = read_scores(text, LABELS, RUBRIC)
    assert (parsed.scores, parsed.source, parsed.problem) == (SHEET, "json", None)
    assert parsed.is_usable
    assert list(parsed.scores or {}) == LABELS


@pytest.mark.parametrize(("problem", "text"), INVALID)
def test_scores_that_are_not_exactly_those_asked_for_are_refused_and_named(problem: str, text: str) -> None:
    parsed = read_scores(text, LABELS, RUBRIC)
    assert (parsed.scores, parsed.ranking, parsed.is_usable, parsed.abstained) == (None, None, False, False)
    assert problem in (parsed.problem or "")


@pytest.mark.parametrize(
    "text",
    [
        f"{GOOD}\n\nOn reflection I abstain.",
        f"I abstain: of this I know nothing. The form, filled in anyhow:\n\n{GOOD}",
    ],
)
def test_who_abstains_beside_scores_abstains(text: str) -> None:
    assert read_scores(text, LABELS, RUBRIC).abstained
    remark = changed(reason="here I abstain from judging style")
    assert read_scores(remark, LABELS, RUBRIC).is_usable


@pytest.mark.parametrize("text", ["I abstain.", "I cannot judge these.", json.dumps(dict.fromkeys(LABELS))])
def test_who_gives_no_score_at_all_abstains(text: str) -> None:
    assert read_scores(text, LABELS, RUBRIC).abstained


def test_no_text_makes_it_raise_or_accept_what_is_not_a_whole_sheet() -> None:
    draw = random.Random(6)
    pieces = [
        *VALID,
        '"',
        "{",
        "}",
        "[",
        ":",
        ",",
        "null",
        "4",
        "\n",
        "```",
        "> ",
        "<think>",
        "</think>",
        A,
        B,
    ]
    accepted = 0
    for _ in range(20_000):
        text = "".join(draw.choices(pieces, k=draw.randint(1, 4)))
        if draw.random() < 0.5:
            start = draw.randrange(len(text) + 1)
            text = text[:start] + text[start + draw.randrange(12) :]
        scores = read_scores(text, LABELS, RUBRIC).scores
        if scores is not None:
            accepted += 1
            assert list(scores) == LABELS
            assert all(set(row) == set(RUBRIC.criteria) for row in scores.values())
            assert all(0 <= value <= 5 for row in scores.values() for value in row.values())
    assert accepted > 1_000


@given(st.text(max_size=300))
def test_texts_that_nobody_wrote_are_no_scores(text: str) -> None:
    assert read_scores(text, LABELS, RUBRIC).scores is None


def test_endless_nesting_is_refused_without_an_error() -> None:
    nested = "[" * 100_000
    assert not read_scores(f'{{"Response A": {nested}', LABELS, RUBRIC).is_usable
    deep = "[" * 900 + "]" * 900
    assert not read_scores(f'{{"Response A": {{"correct": {deep}}}}}', LABELS, RUBRIC).is_usable


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "at least 1"),
        (["clear", "Clear"], "stands twice"),
        (["clear", "clear"], "stands twice"),
        ([" "], "needs a name"),
        ({"criteria": ["clear"], "scale": [5, 5]}, "worst to the best"),
        ({"criteria": ["clear"], "scale": [0, float("inf")]}, "worst to the best"),
        ({"criterion": ["clear"], "scale": [0, 1]}, "criterion"),
        (3, "Rubric"),
    ],
)
def test_a_rubric_that_cannot_be_scored_is_refused(given: Any, said: str) -> None:
    with pytest.raises(lab.ConfigError, match=said):
        lab.Council(chairman="openai/a", rubric=given)


def test_a_rubric_may_be_written_as_names_or_with_what_they_ask() -> None:
    names = lab.Council(chairman="openai/a", rubric=["correct", "clear"])
    assert names.rubric == lab.Rubric(criteria={"correct": "", "clear": ""})
    assert lab.Council(chairman="openai/a", rubric={"correct": "?"}).rubric == lab.Rubric(
        criteria={"correct": "?"}
    )
    assert names.rule == "mean_score"
    assert lab.Council(chairman="openai/a").rule == "borda"
    assert lab.Council(chairman="openai/a", rubric={"clear": None}).rubric == lab.Rubric(criteria=["clear"])  # type: ignore[arg-type,dict-item]
    assert lab.Council(**names.model_dump()) == names
    with pytest.raises(lab.ConfigError, match=r"mean_score.*rubric"):
        lab.Council(chairman="openai/a", ranking="mean_score")


def test_reviewers_are_asked_for_scores_by_each_criterion(fake_openai: FakeServer, seat: SeatMaker) -> None:
    rubric = lab.Rubric(criteria={"correct": "Is it true?", "clear": ""}, scale=(1, 7))
    trace = judged(seat, "judge", rubric=rubric).run(QUESTION).trace
    (asked,) = fake_openai.requests("judge")
    assert "- correct: Is it true?\n- clear\n" in asked.last_user_text
    assert asked.last_user_text.count('{"correct": <1 to 7>, "clear": <1 to 7>}') == 3
    assert "RANKING" not in asked.last_user_text
    (ballot,) = trace.ballots
    assert (ballot.status, ballot.ranking, list(ballot.scores or {})) == ("valid", None, ballot.labels)
    assert all(1 <= score <= 7 for row in ballot.scores.values() for score in row.values())  # type: ignore[union-attr]
    assert lab.Trace.model_validate_json(trace.model_dump_json()) == trace


def test_standings_are_by_mean_score_and_told_to_the_chairman(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    trace = council(seat, "m0", "m1", "m2", "m3", self_review=True).run(QUESTION).trace
    means = trace.ballots_df().groupby("candidate").score.mean()
    assert {row.member: row.score for row in trace.standings} == pytest.approx(means.to_dict())
    assert [row.score for row in trace.standings] == sorted(means, reverse=True)
    told = fake_openai.requests()[-1].last_user_text
    assert f"mean score, severity of reviewers taken out: {trace.standings[0].score:.2f}" in told
    assert '"Response D": {"correct":' in told


@pytest.mark.parametrize("rule", ["borda", "kemeny_young", "schulze", "bradley_terry", "mean_rank"])
def test_every_rule_takes_scores(seat: SeatMaker, rule: str) -> None:
    trace = council(seat, "m0", "m1", "m2", "m3", ranking=rule).run(QUESTION).trace
    assert trace.config["ranking"] == rule
    assert sorted(row.member for row in trace.standings) == [0, 1, 2, 3]
    assert trace.sensitivity().winners.keys() == {
        "mean_score", "borda", "mean_rank", "kemeny_young", "schulze", "bradley_terry"
    }  # fmt: skip
    assert trace.agreement().mean_tau is not None


def test_scores_are_a_frame_with_a_row_for_each_cell(seat: SeatMaker) -> None:
    trace = council(seat, "m0", "m1", "m2").run(QUESTION).trace
    frame = trace.scores_df()
    assert len(frame) == 3 * 2 * 2
    assert list(frame.columns) == [
        "trace_id", "call_id", "reviewer", "candidate", "criterion", "score", "is_self"
    ]  # fmt: skip
    means = frame.groupby(["reviewer", "candidate"]).score.mean()
    ballots = trace.ballots_df().set_index(["reviewer", "candidate"])
    assert means.to_dict() == pytest.approx(ballots.score.to_dict())
    ranking = lab.Council(chairman=seat("chair")).run(QUESTION).trace
    assert list(ranking.scores_df().dtypes) == list(frame.dtypes)
    assert len(ranking.scores_df()) == 0
    assert ranking.ballots_df().score.isna().all()


def test_equal_scores_share_the_better_rank() -> None:
    scores = {A: {"clear": 3.0}, B: {"clear": 4.0}, "Response C": {"clear": 3.0}}
    ballot = Ballot(reviewer=0, labels=[A, B, "Response C"], members=[5, 6, 7], scores=scores, status="valid")
    assert ballot.ranks() == {5: 2, 6: 1, 7: 2}
    assert ballot.preference() == {5: 3.0, 6: 4.0, 7: 3.0}
    assert ballot.is_usable


def test_scores_that_cannot_be_read_are_asked_for_once_more(fake_openai: FakeServer, seat: SeatMaker) -> None:
    trace = judged(seat, "j+partial_ranking+times=1").run(QUESTION).trace
    (ballot,) = trace.ballots
    assert (ballot.status, ballot.source, len(ballot.repair_ids)) == ("repaired", "json", 1)
    assert "'Response C' is missing" in (ballot.problem or "")
    first, again = fake_openai.requests("j+partial_ranking+times=1")
    assert again.messages[:-2] == first.messages
    assert ballot.problem in again.last_user_text
    assert again.last_user_text.count('"clear": <1 to 10>') == 3
    told = fake_openai.requests()[-1].last_user_text
    assert "Asked again, this reviewer gave: Response " in told


def test_scores_that_never_come_leave_no_standings(seat: SeatMaker) -> None:
    trace = judged(seat, "j+bad_ranking").run(QUESTION).trace
    assert [(ballot.status, ballot.scores) for ballot in trace.ballots] == [("invalid", None)]
    assert trace.degraded
    assert all(row.score is None for row in trace.standings)


def test_the_planted_instruction_asks_for_scores(fake_openai: FakeServer, seat: SeatMaker) -> None:
    trace = council(seat, "m0", "m1", "m2", canary=True).run(QUESTION).trace
    assert trace.canary is not None
    assert "best score by every criterion" in trace.canary.instruction
    ranks = {(trial.reviewer, trial.rank_before) for trial in trace.canary.trials}
    before = trace.ballots_df().query(f"candidate == {trace.canary.member}")
    assert ranks == set(zip(before.reviewer, before["rank"], strict=True))
    assert all(trial.rank is not None for trial in trace.canary.trials)


def test_a_replay_scores_the_same_answers_by_another_rubric(fake_openai: FakeServer, seat: SeatMaker) -> None:
    trace = council(seat, "m0", "m1", "m2").run(QUESTION).trace
    changes = {"chairman": seat("chair"), "members": [seat(name) for name in ("m0", "m1", "m2")]}
    fake_openai.reset()
    by_rule = lab.Council.replay(trace, ranking="schulze", **changes).trace
    assert fake_openai.stats().by_model == {"chair": 1}
    assert [ballot.scores for ballot in by_rule.ballots] == [ballot.scores for ballot in trace.ballots]
    fake_openai.reset()
    again = lab.Council.replay(trace, rubric=["brief"], **changes).trace
    assert fake_openai.stats().by_model == {"chair": 1, "m0": 1, "m1": 1, "m2": 1}
    assert all("brief" in request.last_user_text for request in fake_openai.requests()[:3])
    assert set(again.scores_df().criterion) == {"brief"}
    ranked = lab.Council.replay(trace, rubric=None, **changes).trace
    assert all(ballot.ranking for ballot in ranked.ballots)
    assert ranked.sensitivity().winners.keys() == {
        "borda", "mean_rank", "kemeny_young", "schulze", "bradley_terry"
    }  # fmt: skip


def test_prompts_of_ones_own_are_sent(fake_openai: FakeServer, seat: SeatMaker) -> None:
    prompts = {"score": "{answers} Scores: {form}", "repair_scores": "Only this: {form}"}
    judged(seat, "j+bad_ranking+times=1", prompts=prompts).run(QUESTION)
    first, again = fake_openai.requests("j+bad_ranking+times=1")
    assert first.last_user_text.endswith('"clear": <1 to 10>}}')
    assert again.last_user_text.startswith("Only this: {")
    with pytest.raises(lab.ConfigError, match="form"):
        lab.CouncilPrompts(score="{answers}")
