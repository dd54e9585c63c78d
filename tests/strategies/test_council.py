"""The Council over HTTP: three stages, blind reviews, honest degradation."""

from __future__ import annotations

import re

import pytest

import composite_lab as lab
from composite_lab.testing import FakeServer, RecordedRequest
from composite_lab.trace.call import label
from tests.conftest import SeatMaker

QUESTION = "Why is the sky dark at night?"
BLOCK = re.compile(r'<(answer|review)-([0-9a-f]+) label="([^"]*)">\n(.*?)\n</\1-\2>', re.DOTALL)


def council(seat: SeatMaker, *members: str, **options: object) -> lab.Council:
    return lab.Council(chairman=seat("chair"), members=[seat(member) for member in members], **options)  # type: ignore[arg-type]


def blocks(request: RecordedRequest, kind: str) -> dict[str, str]:
    return {found[3]: found[4] for found in BLOCK.finditer(request.last_user_text) if found[1] == kind}


def reviews_of(server: FakeServer) -> list[RecordedRequest]:
    return [
        request for request in server.requests() if "FINAL RANKING" in BLOCK.sub("", request.last_user_text)
    ]


def test_n_members_make_2n_plus_1_calls_in_three_stages(fake_openai: FakeServer, seat: SeatMaker) -> None:
    trace = council(seat, "m0", "m1", "m2", "m3").run(QUESTION).trace
    assert fake_openai.stats().total == 9
    stages = [call.stage for call in trace.calls]
    assert stages == ["opinions"] * 4 + ["review"] * 4 + ["synthesis"]
    assert [call.role for call in trace.calls] == ["member"] * 4 + ["reviewer"] * 4 + ["chairman"]


def test_each_stage_runs_concurrently(fake_openai: FakeServer, seat: SeatMaker) -> None:
    council(seat, *(f"m{n}+latency=0.4" for n in range(4))).run(QUESTION)
    arrivals = [request.in_flight for request in fake_openai.requests()]
    assert max(arrivals[:4]) == max(arrivals[4:8]) == 4


def test_reviewers_see_neither_names_nor_their_own_answer(fake_openai: FakeServer, seat: SeatMaker) -> None:
    panel = council(seat, "m0+text=zero", "m1+text=one", "m2+text=two", "m3+text=three", repairs=0)
    trace = panel.run(QUESTION).trace
    own = dict(zip(("m0", "m1", "m2", "m3"), ("zero", "one", "two", "three"), strict=True))
    assert len(reviews_of(fake_openai)) == 4
    for request in reviews_of(fake_openai):
        name = request.model.partition("+")[0]
        shown = blocks(request, "answer")
        assert sorted(shown) == ["Response A", "Response B", "Response C"]
        assert sorted(shown.values()) == sorted(text for member, text in own.items() if member != name)
        assert not re.search(r"\bm[0-3]\b|openai", request.last_user_text)
    assert {tuple(ballot.members) for ballot in trace.ballots if ballot.reviewer in ballot.members} == set()


def test_every_label_on_a_ballot_stands_for_the_text_that_was_shown_under_it(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    trace = council(seat, "m0", "m1", "m2", "m3").run(QUESTION).trace
    opinions = {call.seat: call.text for call in trace.calls if call.stage == "opinions"}
    reviews = {call.call_id: call for call in trace.calls if call.stage == "review"}
    for ballot in trace.ballots:
        prompt = reviews[ballot.call_id].messages[-1]["content"]
        shown = {found[3]: found[4] for found in BLOCK.finditer(prompt)}
        assert shown == {
            name: opinions[member] for name, member in zip(ballot.labels, ballot.members, strict=True)
        }


def test_the_order_shown_is_shuffled_per_reviewer_from_the_seed(seat: SeatMaker) -> None:
    members = [f"m{n}" for n in range(6)]
    orders = [
        [ballot.members for ballot in council(seat, *members, shuffle_seed=seed).run(QUESTION).trace.ballots]
        for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]
    relative = [[m for m in order if m not in (0, 1)] for order in orders[0][:2]]
    assert relative[0] != relative[1], "two reviewers saw the common candidates in one order"


def test_labels_mean_the_same_in_every_review_that_the_chairman_reads(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    trace = council(seat, "m0", "m1", "m2", "m3").run(QUESTION).trace
    chair = fake_openai.requests()[-1]
    opinions = {call.seat: call.text for call in trace.calls if call.stage == "opinions"}
    assert blocks(chair, "answer") == {label(member): text for member, text in opinions.items()}
    for ballot in trace.ballots:
        told = blocks(chair, "review")[f"Reviewer {ballot.reviewer + 1}"]
        ranking = re.findall(r"^\d\. (.+)$", told.partition("FINAL RANKING:")[2], re.MULTILINE)
        assert ranking == [label(member) for member in ballot.ranked_members()]


def test_the_reasoning_tells_all_reviews_in_the_labels_of_the_standings(seat: SeatMaker) -> None:
    trace = council(seat, "m0", "m1", "m2", "m3", reasoning="full").run(QUESTION).trace
    told = trace.reasoning.partition("## Review")[2].split("### reviewer")[1:]
    for ballot, text in zip(trace.ballots, told, strict=True):
        ranking = re.findall(r"^> \d\. (.+)$", text.partition("> FINAL RANKING:")[2], re.MULTILINE)
        assert ranking == [label(member) for member in ballot.ranked_members()]


def test_standings_follow_the_ballots_and_reach_the_chairman(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    trace = council(seat, "m0", "m1", "m2", "m3").run(QUESTION).trace
    assert {ballot.status for ballot in trace.ballots} == {"valid"}
    assert sorted(standing.member for standing in trace.standings) == [0, 1, 2, 3]
    assert [standing.place for standing in trace.standings] == sorted(
        standing.place for standing in trace.standings
    )
    assert f"1. {trace.standings[0].label}: beat" in fake_openai.requests()[-1].last_user_text


def test_without_members_the_chairmans_model_sits_three_times(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    trace = lab.Council(chairman=seat("chair")).run(QUESTION).trace
    assert fake_openai.stats().by_model == {"chair": 7}
    assert [call.seat for call in trace.calls if call.stage == "opinions"] == [0, 1, 2]


def test_reviewers_of_their_own_see_all_answers_but_their_own(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    trace = council(seat, "m0", "m1", "m2", reviewers=[seat("judge"), seat("m1")]).run(QUESTION).trace
    seen = [(ballot.reviewer, sorted(ballot.members)) for ballot in trace.ballots]
    assert seen == [(0, [0, 1, 2]), (1, [0, 2])]
    assert [request.model for request in reviews_of(fake_openai)].count("judge") == 1


def test_a_failed_member_is_left_out_of_answers_and_reviews(fake_openai: FakeServer, seat: SeatMaker) -> None:
    trace = council(seat, "m0", "m1+status=400", "m2", "m3").run(QUESTION).trace
    assert trace.status == "ok"
    assert [ballot.reviewer for ballot in trace.ballots] == [0, 2, 3]
    assert fake_openai.stats().by_model["m1+status=400"] == 1
    told = blocks(fake_openai.requests()[-1], "answer")
    assert sorted(told) == ["Response A", "Response C", "Response D"]
    assert trace.notes == ["3 of 4 members answered: 2 (openai/m1+status=400): BadRequestError"]


def test_with_one_opinion_left_the_review_is_skipped_and_the_trace_says_so(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    result = council(seat, "m0", "m1+status=400", "m2+status=404").run(QUESTION)
    assert result.text
    assert [call.stage for call in result.trace.calls] == ["opinions"] * 3 + ["synthesis"]
    assert result.trace.degraded
    assert [note.partition(":")[0] for note in result.trace.notes] == [
        "1 of 3 members answered",
        "only one opinion came, so there was nothing to review",
    ]


def test_with_no_opinion_left_the_run_fails_naming_every_cause(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    with pytest.raises(lab.QuorumError, match="0 of 2 members answered") as caught:
        council(seat, "m0+status=400", "m1+status=404").run(QUESTION)
    assert "BadRequestError" in str(caught.value)
    assert "NotFoundError" in str(caught.value)
    assert len(caught.value.trace.calls) == 2


def test_a_quorum_of_members_can_be_asked_for(seat: SeatMaker) -> None:
    with pytest.raises(lab.QuorumError, match="2 of 3 members answered and 3 are needed"):
        council(seat, "m0", "m1", "m2+status=400", min_members=3).run(QUESTION)


def test_a_review_without_a_usable_ranking_is_no_ballot_but_is_still_read(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    trace = council(seat, "m0", "m1", "m2+bad_ranking").run(QUESTION).trace
    assert [ballot.status for ballot in trace.ballots] == ["valid", "valid", "invalid"]
    assert trace.ballots[2].ranking is None
    assert [standing.ballots for standing in sorted(trace.standings, key=lambda s: s.member)] == [1, 1, 2]
    assert "Reviewer 3" in blocks(fake_openai.requests()[-1], "review")


def test_without_any_usable_ranking_the_trace_is_degraded(seat: SeatMaker) -> None:
    trace = council(seat, "m0+bad_ranking", "m1+partial_ranking", "m2+bad_ranking").run(QUESTION).trace
    assert trace.degraded
    assert "no reviewer gave a usable ballot" in trace.notes[0]


def test_a_usable_ballot_without_weight_makes_no_standings(seat: SeatMaker) -> None:
    vague = [seat(f"{name}+bad_ranking") for name in ("m1", "m2")]
    panel = lab.Council(chairman=seat("chair"), members=[seat("m0"), *vague], reviewer_weights=[0, 1, 1])
    trace = panel.run(QUESTION).trace
    assert [ballot.is_usable for ballot in trace.ballots] == [True, False, False]
    assert trace.degraded
    assert "no reviewer of any weight gave a usable ballot" in trace.notes[0]


def test_a_failed_chairman_can_be_stood_in_for_by_the_top_ranked_answer(seat: SeatMaker) -> None:
    panel = lab.Council(
        chairman=seat("chair+status=400"), members=[seat(f"m{n}") for n in range(4)], on_final_failure="best"
    )
    result = panel.run(QUESTION)
    best = result.trace.standings[0].member
    assert result.text == next(c.text for c in result.trace.calls if (c.stage, c.seat) == ("opinions", best))
    assert result.trace.degraded


def test_the_whole_conversation_reaches_every_stage(fake_openai: FakeServer, seat: SeatMaker) -> None:
    conversation = [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello to you."},
        {"role": "user", "content": QUESTION},
    ]
    council(seat, "m0", "m1").run(conversation)
    for request in fake_openai.requests():
        assert request.messages[:3] == conversation[:3]
        assert [message["role"] for message in request.messages] == ["system", "user", "assistant", "user"]
        assert request.texts[3].partition("\n\n")[0] == QUESTION


def test_simulated_models_of_known_accuracy_give_a_checkable_answer(seat: SeatMaker) -> None:
    from composite_lab.testing import load_questions

    question = load_questions()[0]
    panel = lab.Council(
        chairman=seat("chair+accuracy=1"), members=[seat(f"m{n}+accuracy=1") for n in range(3)]
    )
    assert panel.run(question.prompt).text.endswith(f"Answer: {question.target}")
