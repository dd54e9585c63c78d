"""What a client of a proxy may ask for. It is not the owner of the keys that its calls are paid with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from composite_lab.errors import ConfigError
from composite_lab.strategies.base import Strategy

ALLOW_VARIABLE = "COMPOSITE_LAB_REMOTE_ALLOW"
"""The server's owner lists here what its clients may do after all: `endpoints`, `limits`, or both."""
ENDPOINTS, LIMITS = "endpoints", "limits"

SEAT_OPTIONS = ("aggregator", "proposers", "chairman", "members", "reviewers")
SEAT_FIELDS = {
    "model", "name", "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed",
    "reasoning_effort",
}  # fmt: skip
LIMIT_OPTIONS = (
    "timeout_s", "max_cost_usd", "max_concurrency", "retries", "layers", "samples", "max_tool_iterations",
    "repairs", "canary",
)  # fmt: skip


def client_options(request: Mapping[str, Any], nested: tuple[str, ...]) -> dict[str, Any] | None:
    """What the client of a proxy sent, nested options unpacked. None when the call came from this process."""
    proxied = (request.get("litellm_params") or {}).get("proxy_server_request")
    if not proxied:
        return None
    body = proxied.get("body")
    sent: dict[str, Any] = dict(body) if isinstance(body, Mapping) else {}
    for name in nested:
        inner = sent.get(name)
        sent |= inner if isinstance(inner, Mapping) else {}
    return sent


def check_client(sent: Mapping[str, Any], spellings: Mapping[str, str], owner: Strategy | None) -> None:
    """Raise `ConfigError` for an option that only the server's owner may set.

    `spellings` maps other names of options to theirs, `owner` is the profile whose limits hold.
    """
    allowed = {word.strip() for word in os.environ.get(ALLOW_VARIABLE, "").split(",")}
    options = {spellings.get(name, name): value for name, value in sent.items()}
    if "tool_executor" in options:
        raise ConfigError("tool_executor runs code on the server: a client carries out its tool calls itself")
    if ENDPOINTS not in allowed:
        for name in _owners_fields(options):
            raise _refusal(name, ENDPOINTS)
    if LIMITS not in allowed and owner is not None:
        for name in LIMIT_OPTIONS:
            limit = getattr(owner, name, None)
            if name in options and limit is not None and not _within(options[name], limit):
                raise _refusal(f"{name}={options[name]!r}", LIMITS, f"the profile's limit is {limit}")


def _owners_fields(options: Mapping[str, Any]) -> Iterator[str]:
    yield from (name for name in ("api_key", "api_base", "base_url", "api_version") if options.get(name))
    for name in SEAT_OPTIONS:
        value = options.get(name)
        seats = value if isinstance(value, list) else [value]
        for index, seat in enumerate(seats):
            where = f"{name}[{index}]" if isinstance(value, list) else name
            for field in seat if isinstance(seat, Mapping) else ():
                if field not in SEAT_FIELDS:
                    yield f"{where}.{field}"


def _within(value: Any, limit: float) -> bool:
    try:
        return value is not None and float(value) <= limit
    except (TypeError, ValueError):
        return True  # no number at all: the strategy's own check says so


def _refusal(name: str, group: str, why: str = "") -> ConfigError:
    reason = f" ({why})" if why else ""
    return ConfigError(
        f"a client may not set {name}{reason}: the server's owner allows it with {ALLOW_VARIABLE}={group}"
    )
