"""Reading a request: the model string, the options, and what goes on to the final call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from composite_lab.errors import ConfigError
from composite_lab.gateway import check_final_params, is_litellms_own, is_providers_reasoning
from composite_lab.profiles import STRATEGIES, profile
from composite_lab.provider.client_seats import check_asked, owners_seats
from composite_lab.provider.limits import check_params, check_seats, check_strategy, limit_on
from composite_lab.provider.parameters import as_given
from composite_lab.provider.remote import LIMITS, allowed_groups, check_client, client_options
from composite_lab.seats import COMPOSITE_PREFIX, PROFILE, unknown_name
from composite_lab.strategies.base import Strategy

PROVIDER = COMPOSITE_PREFIX.rstrip("/")
FORMS = "composite/moa/<model>, composite/council/<model> or composite/profile/<name>"
OLDER_SPELLINGS = {"council_models": "members", "review_models": "reviewers", "chairman_model": "chairman"}
NESTED = ("optional_params", "extra_body")
LITELLM_DEFAULT_TIMEOUT_S = 600
NOT_FOR_SUB_CALLS = {"stream", "stream_options", "max_retries"}
TRACE = "trace"
"""The option that only this door has: how much of the trace goes into the answer."""
_OF_LITELLM = {
    "hidden_params", "model_group", "model_info", "deployment", "api_base", "caching_groups", "headers",
    "endpoint", "previous_models", "attempted_retries", "attempted_fallbacks", "requester_ip_address",
}  # fmt: skip
"""What LiteLLM's Router and proxy write into the caller's `metadata` about the outer call alone."""


@dataclass(frozen=True)
class Order:
    """A request as read: the strategy, the parameters of its final call, and whether to tell the trace."""

    strategy: Strategy
    params: dict[str, Any]
    full_trace: bool = False
    is_remote: bool = False


def strategy_from_model(model: str, options: Mapping[str, Any]) -> Strategy:
    """The strategy that a model string (with or without `composite/`) and options describe.

    Raises `ConfigError`.
    """
    kind, _, inner = model.removeprefix(COMPOSITE_PREFIX).partition("/")
    if kind == PROFILE:
        named = profile(inner)
        return type(named)(**(dict(named) | dict(options))) if options else named
    if kind not in STRATEGIES:
        mistake = unknown_name(kind, [*STRATEGIES, PROFILE], "strategy")
        raise ConfigError(f"{mistake} in {model!r}: use {FORMS}")
    if not inner.strip("/"):
        raise ConfigError(
            f"there is no model in {model!r}: use {FORMS}, for example composite/{kind}/openai/gpt-4o"
        )
    chosen = STRATEGIES[kind]
    final: Any = {chosen.final_role: inner}
    return chosen(**(final | dict(options)))


def read_request(request: Mapping[str, Any]) -> Order:
    """What LiteLLM hands to a hook, as an Order. Raises `ConfigError`."""
    sent = client_options(request, NESTED)
    if sent is not None:
        check_asked(sent.get("model"), request["model"])
    owner, chosen = _chosen(request["model"])
    given = as_given(request)
    for name in NESTED:
        if not isinstance(given.get(name) or {}, dict):
            raise ConfigError(f"{name} must be a dict of options, not {given[name]!r}")
    given |= given.pop("optional_params", None) or {}
    body: dict[str, Any] = given.pop("extra_body", None) or {}
    options: dict[str, Any] = {}
    params: dict[str, Any] = {}
    for spelling, value in [*given.items(), *body.items()]:
        name = OLDER_SPELLINGS.get(spelling, spelling)
        if name in NOT_FOR_SUB_CALLS or is_litellms_own(name):
            continue
        if (
            sent is not None
            and spelling in sent
            and value is None
            and chosen
            and name not in chosen.model_fields
        ):
            continue  # null is as good as nothing, and must not reach a server in place of the seat's own
        is_option = name == TRACE or (chosen is not None and _is_option(chosen, name, value))
        if not is_option and spelling in body:  # as LiteLLM, which hands it to the server unread
            params.setdefault("extra_body", {})[name] = value
            continue
        target = options if is_option else params
        if name in target:
            raise ConfigError(f"{name} is given twice, also as {spelling}: keep one")
        target[name] = value
    check_final_params(params.get("extra_body") or {}, chosen.model_fields if chosen else ())
    trace = options.pop(TRACE, "totals")
    if trace not in ("totals", "full"):
        raise ConfigError(f'trace must be "totals" or "full", not {trace!r}')
    strategy = (
        strategy_from_model(request["model"], options)
        if sent is None
        else _for_client(request["model"], options, params, sent, owner)
    )
    strategy = _bounded(strategy, request.get("timeout"))
    return Order(
        strategy,
        params | _outer_params(request),
        full_trace=trace == "full",
        is_remote=sent is not None,
    )


def _for_client(
    model: str,
    options: dict[str, Any],
    params: Mapping[str, Any],
    sent: Mapping[str, Any],
    owner: Strategy | None,
) -> Strategy:
    """The strategy that a proxy's client asks for, within the owner's limits. Raises `ConfigError`."""
    names = {OLDER_SPELLINGS.get(name, name) for name in sent}
    kept = {name: value for name, value in options.items() if name not in names}
    base = strategy_from_model(model, kept)
    check_client(sent, OLDER_SPELLINGS, owner, base)
    options = owners_seats(options, names, base)
    strategy = strategy_from_model(model, options)
    if LIMITS in allowed_groups():
        return strategy
    check_seats(sent, base, owner)
    check_strategy(strategy, base, owner, lambda nested: strategy_from_model(nested, {}))
    check_params(params, strategy, names)
    if strategy.timeout_s is None:
        return strategy.model_copy(update={"timeout_s": limit_on("timeout_s", owner)})
    return strategy


def _is_option(chosen: type[Strategy], name: str, value: Any) -> bool:
    return name in chosen.model_fields and not is_providers_reasoning(name, value)


def _bounded(strategy: Strategy, timeout: Any) -> Strategy:
    """The strategy with the caller's `timeout` as a bound of the run, since LiteLLM enforces it on nobody.

    Without one LiteLLM hands over its default, which is meant for a single call.
    """
    if not isinstance(timeout, int | float) or timeout >= LITELLM_DEFAULT_TIMEOUT_S:
        return strategy
    if strategy.timeout_s is not None and strategy.timeout_s <= timeout:
        return strategy
    return strategy.model_copy(update={"timeout_s": float(timeout)})


def _chosen(model: str) -> tuple[Strategy | None, type[Strategy] | None]:
    """The profile that a model string names, if it does, and the class of strategy, if there is one."""
    kind, _, inner = model.removeprefix(COMPOSITE_PREFIX).partition("/")
    owner = profile(inner) if kind == PROFILE else None
    return owner, type(owner) if owner else STRATEGIES.get(kind)


def _outer_params(request: Mapping[str, Any]) -> dict[str, Any]:
    """What belongs to the final call but reaches a hook outside of `optional_params`."""
    logged = getattr(request.get("logging_obj"), "model_call_details", None) or {}
    litellm_params = request.get("litellm_params") or {}
    outer = {
        "api_key": request.get("api_key"),
        "api_base": request.get("api_base"),
        "extra_headers": request.get("headers") or None,
        "user": logged.get("user"),
        "drop_params": litellm_params.get("drop_params"),
        "metadata": _metadata(litellm_params.get("metadata")) or None,
    }
    return {name: value for name, value in outer.items() if value is not None}


def _metadata(given: Any) -> dict[str, Any]:
    """What the caller says of the call, for the events of its sub-calls.

    Not what identifies a proxy's client: its budget and limits count the composite's own event already.
    """
    return {
        name: value
        for name, value in (given or {}).items()
        if isinstance(value, str | int | float | bool | list | dict)
        and name not in _OF_LITELLM
        and not name.startswith(("user_api_key", "_"))
    }
