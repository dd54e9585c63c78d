"""The official client against the fake server: what it makes of the answers and of the faults."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from composite_lab.testing import FakeServer

MESSAGES: Any = [{"role": "user", "content": 'Please add {"a": 2, "b": 3} for me.'}]
TOOLS: Any = [
    {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
]


@pytest.fixture
def client(fake_openai: FakeServer) -> Iterator[openai.OpenAI]:
    """The client without retries of its own."""
    with openai.OpenAI(base_url=fake_openai.base_url, api_key="sk-test", max_retries=0, timeout=30) as client:
        yield client


def test_plain_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="fake-a+require_key=sk-test", messages=MESSAGES)
    assert "fake-a" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    assert answer.usage.total_tokens == 120


def test_stream(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="fake-a", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    plain = client.chat.completions.create(model="fake-a", messages=MESSAGES)
    assert text == plain.choices[0].message.content
    assert chunks[-1].usage == plain.usage


def test_tool_call_and_its_result(client: openai.OpenAI) -> None:
    message = (
        client.chat.completions.create(model="fake-a", messages=MESSAGES, tools=TOOLS).choices[0].message
    )
    assert message.tool_calls is not None
    [call] = message.tool_calls
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("add", '{"a": 2, "b": 3}')
    asked: Any = message.model_dump(exclude_none=True)
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "five"}
    final = client.chat.completions.create(model="fake-a", messages=[*MESSAGES, asked, result], tools=TOOLS)
    assert "five" in (final.choices[0].message.content or "")


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("fake-a+status=429", openai.RateLimitError),
        ("fake-a+status=500", openai.InternalServerError),
        ("fake-a+require_key=other", openai.AuthenticationError),
        ("unknown-model", openai.NotFoundError),
        ("fake-a+no_such_option", openai.BadRequestError),
        ("fake-a+drop", openai.APIConnectionError),
        ("fake-a+truncate", openai.APIConnectionError),
    ],
)
def test_faults_become_the_clients_own_errors(
    client: openai.OpenAI, model: str, error: type[openai.OpenAIError]
) -> None:
    with pytest.raises(error):
        client.chat.completions.create(model=model, messages=MESSAGES)


def test_clients_own_retry_succeeds_after_the_fault(fake_openai: FakeServer) -> None:
    model = "fake-a+status=429+retry_after=0.05+times=2"
    with openai.OpenAI(base_url=fake_openai.base_url, api_key="k", max_retries=2) as client:
        assert client.chat.completions.create(model=model, messages=MESSAGES).choices
    assert [record.status for record in fake_openai.requests()] == [429, 429, 200]


def test_timeout_is_recorded_as_disconnected(client: openai.OpenAI, fake_openai: FakeServer) -> None:
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.2).chat.completions.create(model="fake-a+hang", messages=MESSAGES)
    fake_openai.wait_until(lambda stats: stats.by_outcome == {"client_disconnected": 1})


async def stream_and_leave(base_url: str) -> None:
    """Read one chunk of a slow stream, then close it."""
    async with openai.AsyncOpenAI(base_url=base_url, api_key="k", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="fake-a+chunk_latency=5", messages=MESSAGES, stream=True
        )
        async for _ in stream:
            break
        await stream.close()


def test_stream_closed_by_the_client_is_recorded_as_disconnected(fake_openai: FakeServer) -> None:
    asyncio.run(stream_and_leave(fake_openai.base_url))
    fake_openai.wait_until(lambda stats: stats.by_outcome == {"client_disconnected": 1})
