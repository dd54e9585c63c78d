"""What a strict server refuses in a request that others accept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from composite_lab.testing.conversation import ChatCall
from composite_lab.testing.roles import check_roles
from composite_lab.testing.toolcalls import reason_for, signature_of
from composite_lab.testing.wire import Rejection

OPENAI_PARAMS = {
    "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
    "max_completion_tokens", "max_tokens", "messages", "metadata", "modalities", "model", "moderation",
    "n", "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key",
    "prompt_cache_options", "prompt_cache_retention", "reasoning_effort", "response_format",
    "safety_identifier", "seed", "service_tier", "stop", "store", "stream", "stream_options",
    "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity",
    "web_search_options",
}  # fmt: skip

# As Rust's serde, which such servers read JSON with, calls them.
_KINDS = {list: "sequence", dict: "map", bool: "boolean", int: "integer", float: "floating point"}


def check_strictness(call: ChatCall) -> None:
    """Raise the `Rejection` with which the call's model answers this request, if there is one."""
    behaviour = call.behaviour
    if behaviour.strict_params:
        _check_params(call.body)
    if behaviour.no_max_tokens:
        _check_max_tokens(call.body)
    if behaviour.strings_only:
        _check_strings(call)
    if behaviour.strict_roles is not None:
        check_roles(call.messages, behaviour.strict_roles)
    if behaviour.strict_ids:
        _check_ids(call)
    if behaviour.needs_reasoning:
        _check_reasoning(call)
    if behaviour.needs_signatures:
        _check_signatures(call)


def _check_params(body: Mapping[str, Any]) -> None:
    unknown = [name for name in body if name not in OPENAI_PARAMS]
    if unknown:
        plural = "s" if len(unknown) > 1 else ""
        text = f"Unrecognized request argument{plural} supplied: {', '.join(unknown)}"
        raise Rejection(400, text)


def _check_max_tokens(body: Mapping[str, Any]) -> None:
    if body.get("max_tokens") is not None:
        text = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead."
        )
        raise Rejection(400, text, param="max_tokens", code="unsupported_parameter")


def _check_strings(call: ChatCall) -> None:
    for i, message in enumerate(call.messages):
        content = message.get("content")
        calls_tools = message["role"] == "assistant" and message.get("tool_calls")
        if not (isinstance(content, str) or (content is None and calls_tools)):
            kind = _KINDS.get(type(content), "null")
            text = (
                "Failed to deserialize the JSON body into the target type: "
                f"messages[{i}]: invalid type: {kind}, expected a string"
            )
            raise Rejection(422, text, param="messages")


def _check_ids(call: ChatCall) -> None:
    known: set[str] = set()
    for i, message in enumerate(call.messages):
        for asked in _tool_calls(message):
            given = asked.get("id")
            if not isinstance(given, str) or not given:
                raise Rejection(400, f"Tool call id has to be defined in messages[{i}].", param="messages")
            if given in known:
                text = f"Duplicate tool call id '{given}' in messages[{i}]."
                raise Rejection(400, text, param="messages")
            known.add(given)
        if message["role"] == "tool" and message.get("tool_call_id") not in known:
            given = message.get("tool_call_id")
            text = f"Invalid tool_call_id {given!r} in messages[{i}]: not found in 'tool_calls' before it."
            raise Rejection(400, text, param="messages")


def _check_reasoning(call: ChatCall) -> None:
    for i, message in enumerate(call.messages):
        asked = list(map(_name_and_arguments, _tool_calls(message)))
        given = message.get("reasoning_content")
        if not asked or given == reason_for(asked):
            continue
        if given is None:
            text = f"Missing `reasoning_content` field in the assistant message at message index {i}"
        else:
            text = f"The `reasoning_content` at message index {i} is not what this model said: {given!r}"
        raise Rejection(400, text, param="messages")


def _check_signatures(call: ChatCall) -> None:
    for i, message in enumerate(call.messages):
        for asked in _tool_calls(message):
            name, arguments = _name_and_arguments(asked)
            given = (asked.get("provider_specific_fields") or {}).get("thought_signature")
            where = f"function call `{name}` in messages[{i}]"
            if given is None:
                text = f"Function call is missing a thought_signature in functionCall parts: {where}."
                raise Rejection(400, text, param="messages")
            if given != signature_of(name, arguments):
                raise Rejection(400, f"Corrupted thought_signature: {where}.", param="messages")


def _tool_calls(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from message.get("tool_calls") or ()


def _name_and_arguments(asked: Mapping[str, Any]) -> tuple[str, str]:
    # Tools that take plain text instead of JSON are called "custom".
    told = asked.get("function") or asked.get("custom") or {}
    return told.get("name", ""), told.get("arguments") or told.get("input") or ""
