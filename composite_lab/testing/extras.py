"""Further fields of messages and bodies, as OpenAI, OpenRouter, Perplexity and LiteLLM's proxy send them."""

from __future__ import annotations

from typing import Any

from composite_lab.testing.choice import Choice
from composite_lab.testing.conversation import ChatCall

# One transparent pixel.
PICTURE = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
_SOUND = "AAAAAAAAAAA="
_QUOTED_CHARACTERS = 20


def extras(call: ChatCall, answer: Choice) -> dict[str, Any]:
    """Return the fields that `rich` adds to the message of a text, by their names."""
    if not (call.behaviour.rich and answer.content):
        return {}
    [source] = citations(call)
    quoted = {"start_index": 0, "end_index": min(len(answer.content), _QUOTED_CHARACTERS)}
    cited = {"url": source, "title": f"What {call.name} read", **quoted}
    fields: dict[str, Any] = {
        "annotations": [{"type": "url_citation", "url_citation": cited}],
        "images": [{"type": "image_url", "image_url": {"url": PICTURE}, "index": 0}],
        "provider_specific_fields": {"citations": [source]},
    }
    if "audio" in (call.body.get("modalities") or ()):
        fields["audio"] = {"id": "audio_0", "data": _SOUND, "expires_at": 0, "transcript": answer.content}
    return fields


def reasoning_fields(call: ChatCall, text: str) -> dict[str, Any]:
    """Return a text of reasoning, or a piece of it, under the names that the model has for it."""
    fields: dict[str, Any] = {call.behaviour.reasoning_field: text}
    if call.behaviour.rich:
        fields["reasoning_details"] = [{"type": "reasoning.text", "text": text, "format": None, "index": 0}]
    return fields


def citations(call: ChatCall) -> list[str]:
    """Return the sources of a `rich` answer."""
    return [f"https://example.com/{call.name}"]
