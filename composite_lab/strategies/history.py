"""An assistant's earlier message: which of its thoughts are a model's own, and who may read them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from composite_lab.thoughts import split_thoughts
from composite_lab.trace.reasoning import own_reasoning

MARKER = "composite"
"""What an answer of a composite has in its `provider_specific_fields`."""
THOUGHTS = ("reasoning_content", "reasoning", "thinking_blocks", "reasoning_items", "reasoning_details")
"""Where libraries and providers write an assistant's thoughts."""
_THOUGHT_PARTS = ("thinking", "redacted_thinking", "reasoning")
_OF_ITS_MODEL = {*THOUGHTS, "provider_specific_fields", "annotations", "images"}


def without_own_words(message: dict[str, Any]) -> dict[str, Any]:
    """The message with the final model's own thoughts only, where it was an answer of a composite.

    A client sends back the `reasoning_content` that it got: what the stages said in it goes to nobody, and
    what the final model thought goes back to it, since some refuse their tool's results without it
    (DeepSeek, Kimi). It is known by its form, also when the client dropped the marker.
    """
    if message["role"] != "assistant":
        return message
    cleaned = dict(message)
    fields = cleaned.get("provider_specific_fields")
    if isinstance(fields, dict):
        others = {name: value for name, value in fields.items() if name != MARKER and value is not None}
        cleaned["provider_specific_fields"] = _cleaned(others, others)
    cleaned = _cleaned(cleaned, THOUGHTS)
    if not cleaned.get("provider_specific_fields", True):
        del cleaned["provider_specific_fields"]
    content = cleaned.get("content")
    if isinstance(content, str):
        thoughts, said = split_thoughts(content)
        if thoughts is not None and own_reasoning(thoughts.strip()) is not None:
            cleaned["content"] = said
    elif isinstance(content, list):
        cleaned["content"] = [
            _own(part) if part.get("type") in _THOUGHT_PARTS else part for part in content if part
        ]
        cleaned["content"] = [part for part in cleaned["content"] if part]
    return cleaned


def without_thoughts(message: dict[str, Any]) -> dict[str, Any]:
    """An assistant's message as other models read it: without thoughts, signatures and generated images."""
    plain = {name: value for name, value in message.items() if name not in _OF_ITS_MODEL}
    content = plain.get("content")
    if isinstance(content, str):
        plain["content"] = split_thoughts(content).text
    elif isinstance(content, list):
        plain["content"] = [part for part in content if part.get("type") not in _THOUGHT_PARTS]
    return plain


def _cleaned(fields: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The fields with our texts replaced in those of these names, without those that held nothing else."""
    owned = {name: _own(value) if name in names else value for name, value in fields.items()}
    return {name: value for name, value in owned.items() if value or value == fields[name]}


def _own(value: Any) -> Any:
    """The value with every text of ours in it replaced by the model's own part; None where none is left."""
    if isinstance(value, str):
        own = own_reasoning(value)
        return value if own is None else own or None
    if isinstance(value, list):
        kept = [(item, _own(item)) for item in value]
        return [own for item, own in kept if own or own == item]
    if isinstance(value, dict):
        owned = {name: _own(item) for name, item in value.items()}
        gone = [name for name, own in owned.items() if value[name] and not own]
        if any(owned[name] is None for name in gone) or (gone and not owned.get("encrypted_content")):
            return None  # a block whose text was ours alone
        return owned
    return value
