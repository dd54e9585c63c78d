"""Histories as libraries write them, and as nobody should: read, or refused with what is wrong."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from composite_lab import ConfigError
from composite_lab.strategies.conversation import read_conversation, with_material, without_tools

FUNCTION = {"name": "f", "arguments": "{}"}
OURS = "## Proposals: 1 of 1 answered · 1.0 s\n\n- proposer 1 · a: x"
VALUES: list[Any] = [
    None, "", "x", 7, 1.5, True, [], {}, [None], [{}], ["a"], OURS, [{"type": "text"}], {"id": "a"}, [[]],
    [{"type": "text", "text": None}], [{"type": "text", "text": "hi"}],
    [{"type": "refusal", "refusal": "no"}],
    [{"type": "thinking", "thinking": OURS}], [{"type": 7}], FUNCTION, {"name": "f", "arguments": None},
    [{"id": ["c"], "type": "function", "function": FUNCTION}], [{"id": None, "function": {"name": "f"}}],
    [{"id": "c", "type": "custom", "custom": {"name": "s", "input": "q"}}], [{"function": None}],
    {"id": "a", "transcript": "t"}, {"composite": {}}, {"composite": None, "reasoning": OURS},
]  # fmt: skip
FIELDS = [
    "tool_calls", "function_call", "refusal", "audio", "reasoning_content", "reasoning", "thinking_blocks",
    "reasoning_items", "reasoning_details", "provider_specific_fields", "name", "tool_call_id", "annotations",
    "images", "cache_control",
]  # fmt: skip
CONTENTS = [
    "hi",
    None,
    "",
    "<think>a",
    [{"type": "text", "text": "hi"}],
    [{"type": "refusal", "refusal": "no"}],
]
MESSAGES = st.builds(
    lambda role, content, fields: {"role": role, "content": content} | fields,
    st.sampled_from(["system", "user", "assistant", "assistant", "tool", "function", "robot"]),
    st.sampled_from(CONTENTS) | st.sampled_from(VALUES),
    st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(VALUES), max_size=4),
)


@settings(max_examples=400)
@given(st.lists(MESSAGES, min_size=1, max_size=4))
def test_any_history_is_read_or_refused(messages: list[dict[str, Any]]) -> None:
    before = json.dumps(messages)
    with suppress(ConfigError):
        read = read_conversation(messages)
        for sent in (read, without_tools(read), with_material(without_tools(read), "Material.")):
            assert OURS not in json.dumps([m for m in sent if m["role"] == "assistant"], ensure_ascii=False)
        assert json.dumps(with_material(read, "Material.")).count("Material.") == 1
    assert json.dumps(messages) == before
