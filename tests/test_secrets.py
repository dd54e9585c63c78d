"""Keys that nobody declared as keys: by their names, in URLs, from the environment, in frames."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

import pytest

import composite_lab as lab
from composite_lab.redaction import MASK
from composite_lab.seats import is_secret_name, secrets_in, user_info, without_secrets
from composite_lab.testing import FakeServer
from tests.conftest import SeatMaker

KEY = "sk-quite-secret-0123"


@pytest.mark.parametrize(
    ("params", "kept"),
    [
        ({"extra_headers": {"Authorization": f"Bearer {KEY}", "X-Team": KEY}}, {"extra_headers": MASK}),
        ({"extra_body": {"auth": KEY, "top_k": 5}}, {"extra_body": {"auth": MASK, "top_k": 5}}),
        ({"extra_body": {"a": [{"bearer": {"token": KEY}}]}}, {"extra_body": {"a": [{"bearer": MASK}]}}),
        (
            {"extra_body": {"hook": f"https://ada:{KEY}@host/x"}},
            {"extra_body": {"hook": f"https://{MASK}@host/x"}},
        ),
    ],
)
def test_a_runs_parameters_are_recorded_without_what_authenticates(
    fake_openai: FakeServer, seat: SeatMaker, params: dict[str, Any], kept: dict[str, Any], tmp_path: Any
) -> None:
    lab.save_traces(tmp_path / "runs.jsonl")
    try:
        result = lab.MoA(aggregator=seat("a"), samples=1).run("Why?", **params)
        with pytest.raises(Exception, match="told to answer 400") as caught:
            lab.MoA(aggregator=seat("a+status=400"), proposers=[seat("p")]).run("Why?", **params)
    finally:
        lab.save_traces(None)
    assert result.trace.calls[-1].params == kept
    sent = fake_openai.requests()[1]
    assert KEY in f"{sent.headers} {sent.body}"  # the server got it
    assert KEY not in (tmp_path / "runs.jsonl").read_text()
    assert KEY not in pickle.dumps(result.trace).decode("latin-1")
    assert KEY not in caught.value.trace.model_dump_json()  # type: ignore[attr-defined]


def test_names_in_the_schemas_of_tools_are_nobodys_secrets(seat: SeatMaker) -> None:
    schema = {"type": "object", "properties": {"key": {"type": "string"}, "token": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "look_up", "parameters": schema}}]
    trace = lab.MoA(aggregator=seat("a"), samples=1).run("Why?", tools=tools, tool_choice="none").trace
    assert trace.calls[-1].params["tools"] == tools


def test_a_key_of_the_environment_that_a_server_repeats_is_in_no_error(
    fake_openai: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_BASE", fake_openai.base_url)
    with pytest.raises(lab.QuorumError) as caught:
        lab.MoA(aggregator="openai/a+require_key=another").run("Why?")
    told = "".join(traceback.format_exception(caught.value))
    assert fake_openai.requests()[0].header("authorization") == f"Bearer {KEY}"
    assert KEY not in told + caught.value.trace.model_dump_json()
    assert "Incorrect API key" in told
    assert not any(KEY in str(cause) for cause in caught.value.causes)


def test_a_password_in_an_endpoint_is_not_recorded(fake_openai: FakeServer) -> None:
    base = fake_openai.base_url.replace("http://", f"http://ada:{KEY}@")
    seat = lab.Seat(model="openai/a", api_base=base, api_key="sk-test", retries=0)
    # LiteLLM's client for OpenAI takes no such endpoint beside a key; others do.
    with pytest.raises(lab.QuorumError) as caught:
        lab.MoA(aggregator=seat, samples=1).run("Why?")
    trace = caught.value.trace.model_dump_json()
    assert KEY not in trace + "".join(traceback.format_exception(caught.value))
    assert f"http://{MASK}@127.0.0.1" in trace
    assert seat.api_base == base


def test_frames_of_other_libraries_are_not_in_errors_that_are_raised_again(seat: SeatMaker) -> None:
    with pytest.raises(Exception, match="told to answer 400") as caught:
        lab.MoA(aggregator=seat("a+status=400", api_key=KEY), proposers=[seat("p")]).run("Why?")
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert not any("/litellm/" in line for line in told.format())


@pytest.mark.parametrize(
    ("name", "secret"),
    [("Authorization", True), ("api-key", True), ("x-api-key", True), ("auth", True), ("bearer", True),
     ("default_headers", True), ("cookie", True), ("passwd", True), ("max_tokens", False), ("author", False),
     ("prompt_cache_key", False), ("input_cost_per_token", False), ("keyboard", False)],
)  # fmt: skip
def test_what_authenticates_is_known_by_its_name(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


def test_secrets_are_found_and_masked_wherever_they_stand() -> None:
    data = {"a": [{"token": {"b": [KEY]}}], "headers": {"X": f"Bearer {KEY}-2"}, "n": 1, "key": None}
    assert secrets_in(data) == [KEY, KEY, f"Bearer {KEY}-2", f"{KEY}-2"]
    assert without_secrets(data) == {"a": [{"token": MASK}], "headers": MASK, "n": 1, "key": None}
    assert user_info(f"https://ada:{KEY}@host/v1") == [f"ada:{KEY}", KEY]
    assert user_info("https://host/v1") == user_info("") == []
