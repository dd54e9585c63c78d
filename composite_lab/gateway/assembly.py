"""Assembly: a streamed answer put together as the whole reply would have been, and told while it comes.

LiteLLM's `stream_chunk_builder` merges several choices into one text and tool calls without ids into one
call, leaves out what it does not know, and counts tokens itself where nobody told them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import litellm

from composite_lab.gateway.tap import details_of, index_of
from composite_lab.gateway.toolcalls import StreamedCalls, id_maker
from composite_lab.thoughts import Piece, Splitter, split_thoughts
from composite_lab.trace.events import DetailsDelta, Event, ReasoningDelta, TextDelta, ToolCallDelta

_MESSAGE = {
    "function_call", "refusal", "audio", "images", "annotations", "thinking_blocks", "reasoning_items",
    "provider_specific_fields",
}  # fmt: skip
"""Further fields that a message has; LiteLLM puts all others of a whole reply into the last of these."""
_TEXTS = {"refusal", "transcript", "data", "thinking", "text", "summary", "reasoning", "arguments"}
"""Fields that come in pieces of text; of other texts the last one holds."""
_BLOCKS = {"thinking_blocks", "reasoning_details"}
_ENVELOPE = {"id", "created", "model", "object", "system_fingerprint", "choices", "usage"}


class Assembly:
    """One streamed answer. `take` gives the events of a chunk, `end` the last ones, `response` all of it.

    `messages` is what was asked, `plainly` whether the model's text can be shown as it comes.
    """

    def __init__(self, messages: list[dict[str, Any]], *, plainly: bool) -> None:
        self._messages = messages
        self._plainly = plainly
        self._choices: dict[int, _Choice] = {}
        self._envelope: dict[str, Any] = {}
        self._usage: Any = None
        self.chars = 0
        """How many characters have come: text, reasoning and arguments of tool calls."""

    @property
    def began_in_thoughts(self) -> bool:
        """Whether a text began inside of thoughts that nothing had opened."""
        return any(choice.began_in_thoughts for choice in self._choices.values())

    @property
    def showed_thoughts(self) -> bool:
        """Whether such thoughts were told as text, because the model had never done so before."""
        return any(choice.showed_thoughts for choice in self._choices.values())

    @property
    def partial_text(self) -> str:
        """What has come of the first choice's text."""
        return "".join(self._choices[0].raw) if 0 in self._choices else ""

    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended, None if nobody said."""
        return self._choices[0].finish_reason if 0 in self._choices else None

    def take(self, chunk: Any, *, with_details: bool) -> list[Event]:
        """The events of a chunk, as LiteLLM has read it; details only if they come in no other way."""
        for name in ("id", "created", "model", "system_fingerprint"):
            if value := getattr(chunk, name, None):
                self._envelope[name] = value
        for name, value in (chunk.model_extra or {}).items():
            if value is not None and name not in _ENVELOPE:
                self._envelope[name] = value
        if (usage := getattr(chunk, "usage", None)) is not None:
            self._usage = usage
        events: list[Event] = []
        for choice in chunk.choices:
            index = index_of(choice)
            taken = self._of(index).take(choice)
            self.chars += len(choice.delta.content or "") + sum(
                len(event.text if isinstance(event, ReasoningDelta) else event.arguments)
                for event in taken
                if isinstance(event, ReasoningDelta | ToolCallDelta)
            )
            events += taken
            if with_details and (fields := details_of(choice)):
                events += self.add_details(index, fields)
        return events

    def add_details(self, index: int, fields: Mapping[str, Any]) -> list[Event]:
        """The event of what a choice holds besides text and tool calls."""
        return self._of(index).add_details(fields)

    def end(self, told: Mapping[int, str] | None) -> list[Event]:
        """The events of what was held back.

        `told` are the finish reasons that the provider told, where they are known: LiteLLM passes on only
        one, and makes one up where there was none.
        """
        if told is not None:
            for index in {*self._choices, *told}:
                choice = self._of(index)
                choice.finish_reason = (choice.finish_reason or told[index]) if index in told else None
        return [event for choice in self._choices.values() for event in choice.end()]

    def response(self, *, usage_was_told: bool) -> litellm.ModelResponse:
        """The whole reply, with its usage if the provider told it."""
        choices = [self._choices[index].whole() for index in sorted(self._choices)]
        usage = {"usage": self._usage} if self._usage is not None and usage_was_told else {}
        return litellm.ModelResponse(**self._envelope, choices=choices, **usage)

    def _of(self, index: int) -> _Choice:
        if index not in self._choices:
            self._choices[index] = _Choice(index, self._messages, plainly=self._plainly)
        return self._choices[index]


class _Choice:
    """One of the answers of a stream."""

    def __init__(self, index: int, messages: list[dict[str, Any]], *, plainly: bool) -> None:
        self.index = index
        self.raw: list[str] = []
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.calls = StreamedCalls(id_maker(messages, index))
        self.details: dict[str, Any] = {}
        self.logprobs: dict[str, Any] = {}
        self.finish_reason: str | None = None
        self.began_in_thoughts = self.showed_thoughts = False
        self._was_trusted = plainly
        self._splitter = Splitter(plainly=plainly)

    def take(self, choice: Any) -> list[Event]:
        delta, events = choice.delta, list[Event]()
        if reasoning := getattr(delta, "reasoning_content", None):
            self.reasoning.append(reasoning)
            events.append(ReasoningDelta(reasoning, self.index))
            self._splitter.plainly = True  # who tells thoughts apart leaves none in the text
        if delta.content:
            self.raw.append(delta.content)
            events += self._told(self._splitter.feed(delta.content))
        for piece in delta.tool_calls or []:
            events.append(self._call_event(piece))
        if choice.finish_reason:
            self.finish_reason = choice.finish_reason
        return events

    def add_details(self, fields: Mapping[str, Any]) -> list[Event]:
        for name, value in fields.items():
            if name == "logprobs":
                self.logprobs = _joined(name, self.logprobs, value)
            elif name in _MESSAGE:
                self.details[name] = _joined(name, self.details.get(name), value)
            else:
                own = self.details.setdefault("provider_specific_fields", {})
                own[name] = _joined(name, own.get(name), value)
        return [DetailsDelta(dict(fields), self.index)]

    def end(self) -> list[Event]:
        events = self._told(self._splitter.finish())
        if self._was_trusted and not self.reasoning:
            thoughts, said = split_thoughts("".join(self.text))
            if thoughts is not None:
                self.reasoning.append(thoughts)
                self.text = [said]
                self.showed_thoughts = True
        self.began_in_thoughts = self.showed_thoughts or self._splitter.found_lone_end
        return events

    def whole(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self.text) or None, **self.details}
        if blocks := message.get("thinking_blocks"):  # LiteLLM has them twice in a whole reply
            own = message.get("provider_specific_fields") or {}
            message["provider_specific_fields"] = {"thinking_blocks": blocks, **own}
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if self.calls.calls:
            message["tool_calls"] = [call.as_dict() for call in self.calls.calls]
        choice = {"index": self.index, "message": message, "finish_reason": self.finish_reason}
        return choice | ({"logprobs": self.logprobs} if self.logprobs else {})

    def _told(self, pieces: Iterable[Piece]) -> list[Event]:
        events: list[Event] = []
        for piece in pieces:
            kept, event = (self.reasoning, ReasoningDelta) if piece.is_thought else (self.text, TextDelta)
            kept.append(piece.text)
            events.append(event(piece.text, self.index))
        return events

    def _call_event(self, given: Any) -> ToolCallDelta:
        piece = self.calls.add(given)
        call = piece.call
        return ToolCallDelta(
            index=call.position,
            id=call.id if piece.begins else None,
            name=call.name if piece.begins else None,
            arguments=piece.arguments,
            choice=self.index,
            type=call.type,
            fields=piece.fields,
        )


def _joined(name: str, before: Any, value: Any) -> Any:
    """A field with its next piece."""
    if isinstance(before, str) and isinstance(value, str):
        return before + value if name in _TEXTS else value
    if isinstance(before, list) and isinstance(value, list):
        return _joined_blocks(before, value) if name in _BLOCKS else before + value
    if before is None:
        return value
    if isinstance(before, dict) and isinstance(value, dict):
        merged = dict(before)
        _merge(merged, value)
        return merged
    return value


def _merge(whole: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for name, value in piece.items():
        if value is not None:
            whole[name] = _joined(name, whole.get(name), value)


def _joined_blocks(blocks: list[Any], pieces: list[Any]) -> list[Any]:
    """Blocks of thinking with their next pieces: texts, and last the signature."""
    if not all(isinstance(block, dict) for block in [*blocks, *pieces]):
        return blocks + pieces
    joined = [dict(block) for block in blocks]
    for piece in pieces:
        last = joined[-1] if joined else {}
        same = all(piece.get(name) == last.get(name) for name in ("type", "index"))
        if same and not last.get("signature"):
            _merge(last, {name: value for name, value in piece.items() if value != ""})
        else:
            joined.append(dict(piece))
    return joined
