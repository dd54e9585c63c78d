"""Composites behind LiteLLM's proxy, started from the command line and asked by real OpenAI clients."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml

import composite_lab as lab
from composite_lab.serving import proxy_config
from composite_lab.testing import FakeServer

KEY = "sk-a-strong-master-key-for-the-tests-0123456789"
PLANTED = "sk-planted-in-the-environment-7777"
SEAT_KEYS = {"p": "sk-own-key-of-p-1111", "q": "sk-own-key-of-q-2222", "final": "sk-own-key-of-final-3333"}
ASK: Any = [{"role": "user", "content": "Why is the sky dark at night?"}]
TOOLS: Any = [
    {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
]
PROFILES = """
providers:
  {bundles}
profiles:
  panel:
    strategy: moa
    aggregator: {{model: openai/final, provider: final}}
    proposers: [{{model: openai/p, provider: p}}, {{model: openai/q, provider: q}}]
    timeout_s: 60
    max_concurrency: 4
  council:
    strategy: council
    chairman: {{model: openai/final, provider: final}}
    members: [{{model: openai/p, provider: p}}, {{model: openai/q, provider: q}}]
  hanging:
    strategy: moa
    aggregator: {{model: openai/final, provider: final}}
    proposers: [{{model: openai/p+hang, provider: p}}, {{model: openai/q+hang, provider: q}}]
  failing:
    strategy: moa
    retries: 0
    aggregator: {{model: openai/final, provider: final}}
    proposers: [{{model: openai/p+status=400, provider: p}}, {{model: openai/q+status=500, provider: q}}]
  priced:
    strategy: moa
    aggregator:
      {{model: openai/final, provider: final, input_cost_per_token: 1.0e-6, output_cost_per_token: 1.0e-6}}
  locked:
    strategy: moa
    retries: 0
    aggregator: {{model: openai/final+require_key=sk-right, provider: final}}
"""


@dataclass(frozen=True)
class Proxy:
    """A running proxy: where it is, and what it has printed."""

    url: str
    log: Path

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url, api_key=KEY, max_retries=0, timeout=60)

    def async_client(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=self.url, api_key=KEY, max_retries=0, timeout=60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_up(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{url}/health/liveliness", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"the proxy was not up after 120 s:\n{log.read_text()}")


@contextmanager
def served(server: FakeServer, folder: Path, *arguments: str, **environment: str) -> Iterator[Proxy]:
    """A proxy that `composite-lab serve` has started; its seats are on the fake server."""
    bundles = "\n  ".join(
        f"{name}: {{api_base: {server.base_url}, api_key: os.environ/KEY_OF_{name.upper()}}}"
        for name in SEAT_KEYS
    )
    file, log = folder / "profiles.yaml", folder / "log.txt"
    file.write_text(PROFILES.format(bundles=bundles))
    keys = {f"KEY_OF_{name.upper()}": key for name, key in SEAT_KEYS.items()}
    owners = {
        "LITELLM_MASTER_KEY": KEY,
        "LITELLM_LOG": "DEBUG",
        "OPENAI_API_KEY": PLANTED,
        "OPENAI_API_BASE": server.base_url,
    }
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "composite_lab.cli",
                "serve",
                "--profiles",
                str(file),
                "--port",
                str(port),
                *arguments,
            ],
            env=os.environ | keys | owners | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_up(process, url, log)
            yield Proxy(url, log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def test_the_readmes_configuration_is_the_one_that_is_written() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    (shown,) = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "model_list" in block]
    assert yaml.safe_load(shown) == proxy_config(["fast"], any_model=True)


@pytest.fixture(scope="module")
def proxy(fake_openai_server: FakeServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with served(fake_openai_server, tmp_path_factory.mktemp("serving")) as proxy:
        yield proxy


@pytest.mark.parametrize(("model", "calls"), [("panel", 3), ("council", 5)])
def test_a_sync_client_gets_answer_reasoning_usage_and_totals(
    fake_openai: FakeServer, proxy: Proxy, model: str, calls: int
) -> None:
    response = proxy.client().chat.completions.create(model=model, messages=ASK, temperature=0.3)
    message: Any = response.choices[0].message
    assert message.content
    assert message.reasoning_content.startswith(("## Proposals", "## Opinions"))
    assert message.provider_specific_fields["composite"]["calls"] == calls
    assert response.usage is not None
    assert response.usage.total_tokens == fake_openai.stats().total_tokens == calls * 120
    assert [r.body.get("temperature") for r in fake_openai.requests()] == [None] * (calls - 1) + [0.3]


def test_each_server_gets_its_own_key_and_the_planted_one_goes_nowhere(
    fake_openai: FakeServer, proxy: Proxy
) -> None:
    answer = proxy.client().chat.completions.create(
        model="council", messages=ASK, extra_body={"trace": "full"}
    )
    for request in fake_openai.requests():
        assert request.header("authorization") == f"Bearer {SEAT_KEYS[request.model]}"
    assert not [key for key in [*SEAT_KEYS.values(), PLANTED] if key in answer.model_dump_json()]


def test_an_async_client_streams_the_stages_then_the_answer_then_the_total(proxy: Proxy) -> None:
    async def ask() -> list[Any]:
        async with proxy.async_client() as client:
            stream = await client.chat.completions.create(
                model="panel", messages=ASK, stream=True, stream_options={"include_usage": True}
            )
            return [chunk async for chunk in stream]

    chunks = asyncio.run(ask())
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    reasoned = [index for index, delta in enumerate(deltas) if getattr(delta, "reasoning_content", None)]
    spoken = [index for index, delta in enumerate(deltas) if delta.content]
    assert reasoned
    assert len(spoken) > 1
    # The stages come first, what the final one took and the total last.
    assert [index for index in reasoned if index > min(spoken)] == [max(spoken) + 1, max(spoken) + 2]
    assert min(reasoned) < min(spoken)
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == [360]
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == [
        "stop"
    ]


def test_tool_calls_go_to_the_client_and_its_results_come_back(proxy: Proxy) -> None:
    client = proxy.client()
    messages: list[Any] = [{"role": "user", "content": 'Please use look_up {"word": "sky"}'}]
    first = client.chat.completions.create(model="panel", messages=messages, tools=TOOLS)
    assert first.choices[0].finish_reason == "tool_calls"
    (call,) = first.choices[0].message.tool_calls or []
    messages += [
        first.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "dark"},
    ]
    second = client.chat.completions.create(model="panel", messages=messages, tools=TOOLS)
    assert second.choices[0].message.content == "final was told by its tools: dark"


def test_a_client_sets_options_in_the_extra_body(fake_openai: FakeServer, proxy: Proxy) -> None:
    options = {
        "proposers": [{"model": "openai/p", "temperature": 0.9}],
        "prompts": {"aggregate": "Merge this: {answers}"},
        "trace": "full",
    }
    response: Any = proxy.client().chat.completions.create(model="panel", messages=ASK, extra_body=options)
    fields = response.choices[0].message.provider_specific_fields["composite"]
    trace = lab.Trace.model_validate(fields["trace"])
    assert [request.body.get("temperature") for request in fake_openai.requests()] == [0.9, None]
    assert fake_openai.base_url not in str(fields["trace"])
    assert "Merge this:" in fake_openai.requests()[-1].last_user_text
    assert trace.text == response.choices[0].message.content
    assert len(trace.to_dataframe()) == fake_openai.stats().total


def test_the_cost_header_holds_the_price_of_the_whole_run(proxy: Proxy) -> None:
    raw = proxy.client().chat.completions.with_raw_response.create(model="priced", messages=ASK)
    assert float(raw.headers["x-litellm-response-cost"]) == pytest.approx(4 * 120 * 1e-6)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            {"proposers": [{"model": "openai/p", "api_base": "http://127.0.0.1:9/v1"}]},
            r"may not set proposers\[0\]\.api_base",
        ),
        ({"aggregator": {"model": "openai/p", "api_key": "sk-x"}}, r"may not set aggregator\.api_key"),
        ({"proposers": [{"model": "openai/p", "extra_headers": {"X": "y"}}]}, "extra_headers"),
        ({"timeout_s": 600}, r"may not set timeout_s=600 \(the profile's limit is 60"),
        ({"max_concurrency": 100}, "max_concurrency=100"),
        ({"tool_executor": {"look_up": "os.system"}}, "tool_executor runs code on the server"),
        ({"samples": 5000}, "may not set samples=5000"),
        ({"proposers": ["openai/p"] * 50}, "may not set proposers="),
        ({"n": 1000}, "may not have n=1000: the limit is 8"),
        ({"max_completion_tokens": 10**7}, "may not have max_completion_tokens=10000000"),
        ({"proposers": ["openai/gpt-expensive"]}, "use a model of the profile, openai/p, openai/q"),
        ({"proposers": ["oobabooga/http://127.0.0.1:9/v1"]}, "may not name 'oobabooga/http:"),
        ({"extra_headers": {"Authorization": "Bearer sk-x"}}, "may not set extra_headers"),
        ({"headers": {"Authorization": "Bearer sk-x"}}, "may not set headers"),
        ({"optional_params": {"extra_headers": {"X": "y"}}}, "may not set extra_headers"),
        ({"api_key": "sk-x"}, "may not set api_key"),
        ({"custom_llm_provider": "openai"}, "may not set custom_llm_provider"),
        ({"api_base": "http://127.0.0.1:9"}, "may not send this: api_base is not allowed"),
        ({"extra_body": {"base_url": "http://127.0.0.1:9"}}, "base_url"),
        ({"vertex_credentials": "x"}, "may not send this: vertex_credentials is not allowed"),
    ],
)
def test_what_only_the_owner_may_set_is_refused_before_any_call(
    fake_openai: FakeServer, proxy: Proxy, body: dict[str, Any], says: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=says) as caught:
        proxy.client().chat.completions.create(model="panel", messages=ASK, extra_body=body)
    assert caught.value.status_code == 400
    assert fake_openai.stats().total == 0


def test_clients_may_do_what_the_environment_allows_and_what_the_option_allows(
    fake_openai: FakeServer, tmp_path: Path
) -> None:
    own = {"model": "openai/own", "api_base": fake_openai.base_url, "api_key": "sk-x"}
    body = {"proposers": [own], "timeout_s": 600}
    allowed = {"COMPOSITE_LAB_REMOTE_ALLOW": " endpoints, "}
    with served(fake_openai, tmp_path, "--allow", "limits", "--any-model", **allowed) as proxy:
        completions = proxy.client().chat.completions
        answer = completions.create(model="panel", messages=ASK, extra_body=body)
        assert answer.choices[0].message.content
        assert fake_openai.stats().by_model == {"own": 1, "final": 1}
        any_seat = {"proposers": ["openai/any"]}
        assert completions.create(model="composite/moa/openai/one", messages=ASK, extra_body=any_seat)
        assert fake_openai.stats().by_model == {"own": 1, "final": 1, "any": 1, "one": 1}
        with pytest.raises(openai.BadRequestError, match="may not name"):
            completions.create(model=f"composite/moa/oobabooga/{fake_openai.base_url}", messages=ASK)
    assert fake_openai.stats().total == 4


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses", "/v1/completions"])
def test_the_limits_hold_for_every_way_of_asking(fake_openai: FakeServer, proxy: Proxy, path: str) -> None:
    asked = {"/v1/messages": {"messages": ASK, "max_tokens": 50}, "/v1/responses": {"input": "Why?"}}
    body = {"model": "panel", **asked.get(path, {"prompt": "Why?"})}
    client = proxy.client()
    assert client.with_options(base_url=proxy.url).post(path, cast_to=object, body=body)
    fake_openai.reset()
    with pytest.raises(openai.BadRequestError, match="samples=5000"):
        client.post(path, cast_to=object, body=body | {"samples": 5000})
    assert fake_openai.stats().total == 0


def test_one_clients_mistake_is_no_one_elses_outage(proxy: Proxy) -> None:
    client = proxy.client()
    wrong: list[dict[str, Any]] = [{"proposers": [{"model": "openai/final", "seed": 1}]}, {}, {"layers": 9}]
    for body in [*wrong, *wrong]:
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(model="locked", messages=ASK, extra_body=body)
        assert caught.value.status_code in (400, 401)  # and never 429


def test_a_client_may_ask_for_less_than_the_profile_allows(proxy: Proxy) -> None:
    body = {"timeout_s": 30, "max_concurrency": 1}
    assert proxy.client().chat.completions.create(model="panel", messages=ASK, extra_body=body).choices


@pytest.mark.parametrize(
    ("model", "body", "status"),
    [("panel", {"layer": 2}, 400), ("panel", {"layers": 0}, 400), ("failing", {}, 502), ("locked", {}, 401)],
)
def test_an_error_has_the_right_http_status_and_no_key_in_it(
    proxy: Proxy, model: str, body: dict[str, Any], status: int
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        proxy.client().chat.completions.create(model=model, messages=ASK, extra_body=body)
    assert caught.value.status_code == status
    assert not [key for key in [*SEAT_KEYS.values(), PLANTED] if key in str(caught.value.body)]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_ends_the_calls_in_flight(
    fake_openai: FakeServer, proxy: Proxy, stream: bool
) -> None:
    async def hang_up() -> None:
        async with proxy.async_client() as client:
            asked = asyncio.create_task(
                client.chat.completions.create(model="hanging", messages=ASK, stream=stream)  # type: ignore[call-overload]
            )
            await asyncio.to_thread(fake_openai.wait_until, lambda stats: stats.in_flight == 2, timeout_s=30)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

    asyncio.run(hang_up())
    fake_openai.wait_until(lambda stats: stats.by_outcome.get("client_disconnected") == 2, timeout_s=30)
    assert fake_openai.stats().total == 2


def test_no_key_is_in_the_proxys_log_at_debug(proxy: Proxy) -> None:
    text = proxy.log.read_text()
    assert "DEBUG" in text
    found = {key for key in [*SEAT_KEYS.values(), PLANTED] if key in text}
    assert found == set()
