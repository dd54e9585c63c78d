"""A composite is a model: whatever the final model's server is like, whatever is asked and in whichever way.

Beside each question to a composite the final model is asked the same alone, through plain LiteLLM. The
request that reaches it is the same but for our material in the last user message, and the answer is the
same, whole or in pieces. Where plain LiteLLM is refused, so is the composite.
"""

from __future__ import annotations

import asyncio
from itertools import cycle
from typing import Any

import litellm
import pytest

from composite_lab.testing import FakeServer
from tests.provider.ways import STREAMED, WAYS, Question, Seen, plain

TEXT = "+text=The%20answer%20is%204."
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}},
    },
}
ASK_TOOLS = 'Please use look_up {"x": 1} and look_up {"x": 2}.'

# Every personality answers the text in TEXT unless it says what else it does; those with tools call them.
TEXT_PERSONALITIES = [
    "", "+strings_only", "+strict_roles=mistral", "+strict_roles=gemma", "+strict_roles=llama", "+strict_ids",
    "+strict_params", "+no_max_tokens", "+think=open", "+think=close", "+think=unclosed", "+reasoning",
    "+reasoning+reasoning_field=reasoning", "+rich", "+rich+reasoning", "+usage=none", "+usage=every",
    "+usage=zero", "+no_done", "+empty_first", "+interleaved", "+refusal", "+finish=length",
    "+finish=content_filter", "+empty",
]  # fmt: skip
TOOL_PERSONALITIES = [
    "", "+strings_only", "+strict_roles=mistral", "+strict_roles=llama", "+strict_ids", "+needs_reasoning",
    "+needs_signatures", "+tool_ids=none", "+tool_ids=empty", "+tool_ids=same", "+tool_index=zero",
    "+tool_index=none", "+tool_pieces=whole", "+tool_pieces=repeated",
    "+tool_ids=same+tool_index=zero", "+reasoning", "+usage=none",
]  # fmt: skip
EMPTY = ("+think=unclosed", "+refusal", "+finish=length", "+finish=content_filter", "+empty")
"""Personalities that nobody can build on, so they do not propose here."""

THOUGHT = "A greeting, it seems."
"""What the final model thought in an earlier turn, which no other model is to read."""
CALL = {"id": "call00001", "type": "function", "function": {"name": "look_up", "arguments": '{"x": 1}'}}
HISTORIES: dict[str, list[dict[str, Any]]] = {
    "question": [{"role": "user", "content": "What is 2 + 2?"}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "What is 2 + 2?"}]}],
    "turns": [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hello."},
        {
            "role": "assistant",
            "content": "Hello!",
            "tool_calls": None,
            "function_call": None,
            "refusal": None,
        },
        {"role": "user", "content": "What is 2 + 2?", "name": None},
    ],
    "no system": [
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": f"<think>{THOUGHT}</think>Hello!"},
        {"role": "user", "content": "What is 2 + 2?"},
    ],
    "tool round": [
        {"role": "user", "content": "What is the first?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call00001", "content": "4"},
    ],
    "prefill": [
        {"role": "user", "content": "What is 2 + 2?"},
        {"role": "assistant", "content": "The answer", "prefix": True},
    ],
}
PARAMETERS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.0, "seed": 7, "stop": ["END"], "user": "somebody", "top_p": 0.5},
    {"max_completion_tokens": 50},
    {"max_tokens": 50},
    {"reasoning_effort": "low"},
    {"logprobs": True, "top_logprobs": 2},
    {"n": 2},
    {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
    {"verbosity": "low", "drop_params": True},
    {"response_format": {"type": "json_object"}},
    {"service_tier": "flex", "parallel_tool_calls": False, "tools": [TOOL], "tool_choice": "none"},
    {"prompt_cache_key": "k", "safety_identifier": "s", "store": True, "logit_bias": {"1": 2}},
]


def material_in(sent: list[dict[str, Any]], alone: list[dict[str, Any]]) -> str:
    """What was added to the messages, once they are seen to be the same but for it."""
    assert [message["role"] for message in sent] == [message["role"] for message in alone]
    last = max(place for place, message in enumerate(alone) if message["role"] == "user")
    before, after = alone[last].pop("content"), sent[last].pop("content")
    assert sent == alone
    assert type(after) is type(before)
    if isinstance(before, str):
        assert after.startswith(f"{before}\n\n")
        return str(after.removeprefix(before))
    assert after[:-1] == before
    assert after[-1].keys() == {"type", "text"}
    return str(after[-1]["text"])


def outcome(ask: Any, question: Question) -> tuple[Seen | None, str]:
    try:
        return ask(question), ""
    except Exception as error:
        return None, str(error)


def check(server: FakeServer, question: Question, way: str) -> None:
    """The composite by this way beside plain LiteLLM, and a stream of it beside its whole answer."""
    name = question.model.partition("/")[2]
    server.reset()
    expected, refused = outcome(plain, question)
    alone = next(request.body for request in server.requests() if request.model == name)
    server.reset()
    seen, error = outcome(WAYS[way], question)
    finals = [request.body for request in server.requests() if request.model == name]
    others = [request for request in server.requests() if request.model != name]
    assert not any(THOUGHT in text for request in others for text in request.texts)
    if expected is None:
        assert seen is None, f"plain LiteLLM: {refused}"
        return
    assert seen is not None, error
    (final,) = finals
    assert "<answer-" in material_in(final.pop("messages"), alone.pop("messages"))
    final.pop("stream", None)
    final.pop("stream_options", None)
    assert final == alone
    compare(seen, expected, question)
    if way in STREAMED:
        whole, error = outcome(WAYS["run" if way in ("stream", "astream") else "completion"], question)
        assert whole is not None, error
        assert seen.said == whole.said | {"tool_calls": seen.said["tool_calls"]}
        assert [call.get("given") for call in seen.tool_calls] == [
            call.get("given") for call in whole.tool_calls
        ]


def compare(seen: Seen, expected: Seen, question: Question) -> None:
    """The answer is that of the final model alone, thoughts that LiteLLM leaves in a text apart."""
    text = expected.content
    if "+think=close" in question.model:
        text = text.partition("</think>")[2]
    if "+think=unclosed" in question.model:
        text = ""
    answered = "response_format" not in question.params  # what fills a schema depends on what was asked
    assert not answered or seen.content == text
    assert "think>" not in seen.content
    if "+reasoning" in question.model or "+think" in question.model:
        assert "hought" in seen.reasoning or "hinking" in seen.reasoning
    for name in ("refusal", "annotations", "images", "citations", "finish_reason"):
        assert getattr(seen, name) == getattr(expected, name), name
    assert len(seen.others) == len(expected.others)
    assert not answered or seen.tokens == expected.tokens
    ids = [call.get("id") for call in seen.tool_calls]
    assert all(ids)
    assert len(set(ids)) == len(ids)
    assert seen.said["tool_calls"] == expected.said["tool_calls"]


def question(
    endpoint: dict[str, str], personality: str, history: str, params: dict[str, Any], text: str = TEXT
) -> Question:
    proposer = "openai/p" if personality in EMPTY else f"openai/p{personality}"
    return Question(f"openai/m{personality}{text}", [proposer], endpoint, HISTORIES[history], params)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("personality", TEXT_PERSONALITIES)
def test_every_server_answers_a_composite_as_it_answers_alone(
    fake_openai: FakeServer, endpoint: dict[str, str], personality: str, way: str
) -> None:
    check(fake_openai, question(endpoint, personality, "no system", {}), way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("personality", TOOL_PERSONALITIES)
def test_every_server_calls_its_tools_from_inside_a_composite(
    fake_openai: FakeServer, endpoint: dict[str, str], personality: str, way: str
) -> None:
    params = {"tools": [TOOL]}
    asked = Question(
        f"openai/m{personality}", [f"openai/p{personality}"], endpoint,
        [{"role": "user", "content": ASK_TOOLS}], params,
    )  # fmt: skip
    check(fake_openai, asked, way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("roles", ["", "+strict_roles=mistral", "+strict_roles=gemma", "+strict_roles=llama"])
def test_every_history_reaches_the_final_model_as_it_was_written(
    fake_openai: FakeServer, endpoint: dict[str, str], history: str, roles: str, way: str
) -> None:
    params = {"tools": [TOOL]} if history == "tool round" else {}
    check(fake_openai, question(endpoint, roles, history, params), way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", range(len(PARAMETERS)))
def test_every_parameter_reaches_the_final_model_as_plain_litellm_sends_it(
    fake_openai: FakeServer, endpoint: dict[str, str], number: int, way: str
) -> None:
    check(fake_openai, question(endpoint, "", "turns", PARAMETERS[number]), way)


# What the tables above do not cross: each personality with each history and each parameter once.
_WAYS = cycle(WAYS)
CROSSED = [
    (personality, history, number, next(_WAYS))
    for place, personality in enumerate(TEXT_PERSONALITIES)
    for number, history in zip(
        [(place + step) % len(PARAMETERS) for step in range(len(HISTORIES))], HISTORIES, strict=True
    )
]


@pytest.mark.parametrize(("personality", "history", "number", "way"), CROSSED)
def test_server_history_and_parameter_together(
    fake_openai: FakeServer, endpoint: dict[str, str], personality: str, history: str, number: int, way: str
) -> None:
    params = PARAMETERS[number]
    if history == "tool round":
        params = params | {"tools": [TOOL]}
    check(fake_openai, question(endpoint, personality, history, params), way)


def by_responses(asked: Question) -> str:
    request = {name: value for name, value in asked.request().items() if name != "messages"}
    answer = litellm.responses(input=asked.messages, **request)
    return "".join(part.text for item in answer.output if item.type == "message" for part in item.content)


def by_messages(asked: Question) -> str:
    async def ask() -> Any:
        return await litellm.anthropic.messages.acreate(**asked.request(), max_tokens=99)

    return "".join(part.get("text") or "" for part in asyncio.run(ask())["content"])


@pytest.mark.parametrize("ask", [by_responses, by_messages])
@pytest.mark.parametrize("personality", [each for each in TEXT_PERSONALITIES if each not in EMPTY])
def test_every_server_answers_through_litellms_other_ways_of_asking(
    fake_openai: FakeServer, endpoint: dict[str, str], personality: str, ask: Any
) -> None:
    if ask is by_messages and "no_max_tokens" in personality:
        pytest.skip("the Messages API always says max_tokens")
    if ask is by_responses and "rich" in personality:
        pytest.skip("of an answer with images, LiteLLM's Responses API has nothing but these")
    asked = question(endpoint, personality, "question", {})
    name = asked.model.partition("/")[2]
    expected = plain(asked)
    (alone,) = [request.body["messages"] for request in fake_openai.requests() if request.model == name]
    fake_openai.reset()
    text = ask(asked)
    (final,) = [request.body["messages"] for request in fake_openai.requests() if request.model == name]
    assert "<answer-" in material_in(final, alone)
    assert text.strip().endswith("The answer is 4.")
    assert expected.content.strip().endswith("The answer is 4.")
    assert "think>" not in text
