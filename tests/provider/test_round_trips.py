"""The second turn of a tool conversation: what a client sends back of the first one's answer.

The final model gets back what it needs of its own (thoughts, signatures, ids), and nobody gets what the
stages said, in whichever way the composite was asked and whatever the client kept of the answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import litellm
import pytest

import composite_lab as lab
from composite_lab.testing import FakeServer
from tests.provider.ways import of_chunks

Message = dict[str, Any]
ASK: Message = {"role": "user", "content": 'Please use look_up {"x": 1}.'}
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": SCHEMA}}]
PERSONALITIES = [
    "", "+needs_reasoning", "+needs_signatures", "+strict_ids+tool_ids=empty", "+strict_ids+tool_ids=none",
    "+strict_ids+tool_ids=same+tool_index=zero", "+strict_roles=mistral", "+strict_roles=llama",
    "+strings_only", "+reasoning",
]  # fmt: skip
PROPOSALS = "This is what the proposer says, and nobody else is to read it."


def asked(endpoint: dict[str, str], personality: str) -> dict[str, Any]:
    return {
        "model": f"composite/moa/openai/m{personality}",
        "proposers": [f"openai/p+text={PROPOSALS.replace(' ', '%20').replace(',', '%2C')}"],
        "retries": 0,
        **endpoint,
    }


def whole(request: dict[str, Any]) -> Message:
    answer = litellm.completion(messages=[ASK], tools=TOOLS, **request)
    message: Message = answer.choices[0].message.model_dump()
    return message


def streamed(request: dict[str, Any]) -> Message:
    """What a client that joins the deltas by itself makes of the stream."""
    seen = of_chunks(litellm.completion(messages=[ASK], tools=TOOLS, stream=True, **request))
    calls = [
        {
            **{name: value for name, value in call.items() if name not in ("name", "given")},
            "function": {"name": call["name"], "arguments": call["given"]},
        }
        for call in seen.tool_calls
    ]
    return {
        "role": "assistant",
        "content": seen.content or None,
        "reasoning_content": seen.reasoning,
        "tool_calls": calls,
    }


def built(request: dict[str, Any]) -> Message:
    """What LiteLLM's own builder makes of it."""
    chunks = list(litellm.completion(messages=[ASK], tools=TOOLS, stream=True, **request))
    response: Any = litellm.stream_chunk_builder(chunks)
    message: Message = response.choices[0].message.model_dump()
    return message


def everything(message: Message) -> Message:
    return message


def without_marker(message: Message) -> Message:
    return {name: value for name, value in message.items() if name != "provider_specific_fields"}


@pytest.mark.parametrize("kept", [everything, without_marker])
@pytest.mark.parametrize("first", [whole, streamed, built])
@pytest.mark.parametrize("personality", PERSONALITIES)
def test_a_client_goes_on_with_what_it_got(
    fake_openai: FakeServer,
    endpoint: dict[str, str],
    personality: str,
    first: Callable[[dict[str, Any]], Message],
    kept: Callable[[Message], Message],
) -> None:
    request = asked(endpoint, personality)
    said = kept(first(request))
    assert "## Proposals" in said["reasoning_content"]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "4"} for call in said["tool_calls"]]
    fake_openai.reset()
    answer = litellm.completion(messages=[ASK, said, *results], tools=TOOLS, **request)
    assert "was told by its tools: 4" in answer.choices[0].message.content
    nothing_of_ours_was_sent(fake_openai)


@pytest.mark.parametrize("way", ["run", "stream"])
@pytest.mark.parametrize("personality", PERSONALITIES)
def test_a_result_s_message_can_be_sent_back(
    fake_openai: FakeServer, endpoint: dict[str, str], personality: str, way: str
) -> None:
    moa = lab.MoA(
        aggregator=lab.Seat(model=f"openai/m{personality}", **endpoint),
        proposers=[lab.Seat(model="openai/p", **endpoint)],
        retries=0,
    )
    if way == "run":
        result = moa.run([ASK], tools=TOOLS)
    else:
        (result,) = [
            event.result for event in moa.stream([ASK], tools=TOOLS) if isinstance(event, lab.Finished)
        ]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "4"} for call in result.tool_calls]
    assert "told by its tools: 4" in moa.run([ASK, result.message, *results], tools=TOOLS).text


@pytest.mark.parametrize("way", ["run", "stream"])
@pytest.mark.parametrize("personality", PERSONALITIES)
def test_tools_that_the_run_carries_out_go_back_in_the_same_way(
    endpoint: dict[str, str], personality: str, way: str
) -> None:
    asked: list[int] = []
    moa = lab.MoA(
        aggregator=lab.Seat(model=f"openai/m{personality}", **endpoint),
        proposers=[lab.Seat(model="openai/p", **endpoint)],
        retries=0,
        tool_executor={"look_up": lambda x: asked.append(x) or f"number {x}"},
    )
    question = 'Please use look_up {"x": 1} and look_up {"x": 2}.'
    if way == "run":
        result = moa.run(question, tools=TOOLS)
    else:
        events = list(moa.stream(question, tools=TOOLS))
        result = events[-1].result
        assert "".join(event.text for event in events if isinstance(event, lab.TextDelta)) == result.text
    assert sorted(asked) == [1, 2]
    assert "told by its tools: number 1; number 2" in result.text


@pytest.mark.parametrize("personality", ["+needs_reasoning", "+reasoning", ""])
def test_through_the_messages_api(
    fake_openai: FakeServer, endpoint: dict[str, str], personality: str
) -> None:
    request = asked(endpoint, personality) | {"max_tokens": 500}
    tools = [{"name": "look_up", "input_schema": SCHEMA}]

    async def ask(messages: list[Any]) -> Any:
        return await litellm.anthropic.messages.acreate(messages=messages, tools=tools, **request)

    first = asyncio.run(ask([ASK]))["content"]
    assert any("## Proposals" in (part.get("thinking") or "") for part in first)
    results = [
        {"type": "tool_result", "tool_use_id": part["id"], "content": "4"}
        for part in first
        if part["type"] == "tool_use"
    ]
    fake_openai.reset()
    said = {"role": "assistant", "content": first}
    second = asyncio.run(ask([ASK, said, {"role": "user", "content": results}]))["content"]
    assert "told by its tools: 4" in second[-1]["text"]
    nothing_of_ours_was_sent(fake_openai)


@pytest.mark.parametrize("personality", ["+needs_reasoning", "+reasoning", ""])
def test_through_the_responses_api(
    fake_openai: FakeServer, endpoint: dict[str, str], personality: str
) -> None:
    request = asked(endpoint, personality)
    tools = [{"type": "function", "name": "look_up", "parameters": SCHEMA}]
    first = [
        item.model_dump(exclude_none=True) if hasattr(item, "model_dump") else item
        for item in litellm.responses(input=[ASK], tools=tools, **request).output
    ]
    assert any("## Proposals" in json.dumps(item) for item in first)
    results = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "4"}
        for item in first
        if item["type"] == "function_call"
    ]
    fake_openai.reset()
    second = litellm.responses(input=[ASK, *first, *results], tools=tools, **request)
    texts = [part.text for item in second.output if item.type == "message" for part in item.content]
    assert "told by its tools: 4" in texts[-1]
    nothing_of_ours_was_sent(fake_openai)


def nothing_of_ours_was_sent(server: FakeServer) -> None:
    """What the proposer said in the first turn went to nobody as somebody's words or thoughts."""
    for request in server.requests():
        for message in request.messages:
            told = json.dumps({name: value for name, value in message.items() if name != "content"})
            assert "##" not in told
            assert PROPOSALS not in told
            if message["role"] == "assistant":
                assert PROPOSALS not in json.dumps(message)
