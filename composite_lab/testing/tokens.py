"""The pieces in which a text is streamed, and the probabilities of their tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from composite_lab.testing.conversation import ChatCall
from composite_lab.testing.draws import fraction

STREAM_PIECES = 10
# Shorter than the shortest tag, so that each tag is spread over pieces.
THINKING_PIECE = len("<think>") - 1

_TOKEN = re.compile(r"\s*\S+|\s+")


def pieces(call: ChatCall, text: str) -> list[str]:
    """Return the text in pieces as it is streamed."""
    size = THINKING_PIECE if call.behaviour.think else max(8, -(-len(text) // STREAM_PIECES))
    return [text[start : start + size] for start in range(0, len(text), size)]


def logprobs(call: ChatCall, content: str | None, refusal: str | None) -> dict[str, Any] | None:
    """Return the tokens of a plain answer's texts with their probabilities, or None if nobody asked for them.

    The tokens of a text are those of its pieces, so that streamed ones add up to the plain ones.
    """
    told = {
        "content": None if content is None else pieces(call, content),
        "refusal": None if refusal is None else pieces(call, refusal),
    }
    return _logprobs(call, told) if told["content"] is not None or told["refusal"] is not None else None


def piece_logprobs(call: ChatCall, field: str, piece: str) -> dict[str, Any] | None:
    """Return the same for a piece of the content or of the refusal."""
    return _logprobs(call, {"content": None, "refusal": None, field: [piece]})


def _logprobs(call: ChatCall, told: Mapping[str, list[str] | None]) -> dict[str, Any] | None:
    if call.body.get("logprobs") is not True:
        return None
    return {
        field: None
        if texts is None
        else [_told(call, token) for text in texts for token in _TOKEN.findall(text)]
        for field, texts in told.items()
    }


def _told(call: ChatCall, token: str) -> dict[str, Any]:
    told = _token(token, -fraction("logprob", call.key, token))
    wanted = int(call.body.get("top_logprobs") or 0)
    others = [_token(f"{token}{place}", told["logprob"] - place) for place in range(1, wanted)]
    return told | {"top_logprobs": [told, *others][:wanted]}


def _token(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": round(logprob, 6), "bytes": [*token.encode("utf-8", "surrogatepass")]}
