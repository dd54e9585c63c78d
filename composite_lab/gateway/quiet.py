"""What LiteLLM and stamina would write into a notebook although nothing is wrong and nobody can act on it."""

from __future__ import annotations

import logging

import litellm
from litellm._logging import verbose_logger


def silence() -> None:
    """Called once, on import. Who sets up logging still gets stamina's notices."""
    # A run reports a failed call in its trace; LiteLLM's own notice for each of them would drown a notebook.
    litellm.suppress_debug_info = True
    logging.getLogger("stamina").addHandler(logging.NullHandler())
    verbose_logger.addFilter(_is_about_more_than_loops)


def _is_about_more_than_loops(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("LoggingWorker: event loop changed")
