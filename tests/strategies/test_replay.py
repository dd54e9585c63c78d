"""Replay: a recorded run asked again pays only for what changed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import composite_lab as lab
from composite_lab.testing import FakeServer
from tests.conftest import SeatMaker

QUESTION = "Why is the sky dark at night?"
PRICES = {"input_cost_per_token": 1e-3, "output_cost_per_token": 1e-2}


def recorded(strategy: lab.Council | lab.MoA, server: FakeServer, **params: Any) -> lab.Trace:
    """The trace of a run, as it comes back from a file; what the server saw of it is forgotten."""
    trace = strategy.run(QUESTION, **params).trace
    server.reset()
    return lab.Trace.model_validate_json(trace.model_dump_json())


def panel(seat: SeatMaker, *members: str, **options: Any) -> lab.Council:
    seats = [seat(member, **PRICES) for member in members or ("m0", "m1", "m2", "m3")]
    return lab.Council(chairman=seat("chair"), members=seats, **options)


def test_a_changed_chairman_is_the_only_one_who_is_asked(fake_openai: FakeServer, seat: SeatMaker) -> None:
    trace = recorded(panel(seat), fake_openai)
    again = lab.Council.replay(trace, chairman=seat("other"))
    assert fake_openai.stats().by_model == {"other": 1}
    assert again.text != trace.text
    kept = {call.seat: call.text for call in trace.calls if call.stage == "review"}
    assert {call.seat: call.text for call in again.trace.calls if call.stage == "review"} == kept
    assert again.trace.standings == trace.standings
    assert [ballot.ranking for ballot in again.trace.ballots] == [b.ranking for b in trace.ballots]
    assert "8 of its calls" in again.trace.notes[0]
    assert trace.trace_id in again.trace.notes[0]


def test_replayed_calls_cost_nothing_and_remember_what_they_cost(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    trace = recorded(panel(seat), fake_openai)
    again = lab.Council.replay(trace, chairman=seat("other"))
    twice = lab.Council.replay(again.trace, chairman=seat("third")).trace
    for run in (again.trace, twice):
        for earlier, call in zip(trace.calls[:-1], run.calls[:-1], strict=True):
            assert (call.cost_usd, call.cost_source) == (0.0, "cache")
            assert call.original_cost_usd == earlier.cost_usd != 0.0
            assert call.original_latency_s == earlier.latency_s
            assert (call.trace_id, call.text) == (run.trace_id, earlier.text)


def test_a_changed_rule_asks_no_reviewer_again(
    fake_openai: FakeServer, seat: SeatMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = recorded(panel(seat), fake_openai)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")  # a trace has no keys
    again = lab.Council.replay(trace, ranking="bradley_terry").trace
    assert fake_openai.stats().by_model == {"chair": 1}
    assert "Bradley-Terry" in fake_openai.requests()[0].last_user_text
    assert again.config["ranking"] == "bradley_terry"


def test_a_changed_member_is_asked_again_and_so_is_everybody_who_reads_it(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    trace = recorded(panel(seat, "m0", "m1", "m2"), fake_openai)
    members = [seat("m0"), seat("m1"), seat("new")]
    lab.Council.replay(trace, members=members, chairman=seat("chair"))
    assert fake_openai.stats().by_model == {"new": 2, "m0": 1, "m1": 1, "chair": 1}


def test_failures_and_repairs_are_replayed_too(fake_openai: FakeServer, seat: SeatMaker) -> None:
    council = panel(seat, "m0", "m1+status=400", "m2", "m3+bad_ranking+times=2")
    trace = recorded(council, fake_openai)
    again = lab.Council.replay(trace, chairman=seat("other")).trace
    assert fake_openai.stats().by_model == {"other": 1}
    assert [b.status for b in again.ballots] == [b.status for b in trace.ballots]
    assert "repaired" in {b.status for b in again.ballots}
    failed = [(c.seat, c.error_type, c.cost_usd) for c in again.calls if c.status == "error"]
    assert failed == [(1, "BadRequestError", 0.0)]


def test_the_callers_own_parameters_are_sent_again_unless_they_are_given(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    trace = recorded(panel(seat), fake_openai, temperature=0.3, max_tokens=77)
    lab.Council.replay(trace, chairman=seat("other"), max_tokens=55)
    (request,) = fake_openai.requests()
    assert (request.body["temperature"], request.body["max_tokens"]) == (0.3, 55)


def test_moa_asks_only_the_changed_aggregator(fake_openai: FakeServer, seat: SeatMaker) -> None:
    moa = lab.MoA(aggregator=seat("a"), proposers=[seat("p0"), seat("p1")], layers=2, samples=2)
    trace = recorded(moa, fake_openai)
    again = asyncio.run(lab.MoA.areplay(trace, aggregator=seat("b")))
    assert fake_openai.stats().by_model == {"b": 1}
    proposals = [call.text for call in trace.calls if call.stage == "proposals"]
    assert [call.text for call in again.trace.calls if call.stage == "proposals"] == proposals


def test_a_trace_of_another_strategy_is_refused(fake_openai: FakeServer, seat: SeatMaker) -> None:
    trace = recorded(panel(seat), fake_openai)
    with pytest.raises(lab.ConfigError, match="'council': 'moa' cannot replay"):
        lab.MoA.replay(trace)
    assert fake_openai.stats().total == 0


def test_a_run_that_never_came_to_its_chairman_is_refused(fake_openai: FakeServer, seat: SeatMaker) -> None:
    with pytest.raises(lab.QuorumError) as caught:
        panel(seat, "m0", "m1+status=400", min_members=2).run(QUESTION)
    fake_openai.reset()
    with pytest.raises(lab.ConfigError, match="too little to replay: its run ended as 'error' with 2 calls"):
        lab.Council.replay(caught.value.trace)
    assert fake_openai.stats().total == 0


def test_a_misspelt_change_is_refused(fake_openai: FakeServer, seat: SeatMaker) -> None:
    trace = recorded(panel(seat), fake_openai)
    with pytest.raises(lab.ConfigError, match="chairman"):
        lab.Council.replay(trace, chairmann=seat("other"))


def test_a_composite_that_sits_in_a_council_is_taken_as_it_was(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    inner = lab.Seat(model="composite/moa/openai/inner", api_base=fake_openai.base_url, api_key="sk-test")
    trace = recorded(lab.Council(chairman=seat("chair"), members=[seat("m0", **PRICES), inner]), fake_openai)
    assert any(call.parent_call_id is not None for call in trace.calls)
    again = lab.Council.replay(trace, chairman=seat("other"), members=[seat("m0", **PRICES), inner]).trace
    assert fake_openai.stats().by_model == {"other": 1}
    opinions = {
        call.seat: call.text for call in trace.calls if (call.stage, call.role) == ("opinions", "member")
    }
    assert {call.seat: call.text for call in again.calls if call.stage == "opinions"} == opinions
    assert not any(call.parent_call_id for call in again.calls)
    assert [ballot.ranking for ballot in again.ballots] == [ballot.ranking for ballot in trace.ballots]
