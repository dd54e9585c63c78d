"""What a client of a proxy may send. It is not the owner of the keys that its calls are paid with."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from composite_lab.errors import ConfigError
from composite_lab.profiles import STRATEGIES, client_rules
from composite_lab.provider.client_seats import (
    ENDPOINT_FIELDS,
    SEAT_OPTIONS,
    check_models,
    fields_of,
    seats_in,
)
from composite_lab.provider.limits import check_prompts, check_values
from composite_lab.seats import unknown_name
from composite_lab.strategies.base import Strategy

ALLOW_VARIABLE = "COMPOSITE_LAB_REMOTE_ALLOW"
"""The server's owner lists here what its clients may do after all: `endpoints`, `limits`, `models`."""
ENDPOINTS, LIMITS, MODELS = "endpoints", "limits", "models"

SEAT_FIELDS = {
    "model", "name", "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed",
    "reasoning_effort",
}  # fmt: skip
PARAMETERS = {
    "audio", "drop_params", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
    "max_completion_tokens", "max_tokens", "metadata", "modalities", "n", "parallel_tool_calls", "prediction",
    "presence_penalty", "prompt_cache_key", "prompt_cache_retention", "reasoning", "reasoning_effort",
    "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "temperature",
    "thinking", "tool_choice", "tools", "top_k", "top_logprobs", "top_p", "user", "verbosity",
    "web_search_options",
}  # fmt: skip
"""OpenAI's parameters of a chat completion, and what its other ways of asking call them."""
ENVELOPE = {
    "model", "messages", "stream", "stream_options", "timeout", "optional_params", "extra_body",
    # of the Responses, the Messages and the older completions API
    "input", "instructions", "max_output_tokens", "text", "include", "truncation", "system",
    "stop_sequences", "prompt",
    # for LiteLLM's proxy, and what it writes there itself
    "tags", "guardrails", "cache", "litellm_metadata", "litellm_call_id", "litellm_session_id",
    "litellm_trace_id", "_litellm_strip_stream_usage",
}  # fmt: skip
"""What only the outermost level of a request may hold: deeper down it would go to a server unread."""
OPTIONS = {name for kind in STRATEGIES.values() for name in kind.model_fields} | {"trace"}
ENDPOINT_PARAMETERS = ENDPOINT_FIELDS | {"base_url", "headers"}


def allowed_groups() -> set[str]:
    """What the owner allows clients besides."""
    return {word.strip() for word in os.environ.get(ALLOW_VARIABLE, "").split(",")}


def client_options(request: Mapping[str, Any], nested: tuple[str, ...]) -> dict[str, Any] | None:
    """What the client of a proxy sent, nested options unpacked. None when the call came from this process.

    Raises `ConfigError` for what stands where nothing would read it as what it is.
    """
    proxied = (request.get("litellm_params") or {}).get("proxy_server_request")
    if not proxied:
        return None
    body = proxied.get("body")
    if not isinstance(body, Mapping):
        raise ConfigError("the proxy does not tell what its client sent, so nothing of it can be checked")
    sent: dict[str, Any] = dict(body)
    # LiteLLM keeps the values of these out of the body, and tells their names.
    sent |= dict.fromkeys(proxied.get("credential_fields") or (), "…")
    for place in nested:
        inner = body.get(place) or {}
        if not isinstance(inner, Mapping):
            raise ConfigError(f"{place} must be a mapping of options, not {type(inner).__name__}")
        for name, value in inner.items():
            if name in ENVELOPE:
                raise ConfigError(f"a client may not set {place}.{name}: it goes to the top of the request")
            if name in sent:
                raise ConfigError(f"{name} is given twice, also in {place}: keep one")
            sent[name] = value
    return sent


def check_client(
    sent: Mapping[str, Any],
    spellings: Mapping[str, str],
    owner: Strategy | None,
    base: Strategy | None = None,
) -> None:
    """Raise `ConfigError` for what only the server's owner may set.

    `spellings` maps other names of options to theirs, `owner` is the profile whose limits hold, `base` what
    would be asked if the client had set nothing.
    """
    allowed = allowed_groups()
    options = {spellings.get(name, name): value for name, value in sent.items()}
    if "tool_executor" in options:
        raise ConfigError("tool_executor runs code on the server: a client carries out its tool calls itself")
    _check_names(options, allowed)
    if ENDPOINTS not in allowed:
        for name in _owners_fields(options):
            raise _refusal(name, ENDPOINTS)
    if LIMITS not in allowed:
        if excess := check_values(options, owner):
            raise _refusal(*excess)
        check_prompts(options.get("prompts"))
    check_models(
        options,
        base or owner,
        any_model=MODELS in allowed,
        own_endpoints=ENDPOINTS in allowed,
    )


def _check_names(options: Mapping[str, Any], allowed: Collection[str]) -> None:
    known = PARAMETERS | ENVELOPE | OPTIONS | {*client_rules().parameters}
    for name in options:
        if name in ENDPOINT_PARAMETERS:
            if ENDPOINTS not in allowed:
                raise _refusal(name, ENDPOINTS)
        elif name not in known:
            told = unknown_name(str(name)[:80], known).removesuffix("?")
            raise ConfigError(
                f"a client may not set {str(name)[:80]}: {told}. The server's owner allows a parameter of "
                "the final model in the profiles file, under clients.parameters"
            )


def _owners_fields(options: Mapping[str, Any]) -> Iterator[str]:
    for name in SEAT_OPTIONS:
        for where, seat in seats_in(options, name):
            for field in fields_of(seat):
                if field not in SEAT_FIELDS:
                    yield f"{where}.{field}"


def _refusal(name: str, group: str = LIMITS, why: str = "") -> ConfigError:
    reason = f" ({why})" if why else ""
    return ConfigError(
        f"a client may not set {name}{reason}: the server's owner allows it with {ALLOW_VARIABLE}={group}"
    )
