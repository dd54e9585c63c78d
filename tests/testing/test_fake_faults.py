"""Faults and other options, each over real HTTP."""

from __future__ import annotations

import http.client
import time
from typing import Any

import pytest


def test_latency_delays_the_answer(chat: Any) -> None:
    begun = time.monotonic()
    assert chat("fake-a+latency=0.3").status == 200
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "invalid_request_error"), (429, "rate_limit_error"), (500, "server_error")]
)
def test_status_is_answered_with_an_openai_error(chat: Any, status: int, kind: str) -> None:
    answer = chat(f"fake-a+status={status}")
    assert answer.status == status
    assert set(answer.json["error"]) == {"message", "type", "param", "code"}
    assert answer.json["error"]["type"] == kind
    assert "retry-after" not in answer.headers


def test_retry_after_may_be_a_fraction(chat: Any) -> None:
    assert chat("fake-a+status=429+retry_after=0.2").headers["retry-after"] == "0.2"
    assert "retry-after" not in chat("fake-a+status=500+retry_after=0.2").headers


def test_times_limits_a_fault_to_the_first_requests_of_that_name(chat: Any) -> None:
    model = "fake-a+status=500+times=2"
    assert [chat(model).status for _ in range(4)] == [500, 500, 200, 200]
    assert chat("fake-b+status=500+times=2").status == 500
    chat.server.reset()
    assert chat(model).status == 500


def test_times_lifts_a_delay_as_well(chat: Any) -> None:
    model = "fake-a+latency=1.5+times=1"
    took = []
    for _ in range(2):
        begun = time.monotonic()
        chat(model)
        took.append(time.monotonic() - begun)
    assert took[0] >= 1.5 > took[1]


def test_drop_closes_the_connection_without_a_response(chat: Any) -> None:
    with pytest.raises(http.client.RemoteDisconnected):
        chat("fake-a+drop")
    [record] = chat.server.requests()
    assert (record.outcome, record.status) == ("dropped", None)


def test_truncated_body_is_shorter_than_announced(chat: Any) -> None:
    with pytest.raises(http.client.IncompleteRead) as caught:
        chat("fake-a+truncate")
    assert caught.value.partial.startswith(b"{")
    assert chat.server.requests()[0].outcome == "dropped"


def test_malformed_body_is_no_json_under_status_200(chat: Any) -> None:
    answer = chat("fake-a+malformed")
    assert answer.status == 200
    with pytest.raises(ValueError, match="Expecting"):
        _ = answer.json


def test_empty_content(chat: Any) -> None:
    assert chat("fake-a+empty").content == ""


def test_fail_rate_fails_about_that_share_of_different_bodies(chat: Any) -> None:
    model = "fake-a+fail_rate=0.3+fail_kinds=429,500"
    statuses = [chat(model, seed=i).status for i in range(200)]
    assert 40 <= 200 - statuses.count(200) <= 80
    assert {429, 500, 200} == set(statuses)


def test_fail_rate_repeats_itself_after_a_reset(chat: Any) -> None:
    model = "fake-a+fail_rate=0.5+fail_kinds=500"
    first = [chat(model).status for _ in range(20)]
    chat.server.reset()
    assert [chat(model).status for _ in range(20)] == first
    # The same body is drawn anew each time it comes, so that a retry can succeed.
    assert set(first) == {200, 500}
    chat.server.reset()
    assert [chat(f"{model}+fail_seed=1").status for _ in range(20)] != first


def test_fail_kinds_drop_and_hang_close_the_connection(chat: Any) -> None:
    for kind in ("drop", "hang"):
        with pytest.raises(http.client.RemoteDisconnected):
            chat(f"fake-a+fail_rate=1+fail_kinds={kind}")


def test_reasoning_is_added_to_the_message(chat: Any) -> None:
    assert "Why is the sky blue?" in chat("fake-a+reasoning").message["reasoning_content"]
    assert "reasoning_content" not in chat("fake-a").message


@pytest.mark.parametrize("size", [1, 64, 1000])
def test_content_is_padded_to_the_size(chat: Any, size: int) -> None:
    content = chat(f"fake-a+content_kb={size}").content
    assert len(content) == size * 1024
    assert content.endswith(chat("fake-a").content)


def test_usage_can_be_left_out_or_overridden(chat: Any) -> None:
    assert "usage" not in chat("fake-a+usage=none").json
    usage = chat("fake-a+prompt_tokens=7+completion_tokens=3+cached_tokens=2+reasoning_tokens=1").json[
        "usage"
    ]
    assert usage == {
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }


def test_details_of_the_usage_never_exceed_what_they_are_part_of(chat: Any) -> None:
    usage = chat("fake-a+prompt_tokens=4+completion_tokens=2").json["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 4
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 2


def test_echo_answers_with_the_last_user_message(chat: Any) -> None:
    turns = [("user", "first"), ("assistant", "second"), ("user", "third\nline"), ("assistant", "fourth")]
    messages = [{"role": role, "content": text} for role, text in turns]
    assert chat("fake-a+echo", messages).content == "third\nline"


def test_text_is_answered_exactly(chat: Any) -> None:
    assert chat("fake-a+text=2%2B2%20%3D%204%0Ayes+reasoning").content == "2+2 = 4\nyes"
    assert chat("fake-a+text=").content == ""


def test_require_key_refuses_other_keys(chat: Any) -> None:
    model = "fake-a+require_key=sk-right"
    assert chat(model).status == 401
    wrong = chat(model, headers={"Authorization": "Bearer sk-wrong"})
    assert (wrong.status, wrong.json["error"]["code"]) == (401, "invalid_api_key")
    assert chat(model, headers={"Authorization": "Bearer sk-right"}).status == 200


def test_no_tools_refuses_tools_and_their_traces(chat: Any) -> None:
    tools = [{"type": "function", "function": {"name": "add"}}]
    user = {"role": "user", "content": "hello"}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "3"}
    asked = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{}"}}],
    }
    assert chat("fake-a+no_tools", [user]).status == 200
    assert chat("fake-a+no_tools", [user], tools=tools).status == 400
    assert chat("fake-a+no_tools", [user, result]).status == 400
    assert chat("fake-a+no_tools", [user, asked, user]).status == 400
    assert chat("fake-a", [user, asked, result]).status == 200
