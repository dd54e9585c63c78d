"""What the fake model says: a pure function of the request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from composite_lab.testing.choice import Choice
from composite_lab.testing.conversation import ChatCall, squeeze
from composite_lab.testing.draws import pick, tag
from composite_lab.testing.quirks import with_quirks
from composite_lab.testing.schemas import example_value
from composite_lab.testing.simulation import simulated_answer, simulated_review
from composite_lab.testing.toolcalls import tool_calls

QUOTED_CHARACTERS = 60

_OPENINGS = (
    "Here is what {model} makes of it: the request begins with {quote}.",
    "{model} was asked {quote}, and this is its reply.",
    "To {quote}, {model} has a short reply.",
    "This is {model} on {quote}.",
)
_MIDDLES = (
    "A fuller treatment would begin with the terms and end with an example.",
    "There are two sides to it, and the simpler one carries further.",
    "The main point fits in a line, and the details depend on the case.",
    "Most of it follows from the wording; the rest is a matter of taste.",
    "It helps to look at the smallest case first.",
)
_FILLER = "This sentence only makes the answer longer. "


def choices(call: ChatCall) -> list[Choice]:
    """Return the `n` answers to the request; the first is the same for every n."""
    return [with_quirks(call, _choice(call, i), i) for i in range(call.body.get("n") or 1)]


def _choice(call: ChatCall, index: int) -> Choice:
    behaviour = call.behaviour
    reasoning = _reasoning(call, index) if behaviour.reasoning else None
    if behaviour.empty:
        return Choice("", reasoning=reasoning)
    if behaviour.text is None and not behaviour.echo:
        asked = tool_calls(call, index)
        if asked:
            return Choice(None, asked, reasoning)
    content = _content(call, index)
    if behaviour.content_kb:
        content = _padded(content, round(behaviour.content_kb * 1024), blank=_is_structured(call))
    return Choice(content, reasoning=reasoning)


def _content(call: ChatCall, index: int) -> str:
    if call.behaviour.text is not None:
        return call.behaviour.text
    if call.behaviour.echo:
        return call.last_user_text
    text = (simulated_review(call) if call.is_review else None) or simulated_answer(call, index)
    if call.tool_results:
        # Of the tools' results alone, so that an answer does not depend on who ran them.
        told = f"{call.name} was told by its tools: {'; '.join(call.tool_results)}"
        text = f"{told}\n{text}" if text else told
    text = text or _generic_text(call, index)
    return _structured(call, text) if _is_structured(call) else text


def _generic_text(call: ChatCall, index: int) -> str:
    question = squeeze(call.question)[:QUOTED_CHARACTERS]
    opening = pick(_OPENINGS, "opening", call.key, index).format(model=call.name, quote=f'"{question}"')
    middle = pick(_MIDDLES, "middle", call.key, index)
    return f"{opening} {middle} Variant {tag('variant', call.key, index, length=8)}."


def _reasoning(call: ChatCall, index: int) -> str:
    about = squeeze(call.question)[:QUOTED_CHARACTERS]
    return f'Thinking about "{about}", line {tag("reasoning", call.key, index, length=8)}.'


def _is_structured(call: ChatCall) -> bool:
    return _response_format(call).get("type") in {"json_object", "json_schema"}


def _structured(call: ChatCall, text: str) -> str:
    asked = _response_format(call)
    if asked["type"] == "json_object":
        return json.dumps({"answer": text, "model": call.name})
    schema = asked.get("json_schema", {}).get("schema", {"type": "object"})
    return json.dumps(example_value(schema, call.key, text=text))


def _response_format(call: ChatCall) -> Mapping[str, Any]:
    asked: Mapping[str, Any] = call.body.get("response_format") or {}
    return asked


def _padded(content: str, size: int, *, blank: bool) -> str:
    missing = size - len(content.encode("utf-8", "surrogatepass")) - 1
    if missing <= 0:
        return content
    # In front, so that the last line stays the last line; blanks keep JSON valid.
    filler = " " * missing if blank else (_FILLER * (missing // len(_FILLER) + 1))[:missing]
    return f"{filler}\n{content}"
