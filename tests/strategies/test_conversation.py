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
from composite_lab.strategies.conversation import (
    RESULTS,
    asked_on,
    read_conversation,
    with_material,
    without_tools,
)
from composite_lab.strategies.prompts import enclose

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CUSTOM_CALL = {"id": "call_2", "type": "custom", "custom": {"name": "run_code", "input": "print(1)\n"}}
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


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_none(item) for name, item in value.items() if item is not None}
    return [without_none(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", [list, tuple])
def test_messages_are_read_with_all_their_fields_but_those_that_are_none(kind: Any) -> None:
    assert TABLE[2]["content"] is None
    assert read_conversation(kind(TABLE)) == without_none(TABLE)
    assert "content" not in read_conversation(kind(TABLE))[2]


@pytest.mark.parametrize(
    "called",
    [
        {"tool_calls": [CUSTOM_CALL]},
        {"tool_calls": [TOOL_CALL, CUSTOM_CALL]},
        {"tool_calls": [{"function": {"name": "look_up"}}]},
        {"tool_calls": [{**TOOL_CALL, "function": {"name": "look_up", "arguments": {"word": "sky"}}}]},
        {"tool_calls": []},
        {"function_call": {"name": "look_up", "arguments": "{}"}},
    ],
)
def test_tool_calls_of_every_kind_are_read_as_they_are(called: dict[str, Any]) -> None:
    message = {"role": "assistant", **called}
    assert read_conversation([ASKED, message]) == [ASKED, message]


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"tool_calls": "look_up"}, ["messages[1].tool_calls", "'look_up'", "list"]),
        ({"tool_calls": {"0": TOOL_CALL}}, ["messages[1].tool_calls", "list"]),
        ({"tool_calls": [TOOL_CALL, None]}, ["messages[1].tool_calls[1]", "None"]),
        ({"tool_calls": ["look_up"]}, ["messages[1].tool_calls[0]", "'look_up'", "function", "custom"]),
        ({"tool_calls": [{"id": "call_1", "name": "look_up"}]}, ["messages[1].tool_calls[0]", "'call_1'"]),
        ({"tool_calls": [{"function": "look_up"}]}, ["messages[1].tool_calls[0]"]),
        ({"tool_calls": [{"function": {"arguments": "{}"}}]}, ["messages[1].tool_calls[0]"]),
        ({"tool_calls": [{"custom": {"input": "1"}}]}, ["messages[1].tool_calls[0]"]),
        ({"function_call": "look_up"}, ["messages[1].function_call", "'look_up'"]),
        ({"function_call": {"arguments": "{}"}}, ["messages[1].function_call", "name"]),
        ({"audio": "UklGRg=="}, ["messages[1].audio", "str"]),
        ({"refusal": ["No."]}, ["messages[1].refusal", "list"]),
    ],
)
def test_malformed_calls_are_refused_with_their_place(fields: dict[str, Any], parts: list[str]) -> None:
    text = refusal([ASKED, {"role": "assistant", **fields}])
    assert all(part in text for part in parts), text


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_calls": [TOOL_CALL]},
        {"function_call": {"name": "look_up", "arguments": "{}"}},
        {"refusal": "I will not."},
        {"audio": {"id": "audio_1", "transcript": "Blue."}},
    ],
)
def test_message_that_says_something_in_another_field_is_not_empty(fields: dict[str, Any]) -> None:
    message = {"role": "assistant", "content": "", **fields}
    assert read_conversation([message]) == [message]


def test_library_objects_inside_of_messages_become_plain_data() -> None:
    call = litellm.ChatCompletionMessageToolCall(**copy.deepcopy(TOOL_CALL))
    block = litellm.Message(role="assistant", content="Hm.")
    messages = [ASKED, {"role": "assistant", "tool_calls": [call], "provider_specific_fields": {"m": block}}]
    read = read_conversation(messages)
    assert read[1]["tool_calls"] == [TOOL_CALL]
    assert read[1]["provider_specific_fields"]["m"]["content"] == "Hm."
    json.dumps(read)


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
    given_messages: list[Any] = [*copy.deepcopy(TABLE), answer, dict(ASKED), copy.deepcopy(TABLE[1])]
    before = copy.deepcopy(given_messages)
    messages = read_conversation(given_messages)
    messages[1]["content"][1]["image_url"]["url"] = "changed"
    messages[4]["cache_control"]["type"] = "changed"
    with_material(messages, "Material.")[-1]["content"].append("changed")
    messages.append(ASKED)
    assert given_messages == before


def test_with_material_leaves_the_conversation_alone() -> None:
    for last in (ASKED, TABLE[1], TABLE[3]):
        messages = [TABLE[0], copy.deepcopy(last)]
        before = copy.deepcopy(messages)
        with_material(messages, "Material.")[-1]["role"] = "changed"
        assert messages == before


JOINED = {"role": "user", "content": "Why is the sky blue?\n\nMaterial."}


def test_material_joins_the_users_text_as_one_string() -> None:
    assert with_material([TABLE[0], ASKED], "Material.") == [TABLE[0], JOINED]


def test_material_is_a_part_of_its_own_behind_the_users_parts() -> None:
    parts = TABLE[1]["content"]
    assert with_material([TABLE[1]], "Material.") == [
        {"role": "user", "content": [*parts, {"type": "text", "text": "Material."}]}
    ]


def test_other_fields_of_the_users_message_stay() -> None:
    assert with_material(TABLE, "Material.") == [*TABLE[:4], TABLE[4] | {"content": "Sure?\n\nMaterial."}]


@pytest.mark.parametrize("content", ["", None, []])
def test_material_behind_empty_content_stands_alone(content: Any) -> None:
    messages = [TABLE[0], {"role": "user", "content": content}]
    assert with_material(messages, "Material.")[-1] == {
        "role": "user",
        "content": "Material.",
    }


@pytest.mark.parametrize(
    "behind",
    [
        [TABLE[0]],
        [{"role": "assistant", "content": "Blue"}],
        [TABLE[2]],
        [TABLE[2], TABLE[3]],
        [TABLE[2], TABLE[3], TABLE[2], TABLE[3]],
        [{"role": "assistant", "function_call": TOOL_CALL["function"]}, {"role": "function", "content": "5"}],
    ],
)
def test_material_joins_the_last_user_message_wherever_that_stands(behind: list[dict[str, Any]]) -> None:
    earlier = [TABLE[0], ASKED, {"role": "assistant", "content": "Because."}]
    assert with_material([*earlier, ASKED, *behind], "Material.") == [*earlier, JOINED, *behind]
    parts = TABLE[1] | {"content": [*TABLE[1]["content"], {"type": "text", "text": "Material."}]}
    assert with_material([*earlier, TABLE[1], *behind], "Material.") == [*earlier, parts, *behind]


@pytest.mark.parametrize("messages", [[TABLE[0]], [TABLE[0], {"role": "assistant", "content": "Blue."}]])
def test_only_where_no_user_speaks_material_is_a_message_of_its_own(messages: list[dict[str, Any]]) -> None:
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
    first, second = (
        {"role": "user", "content": f"{told(text)}\n\n{ASKED['content']}"} for text in ("first", "second")
    )
    assert plain == [TOLD, first, TOLD, second]


def test_results_of_tools_are_a_part_in_front_of_the_users_parts() -> None:
    joined = TABLE[1] | {"content": [{"type": "text", "text": told("first")}, *TABLE[1]["content"]]}
    assert without_tools([CALLED, result("first"), TABLE[1]]) == [TOLD, joined]


@pytest.mark.parametrize("content", ["", None, []])
def test_results_of_tools_take_the_place_of_empty_content(content: Any) -> None:
    plain = without_tools([CALLED, result("first"), {"role": "user", "content": content, "name": "ada"}])
    assert plain == [TOLD, {"role": "user", "content": told("first"), "name": "ada"}]


def said(message: dict[str, Any]) -> dict[str, Any]:
    """An assistant's message as a model without tools reads it."""
    before = copy.deepcopy(message)
    (plain,) = without_tools([message])
    assert message == before
    return plain


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        ({"content": "Blue."}, "Blue."),
        ({"content": [{"type": "text", "text": "Blue."}]}, [{"type": "text", "text": "Blue."}]),
        ({"content": "One moment.", "tool_calls": [TOOL_CALL]}, "One moment.\n[called look_up with {}]"),
        ({"tool_calls": [TOOL_CALL]}, "[called look_up with {}]"),
        ({"tool_calls": [CUSTOM_CALL]}, "[called run_code with print(1)\n]"),
        (
            {"content": "", "tool_calls": [TOOL_CALL, CUSTOM_CALL]},
            "[called look_up with {}]\n[called run_code with print(1)\n]",
        ),
        ({"tool_calls": [{"function": {"name": "f", "arguments": {"a": "ü"}}}]},
         '[called f with {"a": "ü"}]'),
        ({"function_call": {"name": "look_up", "arguments": "{}"}}, "[called look_up with {}]"),
        ({"refusal": "I will not."}, "I will not."),
        ({"content": [{"type": "refusal", "refusal": "I will not."}], "tool_calls": [TOOL_CALL]},
         "I will not.\n[called look_up with {}]"),
        ({"audio": {"id": "audio_1", "transcript": "Blue."}}, "Blue."),
        ({"content": "Blue.", "audio": {"id": "audio_1", "transcript": "Red."}}, "Blue."),
        ({"content": "<think>Hm.</think>Blue."}, "Blue."),
        ({"content": "Blue.", "reasoning_content": "Hm.", "thinking_blocks": [{"thinking": "Hm."}]}, "Blue."),
        ({"content": "Blue.", "provider_specific_fields": {"citations": [1]}}, "Blue."),
        ({"reasoning_content": "Hm."}, ""),
    ],
)  # fmt: skip
def test_models_without_tools_read_what_an_assistant_said_and_nothing_else(
    fields: dict[str, Any], content: Any
) -> None:
    assert said({"role": "assistant", "name": "ada", **fields}) == {
        "role": "assistant",
        "name": "ada",
        "content": content,
    }


@pytest.mark.parametrize("kind", ["in one message", "in two messages", "in two turns"])
def test_results_are_told_under_the_names_of_the_tools_that_were_called(kind: str) -> None:
    first, second, both = (
        {"role": "assistant", "tool_calls": calls}
        for calls in ([TOOL_CALL], [CUSTOM_CALL], [TOOL_CALL, CUSTOM_CALL])
    )
    called = {
        "in one message": [both],
        "in two messages": [first, second],
        "in two turns": [first, ASKED, second],
    }
    results = [
        {"role": "tool", "tool_call_id": f"call_{number}", "content": f"{number}"} for number in (2, 1)
    ]
    labelled = enclose("result", [("run_code", "2"), ("look_up", "1")])
    plain = without_tools([*called[kind], *results])
    assert plain[-1] == {"role": "user", "content": f"{RESULTS}\n\n{labelled}"}


def test_a_result_says_itself_which_tool_it_is_of_or_is_of_a_tool() -> None:
    results = [{"role": "function", "name": "add", "content": "5"}, {"role": "tool", "content": "6"}]
    labelled = enclose("result", [("add", "5"), ("a tool", "6")])
    assert without_tools(results) == [{"role": "user", "content": f"{RESULTS}\n\n{labelled}"}]


def test_conversation_without_tools_is_left_as_it_is() -> None:
    messages = [TABLE[0], TABLE[1], {"role": "assistant", "content": "Blue.", "name": "ada"}, ASKED]
    assert without_tools(messages) == messages


AGAIN = {"role": "user", "content": "Sure?"}


def test_who_is_asked_again_reads_its_answer_and_what_is_asked_now() -> None:
    answered = {"role": "assistant", "content": "Blue."}
    assert asked_on([ASKED], "Blue.", "Sure?") == [ASKED, answered, AGAIN]
    results = [ASKED, CALLED, result("first")]
    assert asked_on(results, "Blue.", "Sure?") == [*results, answered, AGAIN]


@pytest.mark.parametrize("content", ["The sky", [{"type": "text", "text": "The sky"}]])
def test_an_answer_that_went_on_from_a_beginning_is_one_message_with_it(content: Any) -> None:
    messages = [ASKED, {"role": "assistant", "content": content}]
    before = copy.deepcopy(messages)
    whole = {"role": "assistant", "content": "The sky is blue."}
    assert asked_on(messages, " is blue.", "Sure?") == [ASKED, whole, AGAIN]
    assert messages == before


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


def test_earlier_composite_answer_gives_the_final_model_its_own_thoughts_back() -> None:
    reasoning = (
        "## Proposals: 1 of 1 answered · 0.1 s\n\n- proposer 1 · openai/p: Blue.\n\n"
        "## Reasoning of the aggregator, openai/a\n\nHm.\n\nYes.\n\n## Total: 2 calls, 0 failed · 0.2 s"
    )
    answer = read_conversation([ASKED, composite_answer() | {"reasoning_content": reasoning}, ASKED])[1]
    assert answer == {"role": "assistant", "content": "Blue.", "reasoning_content": "Hm.\n\nYes."}


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
        assert read == without_none(messages) or isinstance(messages, str)
        assert "Material." in str(with_material(read, "Material.")[-1]["content"])
    assert messages == before
