"""The errors of composite_lab. Each says what was wrong, what was given and what would work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from composite_lab.travel import Travels


class CompositeError(Travels, Exception):
    """The root of all errors raised by composite_lab itself.

    `trace` is the `Trace` of the run so far when anything was called, else None: what was paid
    for stays readable, also where the error was pickled or copied.
    """

    trace: Any = None


class ConfigError(CompositeError, ValueError):
    """An option, a model string or a conversation that cannot work, found before any call was made."""


class QuorumError(CompositeError):
    """Fewer seats answered than the strategy needs. `causes` holds one exception per failed seat.

    In another process a cause that cannot be pickled is a `StandIn` of the same name.
    """

    def __init__(self, message: str, causes: Sequence[BaseException] = ()) -> None:
        super().__init__(message)
        self.causes = list(causes)


class BudgetExceeded(CompositeError):
    """The next call was not sent, because the calls before it had reached `max_cost_usd`."""


class RunTimeout(CompositeError, TimeoutError):
    """The whole run took longer than its `timeout_s`."""


class RunCancelled(CompositeError):
    """A run that was started in the background was cancelled before it had an answer."""


class CallTimeout(CompositeError, TimeoutError):
    """One call took longer than its seat's `timeout_s`."""


class ReplyTooLarge(CompositeError):
    """A reply has more characters than `max_reply_chars`."""


class UnreadableReply(CompositeError):
    """A reply arrived, and may be paid for, in a form that nobody can read."""


class EmptyAnswer(CompositeError):
    """A seat answered without any text, so that nobody can build on it."""


class ToolLoopError(CompositeError):
    """The model was still asking for tools when `max_tool_iterations` was reached."""


class StoreError(CompositeError):
    """The store of a comparison cannot be read or written. What it kept before is safe."""


class EngineError(CompositeError):
    """The workers of a comparison did not start or are gone. What they paid for before is in the store."""
