"""An assistant's earlier message: what of it goes back to its own model, and what other models read."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from composite_lab.strategies.history import THOUGHTS, without_own_words, without_thoughts
from composite_lab.trace.reasoning import END, own_heading, stage_section, totals_section
from composite_lab.trace.summary import summarize
from tests import records

PROPOSED = records.call(text="The seats' secret.")
FINAL = records.call("d", stage="aggregation", role="aggregator", text="Blue.")
STAGES = stage_section("Proposals", [PROPOSED])
END_OF_RUN = stage_section("Aggregation", [FINAL]) + totals_section(
    summarize("t", "moa", "ok", [PROPOSED, FINAL], 2.0), [PROPOSED, FINAL]
)
OURS = f"{STAGES}{END_OF_RUN}"
"""What a composite tells whose final model did not think."""
OWN = "Hm.\n\nYes."
OURS_WITH_OWN = f"{STAGES}{own_heading('aggregator', 'openai/a')}{OWN}{END}{END_OF_RUN}"
MARKER = {"composite": {"calls": 2}}


def assistant(**fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": "Blue.", **fields}


def kept(**fields: Any) -> dict[str, Any]:
    """What stays of the fields of an assistant's message; the text does."""
    message = assistant(**fields)
    before = copy.deepcopy(message)
    cleaned = without_own_words(message)
    assert message == before
    assert "secret" not in json.dumps(cleaned)
    assert cleaned.pop("role") == "assistant"
    if "content" not in fields:
        assert cleaned.pop("content") == "Blue."
    return cleaned


def thinking(text: str, **fields: Any) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, **fields}


def item(text: str) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs_1", "text": text}


def test_both_texts_are_as_a_run_writes_them() -> None:
    assert "secret" in OURS
    assert "secret" in OURS_WITH_OWN
    assert OURS.startswith("## Proposals: 1 of 1 answered")


@pytest.mark.parametrize("marked", [{}, {"provider_specific_fields": MARKER}])
@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_our_text_is_removed_or_replaced_by_the_final_models_own(name: str, marked: dict[str, Any]) -> None:
    assert kept(**{name: OURS}, **marked) == {}
    assert kept(**{name: f"\n{OURS}\n"}, **marked) == {}
    assert kept(**{name: OURS_WITH_OWN}, **marked) == {name: OWN}


@pytest.mark.parametrize("name", ["thinking_blocks", "reasoning_items", "reasoning_details"])
@pytest.mark.parametrize("block", [thinking, item])
def test_our_text_in_blocks_is_removed_or_replaced(name: str, block: Any) -> None:
    assert kept(**{name: [block(OURS)]}) == {}
    assert kept(**{name: [block(OURS_WITH_OWN)]}) == {name: [block(OWN)]}
    others = [block("Hm."), {"type": "redacted_thinking", "data": "c2ln"}]
    assert kept(**{name: [others[0], block(OURS), others[1]]}) == {name: others}


def test_our_text_in_the_summary_of_an_item_is_removed_or_replaced() -> None:
    def summed(*texts: str, **fields: Any) -> list[dict[str, Any]]:
        return [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": text} for text in texts]}
            | fields
        ]

    assert kept(reasoning_items=summed(OURS_WITH_OWN)) == {"reasoning_items": summed(OWN)}
    assert kept(reasoning_items=summed(OURS, "Hm.")) == {"reasoning_items": summed("Hm.")}
    sealed = {"encrypted_content": "c2ln"}
    assert kept(reasoning_items=summed(OURS, **sealed)) == {"reasoning_items": summed(**sealed)}


def test_the_marker_goes_and_other_fields_of_a_provider_stay() -> None:
    assert kept(provider_specific_fields=MARKER) == {}
    signatures = {"thought_signatures": ["c2ln"]}
    assert kept(provider_specific_fields={**MARKER, **signatures}) == {"provider_specific_fields": signatures}
    assert kept(provider_specific_fields={"composite": None, "citations": None}) == {}


def test_our_text_in_the_fields_of_a_provider_is_removed_or_replaced_and_the_others_stay() -> None:
    signatures = {"thought_signatures": ["c2ln"]}
    assert kept(provider_specific_fields={**MARKER, "reasoning_content": OURS}) == {}
    for own, left in ((OURS, {}), (OURS_WITH_OWN, {"reasoning_content": OWN})):
        cleaned = kept(provider_specific_fields={"reasoning_content": own, **signatures})
        assert cleaned == {"provider_specific_fields": {**left, **signatures}}


def test_our_text_in_parts_of_the_content_is_removed_or_replaced() -> None:
    said = {"type": "text", "text": "Blue."}
    for kind in ("thinking", "reasoning"):
        part = {"type": kind, kind: OURS}
        assert kept(content=[part, said]) == {"content": [said]}
        part = {"type": kind, kind: OURS_WITH_OWN}
        assert kept(content=[part, said]) == {"content": [{"type": kind, kind: OWN}, said]}
    other = [thinking("Hm.", signature="c2ln"), {"type": "redacted_thinking", "data": "c2ln"}, said]
    assert kept(content=other) == {"content": other}


@pytest.mark.parametrize("space", ["", "\n"])
def test_our_text_in_tags_before_the_answer_is_removed(space: str) -> None:
    for ours in (OURS, OURS_WITH_OWN):
        assert kept(content=f"<think>{space}{ours}{space}</think>Blue.") == {"content": "Blue."}


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "Hm."},
        {"reasoning_content": "## Proposals\n\nThree of them answered."},
        {"reasoning_content": "Let me see.\n\n## Proposals: 2 of 3 answered"},
        {"reasoning_content": "## Reasoning of the aggregator, openai/a\n\nHm."},
        {
            "reasoning": "Hm.",
            "reasoning_details": [{"type": "reasoning.encrypted", "data": "c2ln", "index": 0}],
        },
        {"thinking_blocks": [thinking("Hm.", signature="c2ln"), thinking("", signature="c2ln")]},
        {
            "reasoning_items": [
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2ln"}
            ]
        },
        {"provider_specific_fields": {"citations": [[], {"url": "https://example.org"}], "empty": ""}},
        {"content": "<think>Hm.</think>Blue."},
        {"content": "## Proposals: 2 of 3 answered\n\nSo it says."},
        {"content": [thinking("Hm."), {"type": "text", "text": "## Proposals: 2 of 3 answered"}]},
        {"content": "", "tool_calls": [{"id": "x", "type": "function", "function": {"name": "f"}}]},
        {"refusal": "I will not.", "audio": {"id": "audio_1"}, "name": "ada", "cache_control": {"type": "x"}},
    ],
)
def test_what_is_not_ours_stays_as_it_is(fields: dict[str, Any]) -> None:
    message = assistant(**fields)
    assert without_own_words(copy.deepcopy(message)) == message


@pytest.mark.parametrize("role", ["system", "developer", "user", "tool", "function"])
def test_messages_of_others_stay_whatever_they_quote(role: str) -> None:
    message = {"role": role, "content": f"<think>{OURS}</think>", "reasoning_content": OURS}
    assert without_own_words(dict(message)) == message


@pytest.mark.parametrize("name", [*THOUGHTS, "provider_specific_fields", "annotations", "images"])
def test_other_models_read_nothing_that_only_its_own_model_can(name: str) -> None:
    assert without_thoughts(assistant(**{name: "Hm."})) == assistant()


@pytest.mark.parametrize(
    ("content", "read"),
    [
        ("Blue.", "Blue."),
        ("<think>Hm.</think>Blue.", "Blue."),
        ("Hm.</think>Blue.", "Blue."),
        ("<think>Hm.", ""),
        ("It ends at `</think>`.", "It ends at `</think>`."),
        ("", ""),
        ([], []),
        (None, None),
        ([thinking("Hm."), {"type": "text", "text": "Blue."}], [{"type": "text", "text": "Blue."}]),
        ([{"type": "redacted_thinking", "data": "c2ln"}, {"type": "reasoning", "text": "Hm."}], []),
        ([{"type": "refusal", "refusal": "No."}], [{"type": "refusal", "refusal": "No."}]),
    ],
)
def test_other_models_read_what_was_said_without_thoughts(content: Any, read: Any) -> None:
    message = assistant(content=content)
    before = copy.deepcopy(message)
    assert without_thoughts(message) == assistant(content=read)
    assert message == before


def test_calls_names_and_what_the_caller_says_of_a_message_are_read_by_all() -> None:
    message = assistant(
        tool_calls=[{"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        function_call={"name": "f"}, refusal="No.", audio={"id": "a"}, name="ada",
        cache_control={"type": "x"},
    )  # fmt: skip
    assert without_thoughts(message) == message
