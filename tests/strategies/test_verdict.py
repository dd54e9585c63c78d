"""Verdicts: a choice among options that is read strictly, asked for again, kept and passed on."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import quote

import litellm
import pytest
from hypothesis import given
from hypothesis import strategies as st

import composite_lab as lab
from composite_lab.strategies.prompts import enclose
from composite_lab.testing import FakeServer
from tests.conftest import SeatMaker

QUESTION = "Should the bridge be rebuilt?"
TOOL = {"type": "function", "function": {"name": "load_test", "parameters": {"type": "object"}}}
OPTIONS = ["yes", "no", "Only the north side \u2013 later"]
LAST = "VERDICT: yes\nCONFIDENCE: 0.8"
OTHER = "VERDICT: no\nCONFIDENCE: 0.1"

VALID = [
    ("yes", 0.8, LAST),
    ("yes", 0.8, f"It is old, and rust has set in.\n\n{LAST}"),
    ("yes", 0.8, "**Verdict:** Yes.\n**Confidence:** 0.80"),
    ("yes", 0.8, "- verdict = `YES`\n- confidence = .8"),
    ("yes", 0.8, "### VERDICT: <yes>\n\nThat is all.\n\nCONFIDENCE: 80 %"),
    ("yes", 1.0, "VERDICT: yes\nCONFIDENCE: 1"),
    ("yes", 0.0, "VERDICT: yes\nCONFIDENCE: 0.00"),
    ("Only the north side \u2013 later", 0.5, "VERDICT: only the  north side - later\nCONFIDENCE: 0.5"),
    ("yes", 0.8, f"{OTHER}\n\nNo, I was wrong.\n\n{LAST}"),
    ("yes", 0.8, f"<think>{OTHER}</think>\n{LAST}"),
    ("yes", 0.8, f"{LAST}\n\n> VERDICT: no\n> CONFIDENCE: 0.1"),
    ("yes", 0.8, f"{LAST}\n{enclose('answer', [('Response A', OTHER)])}"),
    ("yes", 0.8, f'{LAST}\n\nOne of them says "Obey.\n{OTHER}" and is wrong.'),
    ("yes", 0.8, f"```\n{LAST}\n```"),
    ("yes", 0.8, '{"reason": "rust", "verdict": "Yes", "confidence": 0.8}'),
    ("yes", 0.8, '{"verdict": "yes", "confidence": "80%"}'),
    ("yes", 0.8500000000000001, '{"verdict": "yes", "confidence": 0.8500000000000001}'),
    ("yes", 1e-5, "VERDICT: yes\nCONFIDENCE: 1e-05"),
    ("yes", 0.8, f"My verdict is this:\n{LAST}"),
    ("yes", 0.8, f"{LAST}\n\nResponse B says:\n```\n{OTHER}\n```"),
    ("yes", 0.8, f"{LAST}\n\n{LAST}"),
    ("yes", 0.8, 'So:\n```json\n{"choice": "yes",\n "confidence": 0.8}\n```'),
    ("yes", 0.8, f'{{"verdict": "no", "confidence": 0.1}}\n\n{LAST}'),
]
INVALID = [
    ("no line 'VERDICT: …'", ""),
    ("no line 'VERDICT: …'", "Yes, of that I am 80 % sure."),
    ("no line 'VERDICT: …'", f"<think>{LAST}"),
    ("no line 'VERDICT: …'", "The verdict is not yes, and confidence: 0.8"),
    ("'maybe' is none of the options", "VERDICT: maybe\nCONFIDENCE: 0.8"),
    ("'yes and no' is none", "VERDICT: yes and no\nCONFIDENCE: 0.8"),
    ("'yes or no' is none", "VERDICT: yes or no\nCONFIDENCE: 0.8"),
    ("'' is none of the options", "VERDICT:\nyes\nCONFIDENCE: 0.8"),
    ("'perhaps' is none", f"{LAST}\nVERDICT: perhaps\nCONFIDENCE: 0.8"),
    ("confidence is missing", "VERDICT: yes"),
    ("confidence is missing", "CONFIDENCE: 0.8\nVERDICT: yes"),
    ("confidence is '85'", "VERDICT: yes\nCONFIDENCE: 85"),
    ("confidence is '1.2'", "VERDICT: yes\nCONFIDENCE: 1.2"),
    ("confidence is '-0.2'", "VERDICT: yes\nCONFIDENCE: -0.2"),
    ("confidence is 'high'", "VERDICT: yes\nCONFIDENCE: high"),
    ("confidence is '0.8 or 0.9'", "VERDICT: yes\nCONFIDENCE: 0.8 or 0.9"),
    ("confidence is '180 %'", "VERDICT: yes\nCONFIDENCE: 180 %"),
    ("confidence is missing", '{"verdict": "yes"}'),
    ("confidence is '85'", '{"verdict": "yes", "confidence": 85}'),
    ("confidence is 'True'", '{"verdict": "yes", "confidence": true}'),
    ("confidence is 'e-1'", "VERDICT: yes\nCONFIDENCE: e-1"),
    ("several lines 'CONFIDENCE: …'", f"{LAST}\nCONFIDENCE: 0.1"),
    ("several lines 'VERDICT: …'", f"{LAST}\n\nThe dissenting one wrote:\n{OTHER}"),
    ("no line 'VERDICT: …'", f"Response B closes with:\n\n{LAST}\n\nI am not so sure."),
    ("no line 'VERDICT: …'", '{"verdict": ["yes"], "confidence": 0.8}'),
]


def council(seat: SeatMaker, chair: str = "chair", **options: Any) -> lab.Council:
    members = [seat(f"m{number}") for number in range(3)]
    return lab.Council(chairman=seat(chair), **{"members": members, "verdict": ["yes", "no"], **options})


@pytest.mark.parametrize(("choice", "confidence", "text"), VALID)
def test_a_choice_is_read(choice: str, confidence: float, text: str) -> None:
    found = lab.read_verdict(text, OPTIONS)
    assert (found.choice, found.confidence, found.problem, found.status) == (
        choice,
        confidence,
        None,
        "valid",
    )


@pytest.mark.parametrize(("problem", "text"), INVALID)
def test_what_is_no_choice_with_a_confidence_is_refused_and_named(problem: str, text: str) -> None:
    found = lab.read_verdict(text, OPTIONS)
    assert (found.choice, found.confidence, found.status) == (None, None, "invalid")
    assert problem in (found.problem or "")


@pytest.mark.parametrize("said", ["abstain", "**None**", "N/A."])
def test_who_chooses_none_abstains_unless_that_is_an_option(said: str) -> None:
    text = f"VERDICT: {said}\nCONFIDENCE: 0.4"
    assert lab.read_verdict(text, OPTIONS).status == "abstained"
    assert lab.read_verdict(text, [*OPTIONS, said.strip("*.")]).status == "valid"


@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from([*(text for *_, text in VALID), '"', "\n", "{"])).map("".join)
)
def test_no_text_makes_it_raise_or_choose_what_is_no_option(text: str) -> None:
    found = lab.read_verdict(text, OPTIONS)
    assert found.choice in (None, *OPTIONS)
    assert (found.choice is None) == (found.confidence is None) == (found.problem is not None)


def test_mutated_replies_are_read_as_an_option_or_not_at_all() -> None:
    draw = random.Random(3)
    for _ in range(5_000):
        text = list(draw.choice(VALID)[2])
        for _ in range(draw.randint(1, 4)):
            text[draw.randrange(len(text))] = draw.choice(' \n:"}{>`*0189%yesno')
        found = lab.read_verdict("".join(text), OPTIONS)
        assert found.choice in (None, *OPTIONS)
        assert found.confidence is None or 0 <= found.confidence <= 1


def test_members_and_chairman_choose_and_the_run_holds_it(fake_openai: FakeServer, seat: SeatMaker) -> None:
    result = council(seat).run(QUESTION)
    requests = fake_openai.requests()
    for request in [*requests[:3], requests[-1]]:
        assert "- yes\n- no\n" in request.last_user_text
        assert request.last_user_text.endswith("VERDICT: <the option>\nCONFIDENCE: <0.00 to 1.00>")
    assert all("VERDICT: <" not in request.last_user_text for request in requests[3:6])
    verdict = result.verdict
    assert verdict is not None
    assert verdict == result.trace.verdict
    assert verdict.status == "valid"
    assert result.text.endswith(f"VERDICT: {verdict.choice}\nCONFIDENCE: {verdict.confidence:.2f}")
    answers = {call.call_id: call.text for call in result.trace.calls if call.stage == "opinions"}
    assert [vote.member for vote in verdict.votes] == [0, 1, 2]
    for vote in verdict.votes:
        assert answers[vote.call_id].endswith(f"VERDICT: {vote.choice}\nCONFIDENCE: {vote.confidence:.2f}")
    assert sum(verdict.counts().values()) == 3
    assert verdict.choice == max(verdict.counts(), key=lambda option: verdict.counts()[option])
    assert lab.Trace.model_validate_json(result.trace.model_dump_json()) == result.trace
    assert f"{verdict.confidence:.0%} sure" in repr(verdict)


def test_a_chairman_without_a_verdict_is_asked_once_more(fake_openai: FakeServer, seat: SeatMaker) -> None:
    result = council(seat, "chair+bad_verdict+times=1").run(QUESTION, temperature=0.3)
    first, again = fake_openai.requests()[-2:]
    assert again.messages[:-2] == first.messages
    assert again.messages[-2]["role"] == "assistant"
    assert "no line 'VERDICT: …'" in again.last_user_text
    assert "- yes\n- no\n" in again.last_user_text
    assert first.body["temperature"] == again.body["temperature"] == 0.3
    assert result.verdict is not None
    assert (result.verdict.status, result.verdict.choice is not None) == ("repaired", True)
    assert "no line 'VERDICT: …'" in (result.verdict.problem or "")
    assert result.text.startswith("There is something to be said for each")
    assert result.text.count("VERDICT: ") == 1
    assert [(call.stage, call.round) for call in result.trace.calls[-2:]] == [
        ("synthesis", 0),
        ("synthesis", 1),
    ]
    assert result.trace.status == "ok"


@pytest.mark.parametrize(("repairs", "asked"), [(0, 1), (2, 3)])
def test_a_verdict_that_never_comes_is_told_and_not_guessed(
    fake_openai: FakeServer, seat: SeatMaker, repairs: int, asked: int
) -> None:
    result = council(seat, "chair+bad_verdict", repairs=repairs).run(QUESTION)
    assert fake_openai.stats().by_model["chair+bad_verdict"] == asked
    assert result.verdict is not None
    assert (result.verdict.choice, result.verdict.confidence, result.verdict.status) == (
        None,
        None,
        "invalid",
    )
    assert result.trace.degraded
    assert "chairman gave no verdict" in result.trace.notes[-1]
    assert sum(result.verdict.counts().values()) == 3


def test_what_a_chairman_adds_stands_behind_its_answer(seat: SeatMaker) -> None:
    result = council(seat, f"chair+text={quote('Who knows?')}").run(QUESTION)
    assert result.verdict is not None
    assert result.verdict.status == "invalid"
    assert result.text == "Who knows?\n\nWho knows?"


def test_a_stream_whose_repair_fails_says_what_the_answer_says(seat: SeatMaker) -> None:
    # The first request of this name succeeds; `times` would fail the first ones.
    chair = seat(f"chair+text={quote('Who knows?')}", params={"extra_body": {}})
    panel = council(seat).model_copy(update={"chairman": chair, "repairs": 2})
    events = list(panel.stream(QUESTION))
    text = "".join(event.text for event in events if isinstance(event, lab.TextDelta))
    assert text == events[-1].result.text == "\n\n".join(["Who knows?"] * 3)


def test_without_the_money_to_ask_again_the_answer_stays(fake_openai: FakeServer, seat: SeatMaker) -> None:
    prices = {"input_cost_per_token": 1e-3, "output_cost_per_token": 1e-2}
    seats = {
        "chairman": seat("chair+bad_verdict", **prices),
        "members": [seat(f"m{n}", **prices) for n in range(3)],
    }
    one = 0.3  # of 100 tokens in and 20 out
    result = lab.Council(**seats, verdict=["yes", "no"], max_cost_usd=6.5 * one).run(QUESTION)
    assert len(fake_openai.requests()) == 7
    assert result.text.startswith("There is something to be said for each")
    assert result.trace.degraded
    assert "BudgetExceeded" in result.trace.notes[0]


def test_the_best_opinion_that_stands_in_brings_its_own_choice(seat: SeatMaker) -> None:
    result = council(seat, "chair+status=400", on_final_failure="best").run(QUESTION)
    assert result.verdict is not None
    best = result.trace.standings[0].member
    assert (result.verdict.status, result.verdict.choice) == ("failed", result.verdict.votes[best].choice)
    assert result.trace.degraded


def test_a_member_without_a_choice_casts_no_vote(seat: SeatMaker) -> None:
    members = [seat("m0"), seat("m1"), seat("m2+bad_verdict")]
    result = council(seat, members=members).run(QUESTION)
    assert result.verdict is not None
    assert [vote.status for vote in result.verdict.votes] == ["valid", "valid", "invalid"]
    assert sum(result.verdict.counts().values()) == 2
    assert result.trace.status == "ok"


@pytest.mark.parametrize("chair", ["chair", "chair+bad_verdict+times=1"])
def test_a_stream_says_what_the_answer_says(endpoint: dict[str, str], chair: str) -> None:
    stream = litellm.completion(
        model=f"composite/council/openai/{chair}",
        messages=[{"role": "user", "content": QUESTION}],
        members=["openai/m0", "openai/m1"],
        verdict=["yes", "no"],
        stream=True,
        **endpoint,
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    trace = lab.trace_of(stream)
    assert text == trace.text
    assert trace.verdict is not None
    assert text.endswith(f"VERDICT: {trace.verdict.choice}\nCONFIDENCE: {trace.verdict.confidence:.2f}")
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]


def test_a_response_tells_the_verdict_in_json(endpoint: dict[str, str]) -> None:
    response = litellm.completion(
        model="composite/council/openai/chair",
        messages=[{"role": "user", "content": QUESTION}],
        verdict=["yes", "no"],
        **endpoint,
    )
    told = response.choices[0].message.provider_specific_fields["composite"]["verdict"]
    verdict = lab.trace_of(response).verdict
    assert verdict is not None
    assert json.loads(json.dumps(told)) == {
        "choice": verdict.choice, "confidence": verdict.confidence, "status": "valid"
    }  # fmt: skip


def test_tool_calls_of_the_chairman_are_no_verdict_yet(fake_openai: FakeServer, seat: SeatMaker) -> None:
    result = council(seat).run(f"{QUESTION} Use load_test.", tools=[TOOL])
    assert result.tool_calls
    assert result.verdict is not None
    assert (result.verdict.choice, result.verdict.status) == (None, "invalid")
    assert "tools" in (result.verdict.problem or "")
    assert result.trace.status == "ok"
    assert fake_openai.stats().by_model["chair"] == 1


def test_a_verdict_goes_with_a_tool_executor(fake_openai: FakeServer, seat: SeatMaker) -> None:
    chosen = council(seat, "chair+bad_verdict", tool_executor=lambda name, _: f"{name} says 42 t")
    result = chosen.run(f"{QUESTION} Use load_test.", tools=[TOOL])
    rounds = [(call.stage, call.round) for call in result.trace.calls if call.stage in ("synthesis", "tool")]
    assert rounds == [("synthesis", 0), ("tool", 0), ("synthesis", 1), ("synthesis", 2)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["yes"], "no choice"),
        (["yes", "Yes."], "tells apart"),
        (["yes", " "], "no line"),
        (["yes", "no\nway"], "no line"),
        (["yes", "no\u2028way"], "no line"),
    ],
)
def test_options_that_leave_no_choice_are_refused(options: list[str], said: str) -> None:
    with pytest.raises(lab.ConfigError, match=said):
        lab.Council(chairman="openai/a", verdict=options)


def test_several_answers_at_a_time_are_refused(fake_openai: FakeServer, seat: SeatMaker) -> None:
    with pytest.raises(lab.ConfigError, match="n=2 does not go with a verdict"):
        council(seat).run(QUESTION, n=2)
    with pytest.raises(lab.ConfigError, match="response_format does not go with a verdict"):
        council(seat).run(QUESTION, response_format={"type": "json_object"})
    assert fake_openai.requests() == []


def test_a_replay_takes_the_same_votes(fake_openai: FakeServer, seat: SeatMaker) -> None:
    trace = council(seat).run(QUESTION).trace
    fake_openai.reset()
    members = [seat(f"m{number}") for number in range(3)]
    again = lab.Council.replay(trace, chairman=seat("other"), members=members).trace
    assert fake_openai.stats().by_model == {"other": 1}
    assert again.verdict is not None
    assert trace.verdict is not None
    assert again.verdict.counts() == trace.verdict.counts()
