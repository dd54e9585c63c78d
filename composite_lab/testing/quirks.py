"""What the answers of real servers have in them that OpenAI's do not."""

from __future__ import annotations

from dataclasses import replace

from composite_lab.testing.behaviour import Behaviour
from composite_lab.testing.choice import Choice
from composite_lab.testing.conversation import ChatCall
from composite_lab.testing.draws import tag
from composite_lab.testing.toolcalls import ToolCall, reason_for, signature_of

REFUSAL = "I'm sorry, but I cannot help with that."

_IDS = {"none": None, "empty": "", "same": "call_0"}


def with_quirks(call: ChatCall, said: Choice, index: int) -> Choice:
    """Return the answer as a server with this behaviour gives it."""
    behaviour = call.behaviour
    if behaviour.refusal:
        return Choice(None, reasoning=said.reasoning, refusal=REFUSAL)
    if said.tool_calls:
        return _calling(behaviour, said)
    if behaviour.finish is not None:
        return replace(said, content="" if behaviour.finish == "length" else None, cut=behaviour.finish)
    return _thinking(call, said, index) if behaviour.think else said


def _calling(behaviour: Behaviour, said: Choice) -> Choice:
    reasoning = said.reasoning
    if behaviour.needs_reasoning:
        reasoning = reason_for((asked.name, asked.arguments) for asked in said.tool_calls)
    calls = tuple(_marked(behaviour, asked) for asked in said.tool_calls)
    return replace(said, tool_calls=calls, reasoning=reasoning)


def _marked(behaviour: Behaviour, asked: ToolCall) -> ToolCall:
    if behaviour.tool_ids is not None:
        asked = replace(asked, id=_IDS[behaviour.tool_ids])
    if behaviour.needs_signatures:
        asked = replace(asked, signature=signature_of(asked.name, asked.arguments))
    return asked


def _thinking(call: ChatCall, said: Choice, index: int) -> Choice:
    thoughts = f"Secret thoughts of {call.name}, line {tag('thoughts', call.key, index, length=8)}."
    if call.behaviour.think == "unclosed":
        return replace(said, content=f"<think>\n{thoughts}", cut="length")
    # Some chat templates end with the opening tag, so that the model writes only the closing one.
    opening = "<think>\n" if call.behaviour.think == "open" else ""
    return replace(said, content=f"{opening}{thoughts}\n</think>\n\n{said.content}")
