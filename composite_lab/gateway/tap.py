"""Tap: what a provider's own chunks say before LiteLLM reads them.

LiteLLM's stream drops chunks without text (a refusal, details of reasoning) and the finish reasons of further
choices, makes up a finish reason where there was none, and counts tokens itself where nobody told them. It
holds the provider's stream as `completion_stream`; where that is not there to be tapped, what LiteLLM says is
taken as told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from composite_lab.redaction import plain

_WITH_EVENTS = {"role", "content", "reasoning_content", "reasoning", "tool_calls"}
"""What of a delta LiteLLM passes on in any case, and what has an event of its own."""


class Tap:
    """The provider's stream, listened to. Everything else of it is as it was."""

    def __init__(self, source: Any) -> None:
        self._source = source
        if hasattr(source, "chunk_parser"):
            source.chunk_parser = _with_all_reasoning(source.chunk_parser)
        self._chunks = aiter(source)
        self.usage_was_told = False
        self.reasoning_tokens_were_told = False
        self.finish_reasons: dict[int, str] = {}
        self._details: list[tuple[int, dict[str, Any]]] = []

    @classmethod
    def into(cls, stream: Any) -> Tap | None:
        """The tap of a LiteLLM stream, None where it cannot be tapped."""
        source = getattr(stream, "completion_stream", None)
        if not hasattr(source, "__aiter__"):
            return None
        tap = cls(source)
        stream.completion_stream = tap
        return tap

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __aiter__(self) -> Tap:
        return self

    async def __anext__(self) -> Any:
        chunk = await anext(self._chunks)
        self._note(chunk)
        return chunk

    def details(self) -> list[tuple[int, dict[str, Any]]]:
        """What came besides text and tool calls since this was last asked for, each with its choice."""
        found, self._details = self._details, []
        return found

    def _note(self, chunk: Any) -> None:
        if (usage := _get(chunk, "usage")) is not None:
            self.usage_was_told = True
            details = _get(usage, "completion_tokens_details")
            self.reasoning_tokens_were_told |= _get(details, "reasoning_tokens") is not None
        if _get(chunk, "is_finished") and (reason := _get(chunk, "finish_reason")):
            self.finish_reasons[0] = reason
        for choice in _get(chunk, "choices") or []:
            index = index_of(choice)
            if reason := _get(choice, "finish_reason"):
                self.finish_reasons[index] = reason
            if details := details_of(choice):
                self._details.append((index, details))


def index_of(choice: Any) -> int:
    """Which choice it is; the first one where a server says no number."""
    index = _get(choice, "index")
    return index if isinstance(index, int) else 0


def details_of(choice: Any) -> dict[str, Any]:
    """What a choice of a chunk holds besides text, reasoning and tool calls, as plain data."""
    found: dict[str, Any] = {}
    for name, value in _fields(_get(choice, "delta")):
        if value not in (None, [], {}, "") and name not in _WITH_EVENTS:
            found[name] = plain(value)
    if (logprobs := _get(choice, "logprobs")) is not None:
        found["logprobs"] = plain(logprobs)
    return found


def _fields(delta: Any) -> list[tuple[str, Any]]:
    if isinstance(delta, dict):
        return list(delta.items())
    return (
        [] if delta is None else [*vars(delta).items(), *(getattr(delta, "model_extra", None) or {}).items()]
    )


def _with_all_reasoning(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A reader of chunks that finds reasoning under both of its names: some of LiteLLM's know only one."""

    def parse_all(chunk: Any) -> Any:
        for choice in _get(chunk, "choices") or []:
            delta = _get(choice, "delta")
            if isinstance(delta, dict) and delta.get("reasoning_content"):
                delta.setdefault("reasoning", delta["reasoning_content"])
        return parse(chunk)

    return parse_all


def _get(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)
