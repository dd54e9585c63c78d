"""What LiteLLM knows about a model: its provider, its price, the parameters of a call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import litellm
from litellm.constants import OPENAI_CHAT_COMPLETION_PARAMS
from litellm.exceptions import BadRequestError

from composite_lab.errors import ConfigError
from composite_lab.seats import COMPOSITE_PREFIX, Seat, unknown_name

_OWN_PARAMS = {"stream", "stream_options", "max_retries", "request_timeout", "timeout", "deployment_id"}
_MORE_PARAMS = {"top_k", "min_p", "repetition_penalty", "drop_params", "allowed_openai_params"}
FINAL_PARAMS = ({*OPENAI_CHAT_COMPLETION_PARAMS} | _MORE_PARAMS) - _OWN_PARAMS
"""Call parameters that a run hands on to its final call."""


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


def check_final_params(params: Iterable[str], options: Iterable[str]) -> None:
    """Raise `ConfigError` for a name that is neither a strategy's option nor a parameter of a model call."""
    for name in params:
        if name not in FINAL_PARAMS:
            raise ConfigError(
                unknown_name(name, [*options, *FINAL_PARAMS])
                + ". A parameter of one provider goes into `params` of that Seat"
            )


def recordable(value: Any) -> Any:
    """A parameter as it is recorded: JSON as it is, anything else (a class, a function) by its name."""
    if isinstance(value, dict):
        return {str(name): recordable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [recordable(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return getattr(value, "__name__", type(value).__name__)


def price_of(seat: Seat, prompt_tokens: int, completion_tokens: int) -> float | None:
    """What a call of that size costs in USD, None when no price is known."""
    if seat.input_cost_per_token is not None and seat.output_cost_per_token is not None:
        return prompt_tokens * seat.input_cost_per_token + completion_tokens * seat.output_cost_per_token
    try:
        costs = litellm.cost_per_token(
            model=seat.model,
            custom_llm_provider=provider_of(seat.model),
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
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


def cost_of(response: Any, hidden: Mapping[str, Any], model: str) -> float | None:
    """What a response with these `_hidden_params` cost by LiteLLM's prices (USD), None if it knows none."""
    if "response_cost" in hidden:  # LiteLLM has looked already: None says that it knows no price
        cost = hidden["response_cost"]
        return None if cost is None else float(cost)
    try:
        return float(litellm.completion_cost(completion_response=response, model=model))
    except Exception:  # LiteLLM raises a bare Exception for a model without a price
        return None
