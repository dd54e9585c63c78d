"""The caller's conversation: what is read, what is refused, and that nothing of it is changed."""

from __future__ import annotations

import copy
import json
from typing import Any

import litellm
import pytest
from hypothesis import given
from hypothesis import strategies as st

from composite_lab import ConfigError
from composite_lab.strategies.conversation import RESULTS, read_conversation, with_material, without_tools
from composite_lab.strategies.prompts import enclose

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
ASKED = {"role": "user", "content": "Why is the sky blue?"}
TABLE: list[dict[str, Any]] = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE]},
    {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "A cat."},
    {"role": "user", "content": "Sure?", "name": "ada", "cache_control": {"type": "ephemeral"}},
]


def refusal(messages: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read_conversation(messages)
    return str(caught.value)


def test_question_becomes_a_user_message() -> None:
    assert read_conversation("Why is the sky blue?") == [ASKED]


@pytest.mark.parametrize("kind", [list, tuple])
def test_messages_are_read_with_all_their_fields(kind: Any) -> None:
    assert read_conversation(kind(TABLE)) == TABLE


def test_litellm_messages_become_plain_dicts_without_empty_fields() -> None:
    answer = litellm.Message(role="assistant", content=None, tool_calls=[TOOL_CALL])
    assert read_conversation([ASKED, answer]) == [ASKED, {"role": "assistant", "tool_calls": [TOOL_CALL]}]


def test_single_message_need_not_be_the_users() -> None:
    assert read_conversation([{"role": "system", "content": "Say hello."}])[0]["role"] == "system"


@pytest.mark.parametrize(
    ("messages", "parts"),
    [
        ([], ["[]", "non-empty"]),
        (None, ["None"]),
        (42, ["42"]),
        (ASKED, ["Why is the sky blue?", "list of messages"]),
        ("", ["empty"]),
        ([{"role": "user", "content": ""}], ["empty"]),
        ([{"role": "user", "content": []}, {"role": "assistant", "content": None}], ["empty"]),
        (["Why?"], ["messages[0]", "'Why?'"]),
        ([ASKED, None], ["messages[1]", "None"]),
        ([{"role": "usr", "content": "Why?"}], ["messages[0]", "'usr'", "user", "assistant"]),
        ([{"content": "Why?"}], ["messages[0]", "None"]),
        ([ASKED, {"role": "user", "content": 7}], ["messages[1]", "int"]),
        ([{"role": "user", "content": {"type": "text", "text": "Why?"}}], ["messages[0]", "dict"]),
        ([{"role": "user", "content": [{"text": "Why?"}]}], ["messages[0]", "type"]),
        ([{"role": "user", "content": ["Why?"]}], ["messages[0]", "type"]),
    ],
)
def test_conversation_that_cannot_work_is_refused_with_its_place(messages: Any, parts: list[str]) -> None:
    text = refusal(messages)
    assert all(part in text for part in parts), text


@pytest.mark.parametrize("part", [{"text": "Why?"}, "Why?", 7])
def test_part_without_a_type_is_refused_with_what_was_given(part: Any) -> None:
    assert repr(part) in refusal([{"role": "user", "content": [part]}])


def test_callers_objects_are_neither_changed_nor_shared() -> None:
    answer = litellm.Message(role="assistant", content="Blue.", reasoning_content="Hm.")
    answer.provider_specific_fields = {"composite": {"calls": 4}}
    given_messages: list[Any] = [*copy.deepcopy(TABLE), answer, dict(ASKED)]
    before = copy.deepcopy(given_messages)
    messages = read_conversation(given_messages)
    messages[1]["content"][1]["image_url"]["url"] = "changed"
    messages[4]["cache_control"]["type"] = "changed"
    messages.append(ASKED)
    with_material(messages, "Material.")[-1]["content"].append("changed")
    assert given_messages == before


def test_with_material_leaves_the_conversation_alone() -> None:
    for last in (ASKED, TABLE[1], TABLE[3]):
        messages = [TABLE[0], copy.deepcopy(last)]
        before = copy.deepcopy(messages)
        with_material(messages, "Material.")[-1]["role"] = "changed"
        assert messages == before


def test_material_is_a_part_of_its_own_behind_the_users_text() -> None:
    assert with_material([TABLE[0], ASKED], "Material.") == [
        TABLE[0],
        {
            "role": "user",
            "content": [{"type": "text", "text": ASKED["content"]}, {"type": "text", "text": "Material."}],
        },
    ]


def test_material_is_a_part_of_its_own_behind_the_users_parts() -> None:
    parts = TABLE[1]["content"]
    assert with_material([TABLE[1]], "Material.") == [
        {"role": "user", "content": [*parts, {"type": "text", "text": "Material."}]}
    ]


def test_other_fields_of_the_users_message_stay() -> None:
    last = with_material(TABLE, "Material.")[-1]
    assert (last["name"], last["cache_control"]) == ("ada", {"type": "ephemeral"})


@pytest.mark.parametrize("content", ["", None, []])
def test_material_behind_empty_content_stands_alone(content: Any) -> None:
    messages = [TABLE[0], {"role": "user", "content": content}]
    assert with_material(messages, "Material.")[-1] == {
        "role": "user",
        "content": [{"type": "text", "text": "Material."}],
    }


@pytest.mark.parametrize("last", [TABLE[0], TABLE[3], {"role": "assistant", "content": "Blue."}])
def test_material_behind_any_other_message_is_a_message_of_the_users(last: dict[str, Any]) -> None:
    messages = [ASKED, last]
    assert with_material(messages, "Material.") == [*messages, {"role": "user", "content": "Material."}]


def composite_answer(**fields: Any) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": "Blue.",
        "reasoning_content": "## Proposals: 3 of 3 answered",
        "provider_specific_fields": {"composite": {"calls": 4}, **fields},
    }


CALLED = TABLE[2]
TOLD = {"role": "assistant", "content": "[called look_up with {}]"}


def result(text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "call_1", "content": text}


def told(text: str) -> str:
    return f"{RESULTS}\n\n{enclose('result', [('look_up', text)])}"


def test_results_of_tools_are_told_once_each_behind_their_call() -> None:
    plain = without_tools([ASKED, CALLED, result("first"), CALLED, result("second")])
    first, second = ({"role": "user", "content": told(text)} for text in ("first", "second"))
    assert plain == [ASKED, TOLD, first, TOLD, second]


def test_results_of_tools_join_the_users_next_message() -> None:
    plain = without_tools([CALLED, result("first"), ASKED, CALLED, result("second"), ASKED])
    texts = [[told(text), ASKED["content"]] for text in ("first", "second")]
    joined = [{"role": "user", "content": [{"type": "text", "text": one} for one in pair]} for pair in texts]
    assert plain == [TOLD, joined[0], TOLD, joined[1]]


@pytest.mark.parametrize("as_object", [False, True])
def test_earlier_composite_answer_loses_what_its_seats_said(as_object: bool) -> None:
    earlier: Any = litellm.Message(**composite_answer()) if as_object else composite_answer()
    answer = read_conversation([ASKED, earlier, ASKED])[1]
    assert answer == {"role": "assistant", "content": "Blue."}


def test_earlier_composite_answer_keeps_what_the_final_models_provider_needs_back() -> None:
    signatures = {"thought_signatures": ["c2ln"]}
    answer = read_conversation([ASKED, composite_answer(**signatures), ASKED])[1]
    assert answer.get("provider_specific_fields") == signatures
    assert "reasoning_content" not in answer


@pytest.mark.parametrize("fields", [{}, {"provider_specific_fields": {"citations": [1]}}])
def test_reasoning_of_other_providers_stays(fields: dict[str, Any]) -> None:
    earlier = {"role": "assistant", "content": "Blue.", "reasoning_content": "Hm.", **fields}
    assert read_conversation([ASKED, earlier, ASKED])[1] == earlier


@pytest.mark.parametrize(
    "messages",
    [
        "half a \ud83d",
        [{"role": "user", "content": "half a \ud83d"}],
        [{"role": "user", "content": [{"type": "text", "text": "half a \ud83d"}]}],
    ],
)
def test_lone_surrogates_of_the_caller_are_replaced_before_they_break_a_request(messages: Any) -> None:
    json.dumps(read_conversation(messages), ensure_ascii=False).encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@given(
    JSON
    | st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "x"]), "content": JSON}), max_size=3)
)
def test_anything_is_either_read_or_refused_as_a_config_error(messages: Any) -> None:
    before = copy.deepcopy(messages)
    try:
        read = read_conversation(messages)
    except ConfigError:
        pass
    else:
        assert read == messages or isinstance(messages, str)
        assert with_material(read, "Material.")[-1]["role"] == "user"
    assert messages == before
