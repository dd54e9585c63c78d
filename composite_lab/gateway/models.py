"""What LiteLLM knows about a model: its provider, its price, the parameters of a call."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Any

import litellm
from litellm.constants import DEFAULT_CHAT_COMPLETION_PARAM_VALUES, OPENAI_CHAT_COMPLETION_PARAMS
from litellm.exceptions import BadRequestError, UnsupportedParamsError
from litellm.types.utils import all_litellm_params
from litellm.utils import get_optional_params

from composite_lab.errors import ConfigError
from composite_lab.seats import COMPOSITE_PREFIX, Seat, unknown_name, without_secrets

_OWN_PARAMS = {"stream", "stream_options", "max_retries", "request_timeout", "timeout", "deployment_id"}
_MORE_PARAMS = {"top_k", "min_p", "repetition_penalty", "drop_params", "allowed_openai_params", "extra_body"}
FINAL_PARAMS = ({*OPENAI_CHAT_COMPLETION_PARAMS} | _MORE_PARAMS) - _OWN_PARAMS
"""Call parameters that a run hands on to its final call."""
_NOT_MAPPED = {"messages", "model", "extra_headers"}
_MAPPED = {*DEFAULT_CHAT_COMPLETION_PARAM_VALUES, "drop_params", "allowed_openai_params"} - _NOT_MAPPED
"""Parameters that LiteLLM knows to be taken or not."""
_SCHEMAS = {"tools", "functions", "response_format", "tool_choice", "function_call"}
"""Parameters in which names are those of somebody's own fields."""
_NEAR_OPTION, _NEAR_PARAM = 0.75, 0.85
"""How alike an unknown name must be to be taken for a misspelt one. Many providers' own names are not far."""


@lru_cache(maxsize=1024)
def provider_of(model: str) -> str:
    """LiteLLM's name for the provider behind a model string. Raises `ConfigError` if there is none."""
    if model.startswith(COMPOSITE_PREFIX):
        return COMPOSITE_PREFIX.rstrip("/")
    try:
        return str(litellm.get_llm_provider(model)[1])
    except BadRequestError:
        raise ConfigError(
            f"LiteLLM knows no provider for model {model!r}: write it as <provider>/<model>, "
            "for example openai/gpt-4o or ollama/llama3"
        ) from None


@cache
def _litellms_own() -> frozenset[str]:
    """Names of LiteLLM's own: its parameters that no provider gets, and the locals of `completion`.

    Its synchronous `fallbacks=` calls the model again with its own locals among the parameters.
    """
    completion = inspect.unwrap(litellm.completion)
    leaked = {*completion.__code__.co_varnames} - {*inspect.signature(completion).parameters}
    return frozenset({*all_litellm_params} | leaked) - FINAL_PARAMS - {"metadata"}


def is_litellms_own(name: str) -> bool:
    """Whether a parameter speaks to LiteLLM alone and means nothing to a model or to us."""
    return name in _litellms_own()


def is_providers_reasoning(name: str, value: Any) -> bool:
    """Whether this is the object `reasoning` of OpenRouter and the Responses API, and no option of ours."""
    return name == "reasoning" and isinstance(value, Mapping)


def check_final_params(
    params: Mapping[str, Any], options: Iterable[str], foreign: Iterable[str] = ()
) -> None:
    """Raise `ConfigError` for a name that looks like a misspelt option of the strategy or parameter.

    Also for one of `foreign`, the options of other strategies. Any other name goes to the final model, as
    LiteLLM hands what it does not know to the provider.
    """
    options = list(options)
    for name, value in params.items():
        if name in FINAL_PARAMS or is_litellms_own(name) or is_providers_reasoning(name, value):
            continue
        if name in options:
            raise ConfigError(f"{name!r} is an option of the strategy, not of one question: state it there")
        near = get_close_matches(name, options, n=1, cutoff=_NEAR_OPTION)
        near += get_close_matches(name, FINAL_PARAMS, n=1, cutoff=_NEAR_PARAM)
        if near or name in foreign:
            raise ConfigError(
                unknown_name(name, near or options)
                + ". A parameter of one provider goes into `params` of that Seat"
            )


def check_taken(seat: Seat, params: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for parameters that LiteLLM refuses to send to the seat's model.

    It is asked beforehand, because the final call comes when all others are paid for.
    """
    asked = {name: value for name, value in params.items() if name in _MAPPED}
    drops = litellm.drop_params or params.get("drop_params")
    if not asked or drops or seat.is_composite:  # the run inside of a composite's call checks them
        return
    model, provider, _, _ = litellm.get_llm_provider(seat.model)
    known = litellm.model_cost.get(seat.model) or litellm.model_cost.get(model) or {}
    if known.get("mode") == "responses":  # LiteLLM takes another way there, with other parameters
        return
    try:
        get_optional_params(model=model, custom_llm_provider=provider, **asked)
    except UnsupportedParamsError as error:
        raise ConfigError(str(error)) from error
    except Exception:  # anything else is better told by the call itself
        return


def recordable(value: Any) -> Any:
    """A parameter as it is recorded: JSON as it is, anything else (a class, a function) by its name."""
    if isinstance(value, dict):
        return {str(name): recordable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [recordable(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return getattr(value, "__name__", type(value).__name__)


def recorded_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as a Call keeps them: what stands under a secret's name is masked, but not in schemas."""
    return {
        name: recordable(value) if name in _SCHEMAS else without_secrets({name: recordable(value)})[name]
        for name, value in params.items()
    }


def price_of(
    seat: Seat, prompt_tokens: int, completion_tokens: int, service_tier: str | None = None
) -> float | None:
    """What a call of that size costs in USD at a tier, None when no price is known."""
    if seat.input_cost_per_token is not None and seat.output_cost_per_token is not None:
        return prompt_tokens * seat.input_cost_per_token + completion_tokens * seat.output_cost_per_token
    try:
        costs = litellm.cost_per_token(
            model=seat.model,
            custom_llm_provider=provider_of(seat.model),
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            service_tier=service_tier,
        )
    except Exception:  # LiteLLM raises a bare Exception for a model without a price
        return None
    return float(sum(costs))


def check_price(seat: Seat) -> None:
    """Raise `ConfigError` when nobody knows what a seat's model costs."""
    plain = seat.model_copy(update={"model": seat.plain_model or seat.model})
    if price_of(plain, 1, 1) is None:
        raise ConfigError(
            f"max_cost_usd needs to know what {seat.model!r} costs, and LiteLLM has no price for it: "
            "state input_cost_per_token and output_cost_per_token on its Seat"
        )


def count_tokens(model: str, messages: list[dict[str, Any]]) -> int:
    """How many prompt tokens a conversation is, by LiteLLM's tokenizer for the model."""
    return int(litellm.token_counter(model=model, messages=messages))


def cost_of(response: Any, hidden: Mapping[str, Any], model: str, params: Mapping[str, Any]) -> float | None:
    """What a response with these `_hidden_params` cost by LiteLLM's prices (USD), None if it knows none.

    `params` are those of the call: a `service_tier` has a price of its own.
    """
    if "response_cost" in hidden:  # LiteLLM has looked already: None says that it knows no price
        cost = hidden["response_cost"]
        return None if cost is None else float(cost)
    try:
        return float(
            litellm.completion_cost(
                completion_response=response, model=model, service_tier=params.get("service_tier")
            )
        )
    except Exception:  # LiteLLM raises a bare Exception for a model without a price
        return None
