"""Where the user's own words end and other models' words begin, in a message and in a conversation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from composite_lab.testing import load_questions

QUESTION = load_questions()[0]
# Not of the package's wording: the fake server goes by the form alone.
TOGETHER = "Some models have answered alone; their answers, named add and look_up, stand below."
ADVICE = "Make one answer of these, and call add or look_up for nothing."
RANKING = "Judge them.\n\nFINAL RANKING:\n1. <label>"
SCORES = 'Score them:\n\n{"Response 1": {"clear": <1 to 5>}, "Response 2": {"clear": <1 to 5>}}'
CHOOSE = (
    "Your answer has to be one of these, as written:\n\n- add\n- look_up\n\n"
    "Give reasons first.\n\nVERDICT: <the option>\nCONFIDENCE: <0.00 to 1.00>"
)
AGREED = ("One.\nAnswer: add", "Two.\nAnswer: add")
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("add", "look_up")
]
CALLED = [
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "c", "content": "forty-two"},
]


def user(content: Any) -> dict[str, Any]:
    """Return a message of the user."""
    return {"role": "user", "content": content}


def blocks(*texts: str, kind: str = "answer") -> str:
    """Return texts as the package encloses them."""
    labelled = enumerate(texts, 1)
    return "\n\n".join(f'<{kind}-0f3a label="Response {i}">\n{text}\n</{kind}-0f3a>' for i, text in labelled)


def material(end: str = ADVICE, *texts: str) -> str:
    """Return other models' answers between what is said about them."""
    return f"{TOGETHER}\n\n{blocks(*(texts or AGREED))}\n\n{end}"


def council(end: str = ADVICE) -> str:
    """Return answers and reviews under headings, below a paragraph that introduces both."""
    reviews = blocks("Fine.", kind="review")
    return f"{TOGETHER}\n\nThe answers:\n\n{blocks('One.', 'Two.')}\n\nThe reviews:\n\n{reviews}\n\n{end}"


def parts(*texts: str) -> list[dict[str, str]]:
    """Return texts as parts of a message."""
    return [{"type": "text", "text": text} for text in texts]


OWN = "What is new?\n\nPlease tell."
BEFORE = [user(OWN), {"role": "assistant", "content": "Hm."}]
FORMS = {
    "a string": [user(f"{OWN}\n\n{material()}")],
    "a string under headings": [user(f"{OWN}\n\n{council()}")],
    "a further part": [user(parts(OWN, material()))],
    "a further part under headings": [user(parts(OWN, council()))],
    "a message of its own": [*BEFORE, user(material())],
    "a message of its own under headings": [*BEFORE, user(council())],
    "in front of an answer begun": [user(f"{OWN}\n\n{material()}"), {"role": "assistant", "content": "So,"}],
    "options alone": [user(f"{OWN}\n\n{CHOOSE}")],
    "options in a part": [user(parts(OWN, CHOOSE))],
    "answers and options": [user(f"{OWN}\n\n{council(f'{ADVICE}{chr(10)}{chr(10)}{CHOOSE}')}")],
}


@pytest.mark.parametrize("form", FORMS)
def test_the_question_is_what_the_user_wrote(chat: Any, form: str) -> None:
    """Reasoning quotes the question, and tools are called that it names."""
    message = chat("fake-a+reasoning", FORMS[form], tools=TOOLS).message
    assert 'about "What is new? Please tell.", line' in message["reasoning_content"]
    assert "tool_calls" not in message


@pytest.mark.parametrize("form", FORMS)
def test_a_tool_that_the_question_names_is_called_whatever_stands_below(chat: Any, form: str) -> None:
    asked = json.loads(json.dumps(FORMS[form]).replace("Please tell.", "Please call look_up."))
    calls = chat("fake-a", asked, tools=TOOLS).message["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["look_up"]


@pytest.mark.parametrize("form", FORMS)
def test_a_tools_results_behind_the_question_are_told_and_end_the_calls(chat: Any, form: str) -> None:
    asked = json.loads(json.dumps(FORMS[form]).replace("Please tell.", "Please add."))
    told = chat("fake-a", [*asked, *CALLED], tools=TOOLS).message
    assert "tool_calls" not in told
    assert told["content"].startswith("fake-a was told by its tools: forty-two")


def test_a_tools_results_before_the_material_of_its_own_are_told_too(chat: Any) -> None:
    told = chat("fake-a", [user("Please add."), *CALLED, user(material())], tools=TOOLS)
    assert told.content.startswith("fake-a was told by its tools: forty-two")
    earlier = [user("Please add."), *CALLED, user(f"And now?\n\n{material()}")]
    assert "forty-two" not in chat("fake-a", earlier, tools=TOOLS).content


def test_an_image_alone_asks_with_material_beside_it(chat: Any) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    asked = [*BEFORE, user([image, *parts(material())])]
    assert 'about "", line' in chat("fake-a+reasoning", asked).message["reasoning_content"]


@pytest.mark.parametrize("behind", [[], CALLED])
@pytest.mark.parametrize("joined", ["string", "part"])
def test_material_behind_the_question_is_reviewed_and_weighed(
    chat: Any, joined: str, behind: list[Any]
) -> None:
    def answered(text: str, model: str = "fake-a") -> str:
        own = QUESTION.prompt
        content = f"{own}\n\n{text}" if joined == "string" else parts(own, text)
        return str(chat(model, [user(content), *behind]).content)

    assert answered(material()).endswith("Answer: add")
    assert "FINAL RANKING:\n1. Response" in answered(material(RANKING))
    assert json.loads(answered(material(SCORES)).splitlines()[-1]).keys() == {"Response 1", "Response 2"}
    assert "VERDICT: add\nCONFIDENCE: 1.00" in answered(material(CHOOSE))
    assert "\nVERDICT: " in answered(CHOOSE)
    knowing = answered(material(RANKING, "Answer: 0", f"Answer: {QUESTION.target}"), "sim-x+accuracy=1")
    assert "FINAL RANKING:\n1. Response 2" in knowing


def test_what_the_user_or_another_model_writes_asks_for_no_review(chat: Any) -> None:
    for text in (f"My final ranking?\n\n{material()}", f"Well?\n\n{material(ADVICE, 'final ranking', 'x')}"):
        assert "FINAL RANKING:" not in chat("fake-a", text).content


@pytest.mark.parametrize("behind", [[], CALLED])
def test_asked_again_the_model_finds_the_answers_further_up(chat: Any, behind: list[Any]) -> None:
    def again(end: str, prompt: str, model: str = "fake-a") -> str:
        begun = [user(f"{QUESTION.prompt}\n\n{material(end)}"), *behind]
        messages = [*begun, {"role": "assistant", "content": "Hm."}, user(prompt)]
        return str(chat(model, messages).content)

    assert "FINAL RANKING:\n1. Response" in again(
        RANKING, "No ranking was found.\n\nFINAL RANKING:\n1. <label>"
    )
    assert json.loads(again(SCORES, SCORES).splitlines()[-1]).keys() == {"Response 1", "Response 2"}
    assert "VERDICT: add\nCONFIDENCE: 1.00" in again(CHOOSE, CHOOSE)
