"""Tool calls of the fake model."""

from __future__ import annotations

import json
from typing import Any

import pytest

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}
LOOK_UP = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome"]}},
        },
    },
}
TOOLS = [ADD, LOOK_UP]


def called(message: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the names and arguments of the calls."""
    return [(c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls", ())]


def with_results(prompt: str, message: dict[str, Any], results: list[str]) -> list[dict[str, Any]]:
    """Return the conversation after the tools have answered."""
    answers = [
        {"role": "tool", "tool_call_id": call["id"], "content": result}
        for call, result in zip(message["tool_calls"], results, strict=True)
    ]
    return [{"role": "user", "content": prompt}, message, *answers]


def test_named_tools_are_called_in_order_of_appearance(chat: Any) -> None:
    answer = chat(
        "fake-a", 'First look_up {"city": "Rome"}, then please call add {"a": 2, "b": {"c": 3}}.', tools=TOOLS
    )
    assert called(answer.message) == [("look_up", '{"city": "Rome"}'), ("add", '{"a": 2, "b": {"c": 3}}')]
    assert answer.message["content"] is None
    assert answer.json["choices"][0]["finish_reason"] == "tool_calls"
    ids = [call["id"] for call in answer.message["tool_calls"]]
    assert [i.rpartition("_")[2] for i in ids] == ["0", "1"]
    assert all(i.startswith("call_") for i in ids)


def test_same_tool_with_other_arguments_is_called_again(chat: Any) -> None:
    message = chat("fake-a", 'add {"a": 1, "b": 1} and add {"a": 2, "b": 2}', tools=TOOLS).message
    assert called(message) == [("add", '{"a": 1, "b": 1}'), ("add", '{"a": 2, "b": 2}')]


def test_arguments_default_to_values_that_fit_the_schema(chat: Any) -> None:
    [(_, add), (_, look_up)] = called(chat("fake-a", "Use add and look_up.", tools=TOOLS).message)
    assert {type(value) for value in json.loads(add).values()} == {int}
    assert set(json.loads(add)) == {"a", "b"}
    assert json.loads(look_up)["city"] in {"Oslo", "Rome"}


@pytest.mark.parametrize(
    "prompt", ["Address the additional matter.", "Nothing to call.", "my-add or add_all"]
)
def test_tool_is_called_only_when_its_name_stands_as_a_word(chat: Any, prompt: str) -> None:
    assert called(chat("fake-a", prompt, tools=TOOLS).message) == []


def test_tools_named_in_enclosed_answers_are_not_called(chat: Any) -> None:
    prompt = 'Judge this.\n<answer-0a label="A">\nI would add it.\n</answer-0a>'
    assert called(chat("fake-a", prompt, tools=TOOLS).message) == []


def test_tool_choice_rules(chat: Any) -> None:
    specific = {"type": "function", "function": {"name": "look_up"}}
    names = {
        choice: [name for name, _ in called(chat("fake-a", text, tools=TOOLS, tool_choice=choice).message)]
        for choice, text in [("none", "add"), ("auto", "hello"), ("required", "hello")]
    }
    assert names == {"none": [], "auto": [], "required": ["add"]}
    message = chat("fake-a", 'add {"a": 1, "b": 2}', tools=TOOLS, tool_choice=specific).message
    assert [name for name, _ in called(message)] == ["look_up"]
    missing = {"type": "function", "function": {"name": "missing"}}
    assert chat("fake-a", "x", tools=TOOLS, tool_choice=missing).status == 400


def test_parallel_calls_can_be_switched_off(chat: Any) -> None:
    message = chat("fake-a", "add and look_up", tools=TOOLS, parallel_tool_calls=False).message
    assert [name for name, _ in called(message)] == ["add"]


def test_final_text_contains_every_tool_result(chat: Any) -> None:
    prompt = "Use add and look_up."
    message = chat("fake-a", prompt, tools=TOOLS).message
    final = chat("fake-a", with_results(prompt, message, ["forty-two", "rainy"]), tools=TOOLS).message
    assert called(final) == []
    assert "forty-two" in final["content"]
    assert "rainy" in final["content"]


def test_new_user_message_is_answered_with_new_calls(chat: Any) -> None:
    prompt = "Use add."
    message = chat("fake-a", prompt, tools=TOOLS).message
    conversation = [*with_results(prompt, message, ["3"]), {"role": "user", "content": "Now look_up."}]
    assert [name for name, _ in called(chat("fake-a", conversation, tools=TOOLS).message)] == ["look_up"]


def test_tool_loop_asks_for_ever_with_new_ids(chat: Any) -> None:
    prompt = 'add {"a": 1, "b": 2}'
    conversation: list[dict[str, Any]] = [{"role": "user", "content": prompt}]
    seen = []
    for _ in range(4):
        message = chat("fake-a+tool_loop", conversation, tools=TOOLS).message
        assert called(message) == [("add", '{"a": 1, "b": 2}')]
        seen.append(message["tool_calls"][0]["id"])
        conversation += with_results(prompt, message, ["3"])[1:]
    assert len(set(seen)) == 4


def test_bad_arguments_are_sent_as_written(chat: Any) -> None:
    prompt = 'Call add {"a": 2,'
    [(_, arguments)] = called(chat("fake-a+bad_arguments", prompt, tools=TOOLS).message)
    assert arguments == '{"a": 2,'
    [(_, arguments)] = called(chat("fake-a", prompt, tools=TOOLS).message)
    assert set(json.loads(arguments)) == {"a", "b"}


def test_bad_arguments_spoil_good_ones(chat: Any) -> None:
    for prompt in ("add", 'add {"a": 1, "b": 2}'):
        [(_, arguments)] = called(chat("fake-a+bad_arguments", prompt, tools=TOOLS).message)
        with pytest.raises(ValueError, match="Expecting"):
            json.loads(arguments)


def test_streamed_calls_add_up_to_the_plain_ones(chat: Any) -> None:
    prompt = 'look_up {"city": "Rome"} and add {"a": 22222, "b": 33333}'
    events = chat("fake-a", prompt, tools=TOOLS, stream=True).events
    deltas = [event["choices"][0]["delta"] for event in events]
    pieces = [piece for delta in deltas for piece in delta.get("tool_calls", ())]
    plain = chat("fake-a", prompt, tools=TOOLS).message["tool_calls"]
    for i, call in enumerate(plain):
        first, *rest = [piece for piece in pieces if piece["index"] == i]
        assert (first["id"], first["type"], first["function"]["name"]) == (
            call["id"],
            "function",
            call["function"]["name"],
        )
        assert len(rest) > 1
        assert (
            "".join(piece["function"]["arguments"] for piece in [first, *rest])
            == call["function"]["arguments"]
        )
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"
