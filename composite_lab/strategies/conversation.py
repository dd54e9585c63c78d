"""The caller's conversation: checked once, copied, and never changed afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from composite_lab.errors import ConfigError
from composite_lab.redaction import plain, printable_in
from composite_lab.strategies.history import without_own_words, without_thoughts
from composite_lab.strategies.prompts import enclose
from composite_lab.trace.call import function_of

Message = dict[str, Any]
RESULTS = "The tools that were called returned this:"
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
BETWEEN = "\n\n"
"""What stands between a message's own text and what joins it."""


def read_conversation(question: str | Sequence[Any]) -> list[Message]:
    """A question, or a list of messages (dicts or LiteLLM Messages), as a list of plain dicts of its own.

    Fields that are None are left out, as LiteLLM does. Raises `ConfigError` on an empty conversation, an
    unknown role, and content or tool calls of a wrong form.
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
    message, the results in a user message behind it, inside blocks that they cannot close. What only its
    own model can read of an assistant's message (thoughts and their signatures, spoken audio) is left out.
    """
    plain: list[Message] = []
    results: list[tuple[str, str]] = []
    names: dict[str, str] = {}

    def told_results() -> str:
        told = f"{RESULTS}{BETWEEN}{enclose('result', results)}"
        results.clear()
        return told

    for message in messages:
        if message["role"] in ("tool", "function"):
            name = message.get("name") or names.get(str(message.get("tool_call_id")), "a tool")
            results.append((name, _text_of(message)))
            continue
        if message["role"] == "user" and results:
            # Into the user's own message, since many chat templates insist that roles alternate.
            plain.append(_with_text(message, told_results(), in_front=True))
            continue
        if results:
            plain.append({"role": "user", "content": told_results()})
        names |= {str(call.get("id")): function_of(call)[0] for call in message.get("tool_calls") or []}
        plain.append(_told(message) if message["role"] == "assistant" else message)
    if results:
        plain.append({"role": "user", "content": told_results()})
    return plain


def with_material(messages: list[Message], text: str) -> list[Message]:
    """The conversation with `text` behind what the user said last, in that message.

    It joins the last user message wherever that stands, because there it is allowed by every order of
    roles: behind a tool's result many servers take no user message (Mistral), and many chat templates
    (Gemma, Llama) insist that user and assistant alternate. What was a string stays one, since many servers
    take nothing else. Only a conversation in which no user speaks gets a message more.
    """
    spoken = [place for place, message in enumerate(messages) if message["role"] == "user"]
    if not spoken:
        return [*messages, {"role": "user", "content": text}]
    joined = _with_text(messages[spoken[-1]], text)
    return [*messages[: spoken[-1]], joined, *messages[spoken[-1] + 1 :]]


def asked_on(messages: list[Message], said: str, prompt: str) -> list[Message]:
    """The conversation with an assistant's answer and what it is asked then."""
    last = messages[-1]
    if last["role"] == "assistant" and not last.get("tool_calls"):  # the answer went on from its beginning
        said, messages = f"{_text_of(last)}{said}", messages[:-1]
    return [*messages, {"role": "assistant", "content": said}, {"role": "user", "content": prompt}]


def _with_text(message: Message, text: str, *, in_front: bool = False) -> Message:
    """The message with a text joined to its own: a string if that is one, else one part more."""
    content = message.get("content")
    if isinstance(content, list) and content:
        part = {"type": "text", "text": text}
        return {**message, "content": [part, *content] if in_front else [*content, part]}
    if not content:
        return {**message, "content": text}
    return {**message, "content": f"{text}{BETWEEN}{content}" if in_front else f"{content}{BETWEEN}{text}"}


def _told(message: Message) -> Message:
    """An assistant's message for a model that has neither its tools nor its thoughts."""
    plain = without_thoughts(message)
    if isinstance(plain.get("content"), list):
        plain["content"] = [
            {"type": "text", "text": part["refusal"]} if part.get("type") == "refusal" else part
            for part in plain["content"]
        ]
    calls = plain.pop("tool_calls", None) or []
    functions = [function_of(call) for call in calls]
    if "function_call" in plain:
        functions.append(function_of({"function": plain.pop("function_call")}))
    audio = plain.pop("audio", None)
    refusal = plain.pop("refusal", None)
    content = plain.get("content")
    if content and not functions:
        return plain
    said = _text_of(plain) or refusal or (audio or {}).get("transcript") or ""
    told = "\n".join(f"[called {name} with {arguments}]" for name, arguments in functions)
    return {**plain, "content": "\n".join(filter(None, (said, told)))}


def _text_of(message: Message) -> str:
    content = message.get("content") or []
    if isinstance(content, str):
        return content
    texts = (part.get("text") or part.get("refusal") for part in content)
    return "\n".join(text for text in texts if isinstance(text, str))


def _says_something(message: Message) -> bool:
    content = message.get("content")
    if content.strip() if isinstance(content, str) else content:
        return True
    return any(message.get(name) for name in ("tool_calls", "function_call", "refusal", "audio"))


def _read_message(message: Any, index: int) -> Message:
    where = f"messages[{index}]"
    given, message = message, plain(message)
    if not isinstance(message, dict):
        raise ConfigError(f"{where} must be a dict with role and content, not {given!r}")
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise ConfigError(f"{where} has role {role!r}: use one of {', '.join(ROLES)}")
    if not (content is None or isinstance(content, str | list)):
        raise ConfigError(
            f"{where} has content of type {type(content).__name__}: use a string or a list of parts"
        )
    for part in content if isinstance(content, list) else []:
        if not (isinstance(part, dict) and "type" in part):
            raise ConfigError(
                f"{where} has a content part without a type: {part!r}; use "
                '{"type": "text", "text": …} or {"type": "image_url", "image_url": …}'
            )
    _check_calls(message, where)
    return without_own_words(printable_in(message))


def _check_calls(message: Message, where: str) -> None:
    calls = message.get("tool_calls", [])
    if not isinstance(calls, list):
        raise ConfigError(f"{where}.tool_calls must be a list of tool calls, not {calls!r}")
    for number, call in enumerate(calls):
        if not (isinstance(call, dict) and function_of(call)[0]):
            raise ConfigError(
                f"{where}.tool_calls[{number}] names no tool: {call!r}; use "
                '{"id": …, "type": "function", "function": {"name": …, "arguments": …}} or '
                '{"id": …, "type": "custom", "custom": {"name": …, "input": …}}'
            )
    legacy = message.get("function_call")
    if legacy is not None and not (isinstance(legacy, dict) and legacy.get("name")):
        raise ConfigError(f'{where}.function_call must be {{"name": …, "arguments": …}}, not {legacy!r}')
    for name, kind in (("audio", Mapping), ("refusal", str)):
        if name in message and not isinstance(message[name], kind):
            raise ConfigError(f"{where}.{name} has the type {type(message[name]).__name__}")
