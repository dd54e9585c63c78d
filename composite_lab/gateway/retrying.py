"""Which failures are worth another attempt, and after what pause."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite

from litellm.exceptions import (
    APIConnectionError,
    InternalServerError,
    RateLimitError,
    ServiceUnavailableError,
    Timeout,
)

from composite_lab.errors import CompositeError, ConfigError, ReplyTooLarge, UnreadableReply
from composite_lab.gateway.place import CallFailed

WAIT_INITIAL_S = 0.5
WAIT_MAX_S = 20.0
MAX_RETRY_AFTER_S = 120.0
"""A server that asks for a longer pause than this is not waited for."""
TRANSIENT_CODES = (408, 409, 429)
TRANSIENT = (APIConnectionError, InternalServerError, RateLimitError, ServiceUnavailableError, Timeout)
"""LiteLLM's classes of the same, for errors whose status is no number."""


def pause_before_retry(failure: Exception) -> bool | float:
    """Whether a failed call is worth another attempt: True, False, or the pause before it (s).

    A pause that the server asks for is never shorter than our own would be, and is spread, so that clients
    who were sent away together do not come back together.
    """
    if not isinstance(failure, CallFailed) or isinstance(
        failure.cause, ConfigError | ReplyTooLarge | UnreadableReply
    ):
        return False
    if failure.shown:  # half an answer on the screen cannot be taken back
        return False
    if not _is_transient(failure.cause):
        return False
    asked = _retry_after(failure.cause)
    if asked is None:
        return True
    if asked > MAX_RETRY_AFTER_S:
        return False
    own = min(WAIT_INITIAL_S * 2.0**failure.call.attempt, WAIT_MAX_S)
    least = max(asked, own)
    return least + random.uniform(0, max(WAIT_INITIAL_S, least / 10))


def _is_transient(cause: Exception) -> bool:
    code = _status(cause)
    if code is None:
        return isinstance(cause, (CompositeError, TimeoutError, *TRANSIENT))
    return isinstance(cause, CompositeError | TimeoutError) or code in TRANSIENT_CODES or code >= 500


def _status(error: Exception) -> int | None:
    """The HTTP status of an error. None without one: LiteLLM puts a provider's own words there, too."""
    try:
        return int(getattr(error, "status_code", None))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def _retry_after(error: Exception) -> float | None:
    """The pause that the server asked for (s), None where it asked for none that makes sense."""
    headers = getattr(error, "litellm_response_headers", None)
    if headers is None:
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return None
    return seconds if isfinite(seconds) and seconds >= 0 else None
