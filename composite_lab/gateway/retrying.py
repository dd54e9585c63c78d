"""Which failures are worth another attempt, and after what pause."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from composite_lab.errors import CompositeError, ConfigError
from composite_lab.gateway.place import CallFailed

WAIT_INITIAL_S = 0.5
WAIT_MAX_S = 20.0
MAX_RETRY_AFTER_S = 120.0
"""A server that asks for a longer pause than this is not waited for."""
TRANSIENT_CODES = (408, 409, 429)


def pause_before_retry(failure: Exception) -> bool | float:
    """Whether a failed call is worth another attempt: True, False, or the pause the server asked for (s)."""
    if not isinstance(failure, CallFailed) or isinstance(failure.cause, ConfigError):
        return False
    if failure.shown:  # half an answer on the screen cannot be taken back
        return False
    cause = failure.cause
    code = getattr(cause, "status_code", None)
    transient = (
        isinstance(cause, CompositeError | TimeoutError) or code in TRANSIENT_CODES or (code or 0) >= 500
    )
    if not transient:
        return False
    pause = _retry_after(cause)
    return True if pause is None else pause <= MAX_RETRY_AFTER_S and pause


def _retry_after(error: Exception) -> float | None:
    headers = getattr(error, "litellm_response_headers", None)
    if headers is None:
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
