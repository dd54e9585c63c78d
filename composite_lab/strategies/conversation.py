"""The caller's conversation: checked once, copied, and never changed afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from composite_lab.errors import ConfigError
from composite_lab.redaction import printable_in

Message = dict[str, Any]
ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def read_conversation(question: str | Sequence[Any]) -> list[Message]:
    """A question, or a list of messages (dicts or LiteLLM Messages), as a list of plain dicts of its own.

    Raises `ConfigError` on an empty conversation, an unknown role or content of a wrong type.
    """
    if isinstance(question, str):
        question = [{"role": "user", "content": question}]
    if not isinstance(question, Sequence) or not question:
        raise ConfigError(
            f"messages must be a question or a non-empty list of messages, not {question!r}: "
            'for example [{"role": "user", "content": "Why is the sky dark at night?"}]'
        )
    messages = [_read_message(message, index) for index, message in enumerate(question)]
    if not any(map(_says_something, messages)):
        raise ConfigError("all messages are empty: at least one needs content")
    return messages


def with_material(messages: list[Message], text: str) -> list[Message]:
    """The conversation with `text` as a part of its own behind the caller's last words.

    It joins the last message when that is the user's, because many chat templates insist that user
    and assistant alternate; else it becomes a user message.
    """
    part = {"type": "text", "text": text}
    last = messages[-1]
    if last["role"] != "user":
        return [*messages, {"role": "user", "content": text}]
    content = last.get("content") or []
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    return [*messages[:-1], {**last, "content": [*parts, part]}]


def _says_something(message: Message) -> bool:
    content = message.get("content")
    return bool(content.strip() if isinstance(content, str) else content) or bool(message.get("tool_calls"))


def _read_message(message: Any, index: int) -> Message:
    if hasattr(message, "model_dump"):
        message = message.model_dump(exclude_none=True)
    if not isinstance(message, dict):
        raise ConfigError(f"messages[{index}] must be a dict with role and content, not {message!r}")
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise ConfigError(f"messages[{index}] has role {role!r}: use one of {', '.join(ROLES)}")
    if not (content is None or isinstance(content, str | list)):
        raise ConfigError(
            f"messages[{index}] has content of type {type(content).__name__}: use a string or a list of parts"
        )
    for part in content if isinstance(content, list) else []:
        if not (isinstance(part, dict) and "type" in part):
            raise ConfigError(
                f"messages[{index}] has a content part without a type: {part!r}; use "
                '{"type": "text", "text": …} or {"type": "image_url", "image_url": …}'
            )
    copied: Message = printable_in(message)
    own_fields = copied.get("provider_specific_fields") or {}
    if "composite" in own_fields:
        # An earlier answer of a composite, sent back as history: what its seats said stays between them.
        others = {
            name: value for name, value in own_fields.items() if name != "composite" and value is not None
        }
        copied = {
            name: copied[name]
            for name in copied
            if name not in ("reasoning_content", "provider_specific_fields")
        }
        if others:
            copied["provider_specific_fields"] = others
    return copied
