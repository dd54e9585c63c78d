"""Reading a request: the model string, the options, and what goes on to the final call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from composite_lab.errors import ConfigError
from composite_lab.seats import COMPOSITE_PREFIX, unknown_name
from composite_lab.strategies.base import Strategy
from composite_lab.strategies.council import Council
from composite_lab.strategies.moa import MoA

PROVIDER = COMPOSITE_PREFIX.rstrip("/")
STRATEGIES: dict[str, type[Strategy]] = {MoA.kind: MoA, Council.kind: Council}
FORMS = "composite/moa/<model> or composite/council/<model>"
OLDER_SPELLINGS = {"council_models": "members", "review_models": "reviewers", "chairman_model": "chairman"}
NESTED = ("optional_params", "extra_body")
NOT_FOR_SUB_CALLS = {"stream", "stream_options", "max_retries"}


def strategy_from_model(model: str, options: Mapping[str, Any]) -> Strategy:
    """The strategy that a model string (with or without `composite/`) and options describe.

    Raises `ConfigError`.
    """
    kind, _, inner = model.removeprefix(COMPOSITE_PREFIX).partition("/")
    if kind not in STRATEGIES:
        raise ConfigError(f"{unknown_name(kind, STRATEGIES, 'strategy')} in {model!r}: use {FORMS}")
    if not inner.strip("/"):
        raise ConfigError(
            f"there is no model in {model!r}: use {FORMS}, for example composite/{kind}/openai/gpt-4o"
        )
    chosen = STRATEGIES[kind]
    final: Any = {chosen.final_role: inner}
    return chosen(**(final | dict(options)))


def read_request(request: Mapping[str, Any]) -> tuple[Strategy, dict[str, Any]]:
    """What LiteLLM hands to a hook, as a strategy and the parameters of its final call."""
    given: dict[str, Any] = dict(request.get("optional_params") or {})
    for name in NESTED:
        nested = given.pop(name, None) or {}
        if not isinstance(nested, dict):
            raise ConfigError(f"{name} must be a dict of options, not {nested!r}")
        given |= nested
    given = {name: value for name, value in given.items() if name not in NOT_FOR_SUB_CALLS}
    kind = request["model"].removeprefix(COMPOSITE_PREFIX).partition("/")[0]
    known = STRATEGIES[kind].model_fields if kind in STRATEGIES else {}
    options: dict[str, Any] = {}
    params: dict[str, Any] = {}
    for spelling, value in given.items():
        name = OLDER_SPELLINGS.get(spelling, spelling)
        target = options if name in known else params
        if name in target:
            raise ConfigError(f"{name} is given twice, also as {spelling}: keep one")
        target[name] = value
    return strategy_from_model(request["model"], options), params | _outer_params(request)


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
    }
    return {name: value for name, value in outer.items() if value is not None}
