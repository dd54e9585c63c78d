"""The bodies that travel: completions, the events of a stream, usage and errors, as OpenAI writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from composite_lab.testing.answers import Choice
from composite_lab.testing.behaviour import Behaviour
from composite_lab.testing.conversation import ChatCall
from composite_lab.testing.draws import tag

# Answers do not depend on time, so their time stamp is a constant.
CREATED = 1_750_000_000
DONE = b"data: [DONE]\n\n"
STREAM_PIECES = 10

_ERROR_TYPES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("permission_error", None),
    404: ("invalid_request_error", "model_not_found"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}


class Rejection(Exception):
    """An error answer: raised while a request is handled, sent as JSON with its HTTP status."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """The error as OpenAI words it."""
        fallback = ("server_error" if self.status >= 500 else "invalid_request_error", None)
        kind, code = _ERROR_TYPES.get(self.status, fallback)
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": code}}

    @property
    def headers(self) -> dict[str, str]:
        """The extra headers of the answer."""
        return {} if self.retry_after is None else {"Retry-After": f"{self.retry_after:g}"}


def usage(behaviour: Behaviour) -> dict[str, Any] | None:
    """Return the fixed usage with the overrides of the model's name, or None for `usage=none`."""
    if behaviour.usage == "none":
        return None
    prompt = _or(behaviour.prompt_tokens, 100)
    completion = _or(behaviour.completion_tokens, 20)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": min(_or(behaviour.cached_tokens, 10), prompt)},
        "completion_tokens_details": {
            "reasoning_tokens": min(_or(behaviour.reasoning_tokens, 5), completion)
        },
    }


def completion(call: ChatCall, answers: Sequence[Choice]) -> bytes:
    """Return the body of a plain answer."""
    body = _envelope(call, "chat.completion") | {
        "choices": [
            {"index": i, "message": _message(answer), "logprobs": None, "finish_reason": answer.finish_reason}
            for i, answer in enumerate(answers)
        ]
    }
    spent = usage(call.behaviour)
    if spent is not None:
        body["usage"] = spent
    return json.dumps(body).encode()


def events(call: ChatCall, answers: Sequence[Choice]) -> list[bytes]:
    """Return the events of a streamed answer, the last being `[DONE]`."""
    envelope = _envelope(call, "chat.completion.chunk")
    options = call.body.get("stream_options") or {}
    spent = usage(call.behaviour) if options.get("include_usage") else None
    # Chunks before the last say "usage": null, but only if usage was asked for.
    silent = {} if spent is None else {"usage": None}
    chunks = [
        envelope
        | {"choices": [{"index": i, "delta": delta, "logprobs": None, "finish_reason": reason}]}
        | silent
        for i, answer in enumerate(answers)
        for delta, reason in _deltas(answer)
    ]
    if spent is not None:
        chunks.append(envelope | {"choices": [], "usage": spent})
    return [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks] + [DONE]


def _envelope(call: ChatCall, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{tag('completion', call.key)}",
        "object": kind,
        "created": CREATED,
        "model": call.model,
        "system_fingerprint": "fp_fake",
    }


def _message(answer: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.content, "refusal": None}
    if answer.reasoning is not None:
        message["reasoning_content"] = answer.reasoning
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                "id": asked.id,
                "type": "function",
                "function": {"name": asked.name, "arguments": asked.arguments},
            }
            for asked in answer.tool_calls
        ]
    return message


def _deltas(answer: Choice) -> Iterator[tuple[dict[str, Any], str | None]]:
    yield {"role": "assistant", "content": None if answer.tool_calls else ""}, None
    for piece in _pieces(answer.reasoning or ""):
        yield {"reasoning_content": piece}, None
    for i, asked in enumerate(answer.tool_calls):
        function = {"name": asked.name, "arguments": ""}
        yield {"tool_calls": [{"index": i, "id": asked.id, "type": "function", "function": function}]}, None
        for piece in _pieces(asked.arguments):
            yield {"tool_calls": [{"index": i, "function": {"arguments": piece}}]}, None
    for piece in _pieces(answer.content or ""):
        yield {"content": piece}, None
    yield {}, answer.finish_reason


def _pieces(text: str) -> list[str]:
    size = max(8, -(-len(text) // STREAM_PIECES))
    return [text[start : start + size] for start in range(0, len(text), size)]


def _or(given: int | None, default: int) -> int:
    return default if given is None else given
