"""The events of a streamed answer, as OpenAI sends them or as the model's quirks have it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from typing import Any

from composite_lab.testing.choice import Choice
from composite_lab.testing.conversation import ChatCall
from composite_lab.testing.extras import extras, reasoning_fields
from composite_lab.testing.mutation import mutated
from composite_lab.testing.tokens import piece_logprobs, pieces
from composite_lab.testing.toolcalls import ToolCall
from composite_lab.testing.wire import envelope, tool_call, usage

DONE = b"data: [DONE]\n\n"

# Azure judges the prompt before there is an answer, and the chunk that says so has no name yet.
_FILTER_RESULTS = {
    "id": "",
    "object": "",
    "created": 0,
    "model": "",
    "choices": [],
    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}],
}
_ERROR = {"error": {"message": "Upstream error: the provider disconnected.", "code": 502}, "choices": []}


def events(call: ChatCall, answers: Sequence[Choice]) -> list[bytes]:
    """Return the events of a streamed answer, the last being `[DONE]` unless the model has `no_done`."""
    chunks = _with_usage(call, _chunks(call, answers))
    if call.behaviour.stream_error:
        chunks = [*chunks[: len(chunks) // 2], envelope(call, "chat.completion.chunk") | _ERROR]
    if call.behaviour.empty_first:
        chunks = [_FILTER_RESULTS, *chunks]
    data = [json.dumps(chunk).encode() for chunk in chunks]
    if (seed := call.behaviour.mutate) is not None:
        place = seed % len(data)
        data[place] = mutated(chunks[place], seed)
    written = [b"data: " + one + b"\n\n" for one in data]
    return written if call.behaviour.no_done else [*written, DONE]


def _chunks(call: ChatCall, answers: Sequence[Choice]) -> list[dict[str, Any]]:
    blank = envelope(call, "chat.completion.chunk")
    if call.behaviour.no_choices:
        return [blank | {"choices": []}]
    by_choice = [
        [blank | {"choices": [{"index": i, "logprobs": None} | told]} for told in _told(call, answer)]
        for i, answer in enumerate(answers)
    ]
    in_turn = chain.from_iterable(zip_longest(*by_choice) if call.behaviour.interleaved else by_choice)
    return [chunk for chunk in in_turn if chunk is not None]


def _with_usage(call: ChatCall, chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    asked = (call.body.get("stream_options") or {}).get("include_usage")
    spent = usage(call.behaviour)
    if spent is None:
        return chunks
    if call.behaviour.usage == "every":
        shares = [place / len(chunks) for place in range(1, len(chunks) + 1)]
        used = [usage(call.behaviour, share) for share in shares]
    else:
        used = [None] * len(chunks)
    if asked or call.behaviour.usage == "every":
        # Chunks before the last say "usage": null, but only if usage was asked for.
        chunks = [chunk | {"usage": so_far} for chunk, so_far in zip(chunks, used, strict=True)]
    last = envelope(call, "chat.completion.chunk") | {"choices": [], "usage": spent}
    return [*chunks, last] if asked else chunks


def _told(call: ChatCall, answer: Choice) -> Iterator[dict[str, Any]]:
    """Yield what the chunks tell of a choice: a delta, its probabilities, the end."""
    for delta in _deltas(call, answer):
        yield {"delta": delta, "finish_reason": None}
    for field, text in ("content", answer.content), ("refusal", answer.refusal):
        for piece in pieces(call, text or ""):
            told = piece_logprobs(call, field, piece)
            yield {"delta": {field: piece}, "logprobs": told, "finish_reason": None}
    for name, value in extras(call, answer).items():
        yield {"delta": {name: value}, "finish_reason": None}
    if not call.behaviour.no_finish:
        yield {"delta": {}, "finish_reason": answer.finish_reason}


def _deltas(call: ChatCall, answer: Choice) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": None if answer.content is None else ""}
    for piece in pieces(call, answer.reasoning or ""):
        yield reasoning_fields(call, piece)
    for i, asked in enumerate(answer.tool_calls):
        for told in _call_pieces(call, asked):
            yield {"tool_calls": [_index(call, i) | told]}


def _call_pieces(call: ChatCall, asked: ToolCall) -> Iterator[dict[str, Any]]:
    behaviour = call.behaviour
    if behaviour.tool_pieces == "repeated":
        for piece in [*pieces(call, asked.arguments), ""]:
            yield tool_call(asked, piece)
        return
    # Without an id or an index of its own, nothing would tell whose a further piece is.
    if behaviour.tool_pieces or behaviour.tool_index or behaviour.tool_ids == "none":
        yield tool_call(asked, asked.arguments)
        return
    yield tool_call(asked, "")
    for piece in pieces(call, asked.arguments):
        yield {"function": {"arguments": piece}}


def _index(call: ChatCall, index: int) -> dict[str, int]:
    if call.behaviour.tool_index == "none":
        return {}
    return {"index": 0 if call.behaviour.tool_index == "zero" else index}
