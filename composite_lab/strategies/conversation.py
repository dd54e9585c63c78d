"""The caller's conversation: checked once, copied, and never changed afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from composite_lab.errors import ConfigError
from composite_lab.redaction import printable_in
from composite_lab.strategies.prompts import enclose

Message = dict[str, Any]
RESULTS = "The tools that were called returned this:"
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


def without_tools(messages: list[Message]) -> list[Message]:
    """The conversation for models that are given no tools: tool calls and their results become text.

    Providers refuse tool messages in a request without `tools`. A call is told in the assistant's own
    message, the results in a user message behind it, inside blocks that they cannot close.
    """
    plain: list[Message] = []
    results: list[tuple[str, str]] = []
    names: dict[Any, str] = {}

    def told_results() -> str:
        told = f"{RESULTS}\n\n{enclose('result', results)}"
        results.clear()
        return told

    for message in messages:
        if message["role"] in ("tool", "function"):
            name = message.get("name") or names.get(message.get("tool_call_id"), "a tool")
            results.append((name, _text_of(message)))
            continue
        if message["role"] == "user" and results:
            # Into the user's own message, since many chat templates insist that roles alternate.
            plain.append({**message, "content": [_text_part(told_results()), *_parts(message)]})
            continue
        if results:
            plain.append({"role": "user", "content": told_results()})
        calls = message.get("tool_calls") or []
        if calls or "function_call" in message:
            functions = [call["function"] for call in calls] or [message["function_call"]]
            names |= {call.get("id"): call["function"].get("name") for call in calls}
            told = "\n".join(f"[called {one.get('name')} with {one.get('arguments')}]" for one in functions)
            text = "\n".join(filter(None, (_text_of(message), told)))
            plain.append({"role": message["role"], "content": text})
        else:
            plain.append(message)
    if results:
        plain.append({"role": "user", "content": told_results()})
    return plain


def with_material(messages: list[Message], text: str) -> list[Message]:
    """The conversation with `text` as a part of its own behind the caller's last words.

    It joins the last message when that is the user's, because many chat templates insist that user
    and assistant alternate; else it becomes a user message.
    """
    last = messages[-1]
    if last["role"] != "user":
        return [*messages, {"role": "user", "content": text}]
    return [*messages[:-1], {**last, "content": [*_parts(last), _text_part(text)]}]


def _text_part(text: str) -> Message:
    return {"type": "text", "text": text}


def _parts(message: Message) -> list[Message]:
    content = message.get("content") or []
    return [_text_part(content)] if isinstance(content, str) else list(content)


def _text_of(message: Message) -> str:
    texts = (part.get("text") for part in _parts(message))
    return "\n".join(text for text in texts if isinstance(text, str))


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
