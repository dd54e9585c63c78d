"""Secrets and unprintable characters are taken out of what a run records."""

from __future__ import annotations

from collections.abc import Iterable

MASK = "[redacted]"


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret replaced by a mask. Longer secrets go first, so no tail is left over."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def redact_error(error: BaseException, secrets: Iterable[str]) -> None:
    """Take the secrets out of an exception's texts, and drop its causes if it had any in it.

    In place, because callers catch LiteLLM's exceptions by class and read their attributes.
    """
    secrets = list(secrets)
    found = False
    for name in ("message", "body", "litellm_debug_info"):
        value = getattr(error, name, None)
        if value is not None and redact(str(value), secrets) != str(value):
            setattr(error, name, redact(str(value), secrets))
            found = True
    args = tuple(redact(arg, secrets) if isinstance(arg, str) else arg for arg in error.args)
    if found or args != error.args:
        error.args = args
        error.__cause__ = None
        error.__context__ = None
        error.__suppress_context__ = True


def printable(text: str) -> str:
    """The text without lone surrogates, which neither JSON nor Arrow can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text
