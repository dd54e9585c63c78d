"""The bodies that travel: completions, usage and errors, as OpenAI writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from composite_lab.testing.behaviour import Behaviour
from composite_lab.testing.choice import Choice
from composite_lab.testing.conversation import ChatCall
from composite_lab.testing.draws import tag
from composite_lab.testing.extras import citations, extras, reasoning_fields
from composite_lab.testing.tokens import logprobs
from composite_lab.testing.toolcalls import ToolCall

# Answers do not depend on time, so their time stamp is a constant.
CREATED = 1_750_000_000

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
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """The error as OpenAI words it."""
        fallback = ("server_error" if self.status >= 500 else "invalid_request_error", None)
        kind, code = _ERROR_TYPES.get(self.status, fallback)
        code = self.code or code
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": code}}

    @property
    def headers(self) -> dict[str, str]:
        """The extra headers of the answer."""
        return {} if self.retry_after is None else {"Retry-After": f"{self.retry_after:g}"}


def usage(behaviour: Behaviour, share: float = 1.0) -> dict[str, Any] | None:
    """Return the fixed usage with the overrides of the model's name, or None for `usage=none`.

    With a share, it is what was used when that much of the answer was written.
    """
    if behaviour.usage == "none":
        return None
    prompt = _or(behaviour.prompt_tokens, 100)
    completion = int(share * _or(behaviour.completion_tokens, 20))
    if behaviour.usage == "zero":
        prompt = completion = 0
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
    choices = [_choice(call, i, answer) for i, answer in enumerate(answers)]
    body = envelope(call, "chat.completion") | {"choices": [] if call.behaviour.no_choices else choices}
    spent = usage(call.behaviour)
    if spent is not None:
        body["usage"] = spent
    return json.dumps(body).encode()


def envelope(call: ChatCall, kind: str) -> dict[str, Any]:
    """Return what stands in a body, and in each chunk of a stream, beside its choices."""
    body: dict[str, Any] = {
        "id": f"chatcmpl-{tag('completion', call.key)}",
        "object": kind,
        "created": CREATED,
        "model": call.model,
        "system_fingerprint": "fp_fake",
    }
    return body | {"citations": citations(call)} if call.behaviour.rich else body


def tool_call(asked: ToolCall, arguments: str) -> dict[str, Any]:
    """Return a call of a tool, or the first piece of one, with these arguments."""
    told: dict[str, Any] = {} if asked.id is None else {"id": asked.id}
    told |= {"type": "function", "function": {"name": asked.name, "arguments": arguments}}
    if asked.signature is not None:
        told["provider_specific_fields"] = {"thought_signature": asked.signature}
    return told


def _choice(call: ChatCall, index: int, answer: Choice) -> dict[str, Any]:
    return {
        "index": index,
        "message": _message(call, answer),
        "logprobs": logprobs(call, answer.content, answer.refusal),
        "finish_reason": answer.finish_reason,
    }


def _message(call: ChatCall, answer: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.content, "refusal": answer.refusal}
    if answer.reasoning is not None:
        message |= reasoning_fields(call, answer.reasoning)
    if answer.tool_calls:
        message["tool_calls"] = [tool_call(asked, asked.arguments) for asked in answer.tool_calls]
    return message | extras(call, answer)


def _or(given: int | None, default: int) -> int:
    return default if given is None else given
