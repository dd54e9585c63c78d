"""The one place where an error changes family: composite_lab's becomes LiteLLM's."""

from __future__ import annotations

import openai
from litellm.exceptions import APIError, BadRequestError, InternalServerError, Timeout

from composite_lab.errors import BudgetExceeded, CompositeError, ConfigError, QuorumError
from composite_lab.gateway.portable import make_portable
from composite_lab.provider.request import PROVIDER
from composite_lab.seats import COMPOSITE_PREFIX


def to_litellm(error: Exception, model: str) -> Exception:
    """The LiteLLM exception for any error of a run, with the `trace` still on it.

    `model` is the model string without `composite/`.
    """
    mapped = _mapped(error, f"{COMPOSITE_PREFIX}{model}")
    trace = getattr(error, "trace", None)
    if trace is not None:
        mapped.trace = trace  # type: ignore[attr-defined]
    make_portable(mapped)
    return mapped


def _mapped(error: Exception, model: str) -> Exception:
    # LiteLLM's own are all of the first family; a ConfigError may have one as its cause, which says more.
    for own in (error, error.__cause__ if isinstance(error, ConfigError) else None):
        if isinstance(own, openai.APIError):
            return own
    text = str(error)
    if isinstance(error, QuorumError):
        return _alike(error) or APIError(502, text, PROVIDER, model)
    if isinstance(error, ConfigError | BudgetExceeded):
        return BadRequestError(text, model, PROVIDER)
    if isinstance(error, TimeoutError):
        return Timeout(text, model, PROVIDER)
    if isinstance(error, CompositeError):
        return APIError(502, text, PROVIDER, model)
    return InternalServerError(f"{type(error).__name__}: {text}", PROVIDER, model)


def _alike(error: QuorumError) -> Exception | None:
    """When all seats failed with the same class, a wrong key for example, that class with all the causes."""
    first = error.causes[0] if error.causes else None
    if not isinstance(first, openai.APIError) or len({type(cause) for cause in error.causes}) > 1:
        return None
    first.message = str(error)
    return first
