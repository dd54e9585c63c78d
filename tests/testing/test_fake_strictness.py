"""What strict servers refuse: each request is refused with the option and accepted without it."""

from __future__ import annotations

from typing import Any

import litellm
import pytest

from composite_lab.testing import FakeServer

ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
LOOK_UP = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
PROMPT = 'Call add {"a": 1} and look_up {"city": "Rome"}.'
ALTERNATE = "roles must alternate user/assistant/user/assistant/..."


def call(id: str | None = "call_1", name: str = "add", arguments: str = '{"a": 1}') -> dict[str, Any]:
    """Return a call of a tool; without an id it has no such field."""
    told = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return told if id is None else {"id": id, **told}


def calling(*calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return an assistant message that calls tools."""
    return {"role": "assistant", "content": None, "tool_calls": list(calls or [call()]), **fields}


def result(id: str = "call_1") -> dict[str, Any]:
    """Return a tool's result."""
    return {"role": "tool", "tool_call_id": id, "content": "3"}


SYSTEM = {"role": "system", "content": "Be brief."}
DEVELOPER = {"role": "developer", "content": "Be brief."}
USER = {"role": "user", "content": "Hello?"}
PARTS = {"role": "user", "content": [{"type": "text", "text": "Hello?"}]}
SILENT = {"role": "assistant", "content": None}
ANSWER = {"role": "assistant", "content": "Hello."}
PREFIX = {"role": "assistant", "content": "He", "prefix": True}

REFUSED = [
    ("strings_only", [PARTS], 422, "messages[0]: invalid type: sequence, expected a string"),
    ("strings_only", [USER, SILENT, USER], 422, "messages[1]: invalid type: null, expected a string"),
    ("strings_only", [USER, calling(content=[])], 422, "messages[1]: invalid type: sequence"),
    ("strict_roles", [USER, SYSTEM, USER], 400, "Unexpected role 'system' after role 'user'"),
    ("strict_roles", [DEVELOPER, USER], 400, "Unexpected role 'developer'"),
    ("strict_roles", [SYSTEM, ANSWER, USER], 400, "Unexpected role 'assistant' after role 'system'"),
    ("strict_roles", [ANSWER, USER], 400, "Unexpected role 'assistant'"),
    ("strict_roles", [USER, USER], 400, "Unexpected role 'user' after role 'user'"),
    ("strict_roles", [USER, ANSWER, ANSWER, USER], 400, "'assistant' after role 'assistant'"),
    ("strict_roles", [USER, calling(), result(), USER], 400, "Unexpected role 'user' after role 'tool'"),
    ("strict_roles", [USER, calling(), USER], 400, "Unexpected role 'user'"),
    ("strict_roles", [USER, result()], 400, "Unexpected role 'tool' after role 'user'"),
    ("strict_roles=mistral", [USER, ANSWER], 400, "Expected last role User or Tool"),
    ("strict_roles=mistral", [SYSTEM], 400, "Expected last role User or Tool"),
    ("strict_roles=gemma", [SYSTEM, USER], 400, "System role not supported"),
    ("strict_roles=gemma", [DEVELOPER, USER], 400, "System role not supported"),
    ("strict_roles=gemma", [USER, USER], 400, ALTERNATE),
    ("strict_roles=gemma", [ANSWER, USER], 400, ALTERNATE),
    ("strict_roles=gemma", [USER, ANSWER], 400, ALTERNATE),
    ("strict_roles=gemma", [USER, calling(), result()], 400, ALTERNATE),
    ("strict_roles=gemma", [USER, calling(content="Hm."), USER], 400, ALTERNATE),
    ("strict_roles=llama", [SYSTEM, SYSTEM, USER], 400, ALTERNATE),
    ("strict_roles=llama", [USER, USER], 400, ALTERNATE),
    ("strict_roles=llama", [USER, calling(), result(), USER], 400, ALTERNATE),
    ("strict_roles=llama", [USER, ANSWER], 400, "must be of the role user or tool"),
    ("strict_roles=llama", [USER, PREFIX], 400, "must be of the role user or tool"),
    ("strict_ids", [USER, calling(call(None))], 400, "Tool call id has to be defined"),
    ("strict_ids", [USER, calling(call(""))], 400, "Tool call id has to be defined"),
    ("strict_ids", [USER, calling(call(), call())], 400, "Duplicate tool call id 'call_1' in messages[1]"),
    ("strict_ids", [USER, calling(), result(), calling()], 400, "Duplicate tool call id 'call_1'"),
    ("strict_ids", [USER, calling(), result("call_2")], 400, "Invalid tool_call_id 'call_2'"),
    ("strict_ids", [USER, result(), calling()], 400, "Invalid tool_call_id 'call_1'"),
    ("strict_ids", [USER, calling(), {"role": "tool", "content": "3"}], 400, "Invalid tool_call_id None"),
    ("needs_reasoning", [USER, calling(), result()], 400, "Missing `reasoning_content`"),
    ("needs_reasoning", [USER, calling(), result()], 400, "at message index 1"),
    ("needs_reasoning", [USER, calling(reasoning_content="Hm.")], 400, "is not what this model said"),
    ("needs_signatures", [USER, calling(), result()], 400, "Function call is missing a thought_signature"),
    (
        "needs_signatures",
        [USER, calling(call() | {"provider_specific_fields": {"thought_signature": "my own"}})],
        400,
        "Corrupted thought_signature",
    ),
]
ACCEPTED = [
    ("strings_only", [SYSTEM, USER, calling(), result()]),
    ("strings_only", [USER, calling(content="One moment."), result()]),
    ("strict_roles", [SYSTEM, USER, ANSWER, USER]),
    ("strict_roles", [USER, calling(), result(), result(), calling(), result(), ANSWER, USER]),
    ("strict_roles", [USER, calling(), result()]),
    ("strict_roles=mistral", [USER, PREFIX]),
    ("strict_roles=gemma", [USER, ANSWER, USER]),
    ("strict_roles=llama", [SYSTEM, USER, ANSWER, USER, calling(), result(), ANSWER, USER]),
    ("strict_ids", [USER, calling(call(), call("call_2")), result("call_2"), result(), ANSWER, USER]),
    ("needs_reasoning", [USER, calling(reasoning_content='I need add with {"a": 1}.'), result()]),
    ("needs_reasoning", [USER, ANSWER, USER]),
    ("needs_signatures", [USER, ANSWER, USER]),
]


@pytest.mark.parametrize(("option", "messages", "status", "said"), REFUSED)
def test_a_strict_server_refuses_the_conversation_and_says_why(
    chat: Any, option: str, messages: list[dict[str, Any]], status: int, said: str
) -> None:
    answer = chat(f"fake-a+{option}", messages)
    assert answer.status == status
    assert said in answer.json["error"]["message"]
    assert answer.json["error"]["param"] == "messages"
    assert chat(f"fake-a+{option}", messages, stream=True).raw == answer.raw
    assert chat("fake-a", messages).status == 200


@pytest.mark.parametrize(("option", "messages"), ACCEPTED)
def test_a_strict_server_accepts_what_keeps_its_rules(
    chat: Any, option: str, messages: list[dict[str, Any]]
) -> None:
    assert chat(f"fake-a+{option}", messages).content == chat("fake-a", messages).content


@pytest.mark.parametrize(
    ("option", "body", "said"),
    [
        ("strict_params", {"top_k": 3}, "Unrecognized request argument supplied: top_k"),
        ("strict_params", {"seed": 1, "num_retries": 2, "foo": None}, "arguments supplied: num_retries, foo"),
        ("no_max_tokens", {"max_tokens": 5}, "'max_tokens' is not supported with this model. Use 'max_comp"),
    ],
)
def test_a_strict_server_refuses_arguments(chat: Any, option: str, body: dict[str, Any], said: str) -> None:
    answer = chat(f"fake-a+{option}", **body)
    assert answer.status == 400
    assert said in answer.json["error"]["message"]
    assert chat("fake-a", **body).status == 200


def test_a_strict_server_accepts_openais_own_arguments(chat: Any) -> None:
    fine = {"max_completion_tokens": 5, "reasoning_effort": "low", "verbosity": "low", "store": True}
    fine |= {"web_search_options": {}, "prediction": None, "modalities": ["text"], "safety_identifier": "x"}
    fine |= {"metadata": {}, "service_tier": "auto", "prompt_cache_key": "x", "parallel_tool_calls": True}
    assert chat("fake-a+strict_params+no_max_tokens", **fine, max_tokens=None).status == 200


def test_the_refusal_of_max_tokens_has_openais_code(chat: Any) -> None:
    error = chat("fake-a+no_max_tokens", max_tokens=5).json["error"]
    assert (error["param"], error["code"]) == ("max_tokens", "unsupported_parameter")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("option", ["needs_reasoning", "needs_signatures"])
def test_what_a_model_wants_back_with_its_calls_comes_back_through_litellm(
    fake_openai: FakeServer, option: str, stream: bool
) -> None:
    def ask(messages: list[Any]) -> Any:
        asked: dict[str, Any] = {"tools": [ADD, LOOK_UP], "stream": stream}
        sent = {"model": f"openai/fake-a+{option}", "messages": messages, **asked}
        answer = litellm.completion(**sent, api_base=fake_openai.base_url, api_key="sk-test")
        whole: Any = litellm.stream_chunk_builder(list(answer)) if stream else answer
        return whole.choices[0].message

    question = {"role": "user", "content": PROMPT}
    message = ask([question])
    assert [asked.function.name for asked in message.tool_calls] == ["add", "look_up"]
    results = [result(asked.id) for asked in message.tool_calls]
    assert "was told by its tools: 3; 3" in ask([question, message, *results]).content
    bare = {"role": "assistant", "tool_calls": [dict(call(asked.id)) for asked in message.tool_calls]}
    with pytest.raises(litellm.BadRequestError):
        ask([question, bare, *results])
