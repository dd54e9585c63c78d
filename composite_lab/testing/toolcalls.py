"""Which tools the fake model calls, and with which arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from composite_lab.testing.conversation import ChatCall
from composite_lab.testing.draws import tag
from composite_lab.testing.schemas import example_value

_BEFORE_ARGUMENTS = re.compile(r"\s*[:(]?\s*(?=\{)")
_JSON = json.JSONDecoder()


@dataclass(frozen=True)
class ToolCall:
    """One call of a function: `arguments` is text, normally JSON."""

    id: str | None
    name: str
    arguments: str
    signature: str | None = None


def tool_calls(call: ChatCall, choice: int) -> tuple[ToolCall, ...]:
    """Return the calls the model makes: the tools that the question names, in that order.

    Once a tool message follows that message there are none, unless the model has `tool_loop`.
    """
    functions = {tool["function"]["name"]: tool["function"] for tool in call.body.get("tools") or ()}
    wanted = call.body.get("tool_choice", "auto")
    looping = call.behaviour.tool_loop
    if not functions or wanted == "none" or (call.tool_results and not looping):
        return ()
    if isinstance(wanted, dict):
        functions = {name: functions[name] for name in [wanted["function"]["name"]]}
    asked = _asked(call, functions)
    if not asked and (looping or wanted == "required" or isinstance(wanted, dict)):
        name = next(iter(functions))
        asked = [(name, _default_arguments(call, functions[name]))]
    if isinstance(wanted, dict) or call.body.get("parallel_tool_calls") is False:
        asked = asked[:1]
    return tuple(
        ToolCall(f"call_{tag(call.key, choice)}_{i}", name, arguments)
        for i, (name, arguments) in enumerate(asked)
    )


def reason_for(calls: Iterable[tuple[str, str]]) -> str:
    """Return why a model with `needs_reasoning` makes these calls, which are names and arguments."""
    return " ".join(f"I need {name} with {arguments}." for name, arguments in calls)


def signature_of(name: str, arguments: str) -> str:
    """Return the signature that a model with `needs_signatures` puts on a call."""
    return tag("signature", name, arguments, length=32)


def _asked(call: ChatCall, functions: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    text = call.question
    longest_first = sorted(map(re.escape, functions), key=len, reverse=True)
    mentions = re.finditer(rf"(?<![\w-])({'|'.join(longest_first)})(?![\w-])", text)
    found = [(m[1], _written_arguments(call, text, m.end())) for m in mentions]
    with_arguments = {name for name, arguments in found if arguments is not None}
    asked = [
        (name, _default_arguments(call, functions[name]) if arguments is None else arguments)
        for name, arguments in found
        # A tool that is named in passing and once with arguments is called once.
        if arguments is not None or name not in with_arguments
    ]
    return list(dict.fromkeys(asked))


def _written_arguments(call: ChatCall, text: str, end: int) -> str | None:
    before = _BEFORE_ARGUMENTS.match(text, end)
    if before is None:
        return None
    start = before.end()
    try:
        _, stop = _JSON.raw_decode(text, start)
    except ValueError:
        return text[start:].splitlines()[0] if call.behaviour.bad_arguments else None
    return _spoilt(text[start:stop]) if call.behaviour.bad_arguments else text[start:stop]


def _default_arguments(call: ChatCall, function: Mapping[str, Any]) -> str:
    schema = function.get("parameters") or {"type": "object"}
    arguments = json.dumps(example_value(schema, f"{call.name} {function['name']}"))
    return _spoilt(arguments) if call.behaviour.bad_arguments else arguments


def _spoilt(arguments: str) -> str:
    return arguments[:-1].rstrip() + ","
