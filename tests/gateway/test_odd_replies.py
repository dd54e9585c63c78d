"""No reply, however odd, breaks more than its own row; waiting is never shorter than our own, and spread."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import litellm
import pytest

import composite_lab as lab
from composite_lab.gateway.place import CallFailed
from composite_lab.gateway.retrying import MAX_RETRY_AFTER_S, WAIT_INITIAL_S, pause_before_retry
from composite_lab.replies import MOST_TOKENS, price, read_usage
from tests.conftest import SeatMaker
from tests.records import call

PRICES = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}


def checked(trace: lab.Trace) -> None:
    """Three calls, each a row with counts and costs that can be, in a trace that goes to JSON and back."""
    frame = trace.to_dataframe(include_text=True)
    assert len(frame) == 3
    assert (frame.cost_usd.dropna() >= 0).all()
    assert frame.total_tokens.dropna().between(0, 2 * MOST_TOKENS).all()
    assert lab.Trace.model_validate_json(trace.model_dump_json()) == trace


@pytest.mark.parametrize("seed", range(0, 120, 3))
def test_a_run_with_an_odd_proposal_goes_on(seat: SeatMaker, seed: int) -> None:
    odd = seat(f"p+mutate={seed}", retries=0, **PRICES)
    checked(lab.MoA(aggregator=seat("a"), proposers=[odd, seat("q")]).run("Why?").trace)


@pytest.mark.parametrize("way", ["run", "stream"])
@pytest.mark.parametrize("seed", range(1, 120, 3))
def test_a_run_with_an_odd_final_answer_ends_with_a_row_for_it(seat: SeatMaker, seed: int, way: str) -> None:
    odd = seat(f"a+mutate={seed}", retries=0, **PRICES)
    moa = lab.MoA(aggregator=odd, proposers=[seat("p"), seat("q")])
    try:
        trace = moa.run("Why?").trace if way == "run" else list(moa.stream("Why?"))[-1].result.trace  # type: ignore[union-attr]
    except (lab.CompositeError, litellm.exceptions.APIError, litellm.exceptions.BadRequestError) as error:
        trace = error.trace  # type: ignore[union-attr]
    except Exception as error:
        if not type(error).__module__.startswith("litellm"):
            raise
        trace = error.trace  # type: ignore[attr-defined]
    checked(trace)


@pytest.mark.parametrize(
    ("count", "read"),
    [(5, 5), ("5", 5), (5.0, 5), (-5, None), (10**30, None), (5.5, None), (True, None), (None, None),
     ("many", None), (float("nan"), None), (float("inf"), None), ([5], None)],
)  # fmt: skip
def test_a_count_that_cannot_be_is_not_told(count: Any, read: int | None) -> None:
    for name in ("prompt_tokens", "completion_tokens"):
        counts = {"prompt_tokens": 7, "completion_tokens": 7, "total_tokens": None} | {name: count}
        usage = read_usage(SimpleNamespace(usage=SimpleNamespace(**counts)))
        assert usage.get(name) == read
        assert usage["usage_source"] == ("missing" if read is None else "provider")


@pytest.mark.parametrize("cost", [-1.0, float("nan"), float("inf")])
def test_a_price_that_cannot_be_is_unknown(cost: float) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "cached_tokens": None, "usage_source": "provider"}
    assert price(lab.Seat(model="openai/a"), usage, cost, False) == {
        "cost_usd": None,
        "cost_source": "missing",
    }


def test_more_cached_tokens_than_there_are_make_no_negative_price(seat: SeatMaker) -> None:
    details = SimpleNamespace(cached_tokens=1_000)
    counts = SimpleNamespace(
        prompt_tokens=10, completion_tokens=1, total_tokens=11, prompt_tokens_details=details
    )
    usage = read_usage(SimpleNamespace(usage=counts))
    assert usage["cached_tokens"] == 10
    money = price(seat("a", **PRICES, cache_read_input_token_cost=0.0), usage, None, False)
    assert money["cost_usd"] == pytest.approx(1e-6)


def failure(attempt: int = 0, *, status: Any = 429, headers: dict[str, str] | None = None) -> CallFailed:
    error = litellm.RateLimitError("slow down", "openai", "a")
    error.status_code = status
    error.litellm_response_headers = headers or {}  # type: ignore[attr-defined]
    return CallFailed(call(attempt=attempt), error)


@pytest.mark.parametrize("status", ["busy", "rate_limit_exceeded", None, "429", 429, [], {}])
def test_a_status_that_is_text_is_no_obstacle_to_another_attempt(status: Any) -> None:
    assert pause_before_retry(failure(status=status)) is True


@pytest.mark.parametrize(
    "value",
    ["-5", "nan", "inf", "-inf", "500ms", "soon", "", "Wed, 21 Oct 2015 07:28:00 GMT", "0x10"],
)
def test_a_pause_that_makes_no_sense_means_our_own(value: str) -> None:
    assert pause_before_retry(failure(headers={"retry-after": value})) is True


@pytest.mark.parametrize("attempt", range(8))
@pytest.mark.parametrize("value", ["0", "0.001", "1", "30"])
def test_an_asked_for_pause_is_never_shorter_than_our_own_and_is_spread(value: str, attempt: int) -> None:
    pauses = [pause_before_retry(failure(attempt, headers={"retry-after": value})) for _ in range(50)]
    own = min(WAIT_INITIAL_S * 2**attempt, 20)
    assert all(pause is not True and pause >= max(own, float(value)) for pause in pauses)
    assert max(pauses) - min(pauses) > WAIT_INITIAL_S / 3


def test_who_asks_for_too_long_a_pause_is_not_waited_for() -> None:
    assert pause_before_retry(failure(headers={"retry-after": str(MAX_RETRY_AFTER_S + 1)})) is False


def test_an_unreadable_reply_is_paid_for_once() -> None:
    assert pause_before_retry(CallFailed(call(), lab.UnreadableReply("odd"))) is False


def test_a_call_without_a_timeout_of_its_own_ends_by_the_clock(seat: SeatMaker) -> None:
    # Bytes keep coming, so that no timeout of a connection strikes.
    dripping = seat("a+chunk_latency=0.3+content_kb=2")
    moa = lab.MoA(aggregator=dripping, proposers=[seat("p")], call_timeout_s=0.8, retries=0)
    with pytest.raises(lab.CallTimeout, match=r"call_timeout_s=0\.8") as caught:
        list(moa.stream("Why?"))
    assert caught.value.trace.calls[-1].status == "timeout"
    with pytest.raises(lab.QuorumError, match="CallTimeout"):
        lab.MoA(aggregator=seat("a+hang"), call_timeout_s=0.5, retries=0).run("Why?")
    own = lab.MoA(aggregator=seat("a"), proposers=[seat("p+latency=1", timeout_s=30)], call_timeout_s=0.7)
    assert own.run("Why?").trace.status == "ok"


@pytest.mark.parametrize("way", ["run", "stream"])
def test_a_reply_that_does_not_end_is_cut_and_told(seat: SeatMaker, way: str) -> None:
    moa = lab.MoA(
        aggregator=seat("a+content_kb=50"), proposers=[seat("p+content_kb=5")], max_reply_chars=9_000
    )
    with pytest.raises(lab.ReplyTooLarge, match="max_reply_chars=9000") as caught:
        moa.run("Why?") if way == "run" else list(moa.stream("Why?"))
    rows = caught.value.trace.calls
    assert [(call.status, call.error_type) for call in rows] == [("ok", None), ("error", "ReplyTooLarge")]
    large = lab.MoA(
        aggregator=seat("a"), proposers=[seat("p+content_kb=50"), seat("q")], max_reply_chars=9_000
    )
    trace = large.run("Why?").trace
    assert [call.error_type for call in trace.calls] == ["ReplyTooLarge", None, None]
    assert trace.calls[0].total_tokens == 120  # it is paid for
