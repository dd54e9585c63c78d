"""In which order the chat templates of model families let the roles follow each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from composite_lab.testing.wire import Rejection

# An assistant message that calls tools, which other messages may follow than an answer.
CALLS = "assistant with tool calls"
START = "start"

_ALTERNATING = {START: {"user"}, "user": {"assistant"}, "assistant": {"user"}}
_WITH_TOOLS = {
    START: {"system", "user"},
    "system": {"user"},
    "user": {"assistant", CALLS},
    "assistant": {"user"},
    CALLS: {"tool"},
    "tool": {"tool", "assistant", CALLS},
}


@dataclass(frozen=True)
class Template:
    """Which roles may follow each role, which may be the last, and how a breach is told.

    The texts know the `role` and the one `before` it; `prefix` lets an assistant message with that flag
    be the last, for the model to go on with.
    """

    follows: Mapping[str, set[str]]
    last: frozenset[str]
    breach: str
    open_end: str
    prefix: bool = False


TEMPLATES = {
    "mistral": Template(
        _WITH_TOOLS,
        frozenset({"user", "tool"}),
        breach="Unexpected role '{role}' after role '{before}'",
        open_end="Expected last role User or Tool (or Assistant with prefix True) for serving but got {role}",
        prefix=True,
    ),
    "gemma": Template(
        _ALTERNATING,
        frozenset({"user"}),
        breach="Conversation roles must alternate user/assistant/user/assistant/...",
        open_end="Conversation roles must alternate user/assistant/user/assistant/... and end with user",
    ),
    "llama": Template(
        _WITH_TOOLS,
        frozenset({"user", "tool"}),
        breach="After the optional system message, conversation roles must alternate "
        "user/assistant/user/assistant/... ('{role}' after '{before}')",
        open_end="The last message must be of the role user or tool, not {role}",
    ),
}


def check_roles(messages: Sequence[Mapping[str, Any]], family: str) -> None:
    """Raise a `Rejection` unless the roles follow each other as the family's template wants them."""
    template = TEMPLATES[family]
    before = START
    for message in messages:
        role = _role(message)
        if family == "gemma" and role in {"system", "developer"}:
            raise Rejection(400, "System role not supported", param="messages")
        if role not in template.follows.get(before, ()):
            raise Rejection(400, template.breach.format(role=role, before=before), param="messages")
        before = role
    may_go_on = template.prefix and before == "assistant" and messages[-1].get("prefix") is True
    if before not in template.last and not may_go_on:
        raise Rejection(400, template.open_end.format(role=before), param="messages")


def _role(message: Mapping[str, Any]) -> str:
    role: str = message["role"]
    return CALLS if role == "assistant" and message.get("tool_calls") else role
