"""The door to LiteLLM: retries, timeouts, limits, money and secrets, over HTTP."""

from __future__ import annotations

import logging
import traceback

import litellm
import pytest
from litellm.caching.caching import Cache

import composite_lab as lab
from composite_lab.testing import FakeServer
from tests.conftest import CallbackLog, SeatMaker

PRICES = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}


def ask(seat: lab.Seat, **options: object) -> lab.Result:
    return lab.MoA(aggregator=seat, samples=1, **options).run("Why is the sky dark at night?")  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", ["status=429", "status=500", "status=503", "drop", "malformed"])
def test_what_may_pass_is_tried_again_and_every_attempt_is_a_call(
    fake_openai: FakeServer, seat: SeatMaker, fault: str
) -> None:
    proposer = seat(f"p+{fault}+times=1")
    result = lab.MoA(aggregator=seat("a"), proposers=[proposer]).run("Why?")
    first, second = result.trace.calls[:2]
    assert (first.status, first.attempt, second.status, second.attempt) == ("error", 0, "ok", 1)
    assert first.cost_usd is None
    assert fake_openai.stats().by_model[proposer.model.removeprefix("openai/")] == 2


@pytest.mark.parametrize("status", [400, 401, 404])
def test_what_will_not_pass_is_not_tried_again(fake_openai: FakeServer, seat: SeatMaker, status: int) -> None:
    moa = lab.MoA(aggregator=seat("a"), proposers=[seat(f"p+status={status}"), seat("q")])
    trace = moa.run("Why?").trace
    assert fake_openai.stats().by_model[f"p+status={status}"] == 1
    assert (
        trace.calls[0].error_type
        == {400: "BadRequestError", 401: "AuthenticationError", 404: "NotFoundError"}[status]
    )


def test_litellm_and_its_client_add_no_retries_of_their_own(
    fake_openai: FakeServer, seat: SeatMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litellm, "num_retries", 3)
    with pytest.raises(lab.QuorumError):
        ask(seat("p+status=500"), retries=0)
    assert fake_openai.stats().total == 1


def test_a_seat_says_how_often_it_is_tried(fake_openai: FakeServer, seat: SeatMaker) -> None:
    with pytest.raises(lab.QuorumError):
        ask(seat("p+status=500", retries=1), retries=5)
    assert fake_openai.stats().total == 2


def test_retry_after_is_waited_for(fake_openai: FakeServer, seat: SeatMaker) -> None:
    trace = ask(seat("p+status=429+retry_after=1.2+times=1")).trace
    first, second = trace.calls[:2]
    pause = second.start_offset_s - (first.start_offset_s + first.latency_s)
    assert pause >= 1.2


def test_a_call_is_cut_at_the_timeout_of_its_seat(fake_openai: FakeServer, seat: SeatMaker) -> None:
    moa = lab.MoA(aggregator=seat("a"), proposers=[seat("p+hang", timeout_s=0.3, retries=0), seat("q")])
    late = moa.run("Why?").trace.calls[0]
    assert (late.status, late.error_type) == ("timeout", "CallTimeout")
    assert 0.3 <= late.latency_s < 5
    fake_openai.wait_until(lambda stats: stats.by_outcome.get("client_disconnected") == 1, timeout_s=10)


def test_a_run_is_cut_at_its_own_timeout_with_the_trace_on_the_error(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    moa = lab.MoA(aggregator=seat("a+hang"), proposers=[seat("p")], timeout_s=1.0)
    with pytest.raises(lab.RunTimeout, match=r"timeout_s=1\.0") as caught:
        moa.run("Why?")
    statuses = [(call.role, call.status) for call in caught.value.trace.calls]
    assert statuses == [("proposer", "ok"), ("aggregator", "cancelled")]
    fake_openai.wait_until(lambda stats: stats.in_flight == 0, timeout_s=10)


def test_no_more_calls_than_the_limit_are_under_way(fake_openai: FakeServer, seat: SeatMaker) -> None:
    moa = lab.MoA(
        aggregator=seat("a"), proposers=[seat(f"p{i}+latency=0.1") for i in range(6)], max_concurrency=2
    )
    moa.run("Why?")
    assert fake_openai.stats().peak == 2


def test_prices_of_the_seat_count_cached_tokens_at_their_own_price(seat: SeatMaker) -> None:
    priced = seat(
        "p+prompt_tokens=1000+completion_tokens=100+cached_tokens=400",
        **PRICES,
        cache_read_input_token_cost=1e-7,
    )
    call = ask(priced).trace.calls[0]
    assert call.cost_usd == pytest.approx(600 * 1e-6 + 400 * 1e-7 + 100 * 2e-6)
    assert call.cost_source == "user"


def test_litellms_price_is_used_and_an_unknown_price_is_not_zero(seat: SeatMaker) -> None:
    model = "known+prompt_tokens=1000+completion_tokens=100+cached_tokens=0"
    litellm.register_model({f"openai/{model}": {**PRICES, "litellm_provider": "openai", "mode": "chat"}})
    result = lab.MoA(aggregator=seat("unknown"), proposers=[seat(model)]).run("Why?")
    known, unknown = result.trace.calls
    assert known.cost_usd == pytest.approx(1000 * 1e-6 + 100 * 2e-6)
    assert known.cost_source == "litellm"
    assert (unknown.cost_usd, unknown.cost_source) == (None, "missing")
    assert result.trace.summary().unpriced_calls == 1


def test_an_answer_without_usage_is_not_counted_as_zero_tokens(seat: SeatMaker) -> None:
    call = ask(seat("p+usage=none", **PRICES)).trace.calls[0]
    assert call.usage_source in ("missing", "estimated")
    if call.usage_source == "missing":
        assert call.total_tokens is None
        assert call.cost_usd is None


def test_the_budget_is_checked_before_each_dispatch(fake_openai: FakeServer, seat: SeatMaker) -> None:
    costly = seat("p+prompt_tokens=1000", input_cost_per_token=1e-3, output_cost_per_token=0.0)
    with pytest.raises(lab.BudgetExceeded, match=r"max_cost_usd is 0\.5") as caught:
        ask(costly, max_cost_usd=0.5)
    assert fake_openai.stats().total == 1
    assert caught.value.trace.cost_usd == pytest.approx(1.0)
    assert caught.value.trace.status == "error"


def test_with_a_cap_a_model_without_a_price_is_refused_before_any_call(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    moa = lab.MoA(aggregator=seat("a", **PRICES), proposers=[seat("nobody-knows")], max_cost_usd=1)
    with pytest.raises(lab.ConfigError, match=r"'openai/nobody-knows' costs.*input_cost_per_token"):
        moa.run("Why?")
    assert fake_openai.stats().total == 0


def test_a_model_without_a_provider_is_refused_before_any_call(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    with pytest.raises(lab.ConfigError, match="no provider for model 'just-a-name'"):
        lab.MoA(aggregator=seat("a"), proposers=["just-a-name"]).run("Why?")
    assert fake_openai.stats().total == 0


def test_sub_calls_tell_callbacks_which_run_stage_and_role_they_are(
    seat: SeatMaker, callback_log: CallbackLog
) -> None:
    trace = lab.MoA(aggregator=seat("a"), proposers=[seat("p")]).run("Why?").trace
    events = callback_log.wait_for(2)
    assert {event["litellm_trace_id"] for event in events} == {trace.trace_id}
    told = [event["litellm_params"]["metadata"] for event in events]
    assert {metadata["composite_trace_id"] for metadata in told} == {trace.trace_id}
    assert {(metadata["composite_stage"], metadata["composite_role"]) for metadata in told} == {
        ("proposals", "proposer"),
        ("aggregation", "aggregator"),
    }
    call_ids = {call.call_id for call in trace.calls}
    assert {metadata["composite_call_id"] for metadata in told} == call_ids
    assert {event["litellm_call_id"] for event in events} == call_ids


def test_metadata_does_not_go_over_the_wire(fake_openai: FakeServer, seat: SeatMaker) -> None:
    ask(seat("p"))
    for request in fake_openai.requests():
        assert set(request.body) <= {"model", "messages"}


def test_samples_stay_distinct_when_litellms_cache_is_on(
    fake_openai: FakeServer, seat: SeatMaker, no_litellm_cache: None
) -> None:
    litellm.cache = Cache()
    moa = lab.MoA(aggregator=seat("a"))
    moa.run("Why is the sky dark at night?")
    assert fake_openai.stats().total == 4
    again = moa.run("Why is the sky dark at night?").trace
    assert fake_openai.stats().total == 4
    assert [call.cache_hit for call in again.calls] == [True] * 4
    assert {call.cost_source for call in again.calls} == {"cache"}
    assert again.cost_usd == 0


def test_a_streamed_answer_from_litellms_cache_is_told_and_free(
    fake_openai: FakeServer, seat: SeatMaker, no_litellm_cache: None
) -> None:
    litellm.cache = Cache()
    moa = lab.MoA(aggregator=seat("a", input_cost_per_token=1e-6, output_cost_per_token=1e-6), samples=1)
    first, again = (list(moa.stream("Why?"))[-1].result for _ in range(2))  # type: ignore[union-attr]
    assert fake_openai.stats().total == 2
    assert again.text == first.text
    assert [(call.cost_usd, call.cost_source) for call in again.trace.calls] == [(0.0, "cache")] * 2


def test_the_cache_tells_endpoints_apart(
    fake_openai: FakeServer, seat: SeatMaker, no_litellm_cache: None
) -> None:
    litellm.cache = Cache()
    ask(seat("p"))
    before = fake_openai.stats().total
    ask(seat("p", api_base=fake_openai.base_url.replace("127.0.0.1", "localhost")))
    assert fake_openai.stats().total == 2 * before


def test_each_server_gets_its_own_key_and_no_key_is_left_behind(
    fake_openai: FakeServer, seat: SeatMaker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="composite_lab")
    keys = {"p": "sk-proposer-1111", "q": "sk-proposer-2222", "a": "sk-aggregator-3333"}
    moa = lab.MoA(
        aggregator=seat("a", api_key=keys["a"]),
        proposers=[seat("p", api_key=keys["p"]), seat("q+status=401", api_key=keys["q"])],
    )
    result = moa.run("Why?")
    for request in fake_openai.requests():
        assert request.header("authorization") == f"Bearer {keys[request.model[0]]}"
    left = [
        repr(moa),
        str(moa),
        repr(result),
        result.trace.model_dump_json(),
        result.trace.to_dataframe().to_csv(),
    ]
    left += [caplog.text, moa.model_dump_json()]
    assert not [key for key in keys.values() for text in left if key in text]


def test_a_key_that_a_server_repeats_in_its_error_is_taken_out(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    key = "sk-wrong-4444"
    with pytest.raises(lab.QuorumError, match=r"Incorrect API key provided: \[redacted\]") as caught:
        ask(seat("p+require_key=sk-right", api_key=key))
    assert fake_openai.requests()[0].header("authorization") == f"Bearer {key}"
    seen = "".join(traceback.format_exception(caught.value)) + caught.value.trace.model_dump_json()
    seen += "".join(map(repr, caught.value.causes))
    assert key not in seen


def test_a_key_that_is_no_secret_spoils_no_text(seat: SeatMaker) -> None:
    with pytest.raises(lab.QuorumError, match="The fake model"):
        ask(seat("p+status=400", api_key="e"))


def test_the_callers_key_goes_to_seats_of_the_final_models_provider_only(
    fake_openai: FakeServer, endpoint: dict[str, str]
) -> None:
    base = endpoint["api_base"]
    moa = lab.MoA(
        aggregator="openai/a",
        proposers=[
            "openai/p",
            {"model": "openai/q", "api_base": base, "api_key": "sk-own"},
            {"model": "hosted_vllm/r", "api_base": base},
        ],
    )
    moa.run("Why?", api_key="sk-callers", api_base=base)
    sent = {request.model: request.header("authorization") for request in fake_openai.requests()}
    assert sent["a"] == sent["p"] == "Bearer sk-callers"
    assert sent["q"] == "Bearer sk-own"
    assert "sk-callers" not in (sent["r"] or "")
