"""Secrets and unprintable characters are taken out of what a run records."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

MASK = "[redacted]"


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret replaced by a mask; secrets that overlap become one mask."""
    spans = sorted(
        (found.start(), found.start() + len(secret))
        for secret in set(secrets)
        if secret
        for found in re.finditer(f"(?={re.escape(secret)})", text)
    )
    pieces: list[str] = []
    end = 0
    for start, stop in spans:
        if start >= end:
            pieces += [text[end:start], MASK]
        end = max(end, stop)
    return "".join([*pieces, text[end:]])


def redact_error(error: BaseException, secrets: Iterable[str]) -> None:
    """Take the secrets out of an exception's texts, and drop its causes if they hold any.

    In place, because callers catch LiteLLM's exceptions by class and read their attributes.
    """
    secrets = list(secrets)
    _drop_frames(error)
    error.args = tuple(redact(arg, secrets) if isinstance(arg, str) else arg for arg in error.args)
    for name in ("message", "body", "litellm_debug_info"):
        text = str(getattr(error, name, ""))
        if redact(text, secrets) != text:
            with suppress(AttributeError):  # a property that reads `args`
                setattr(error, name, redact(text, secrets))
    if any(secret in text for text in traceback.format_exception(error) for secret in secrets if secret):
        error.__cause__ = None
        error.__context__ = None
        error.__suppress_context__ = True


def _drop_frames(error: BaseException) -> None:
    """Frames of other libraries hold keys among their locals, which verbose tracebacks show."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            each.__traceback__ = None
            pending += [each.__cause__, each.__context__]


def printable(text: str) -> str:
    """The text without lone surrogates, which neither JSON nor Arrow can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return whole.encode("utf-8", "replace").decode()
    return text


def plain(value: Any) -> Any:
    """Objects of libraries (LiteLLM's, a client's) as dicts and lists, without fields that are None."""
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items() if item is not None}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def printable_in(value: Any) -> Any:
    """A copy of JSON-like data with every text in it made printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable_in(name): printable_in(below) for name, below in value.items()}
    if isinstance(value, list | tuple):
        return [printable_in(below) for below in value]
    return value
