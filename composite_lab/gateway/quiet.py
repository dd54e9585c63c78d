"""What LiteLLM and stamina would write into a notebook although nothing is wrong and nobody can act on it."""

from __future__ import annotations

import logging

import litellm
from litellm._logging import verbose_logger
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER


def silence() -> None:
    """Called once, on import. Who sets up logging still gets stamina's notices."""
    # A run reports a failed call in its trace; LiteLLM's own notice for each of them would drown a notebook.
    litellm.suppress_debug_info = True
    logging.getLogger("stamina").addHandler(logging.NullHandler())
    verbose_logger.addFilter(_is_about_more_than_loops)


def let_worker_go() -> None:
    """Keep asyncio from complaining about the task that delivers LiteLLM's callbacks.

    There is one for the whole process. When a run begins on another loop (a cell's after `start()`, say),
    LiteLLM makes a new one, hands on what was to be delivered, and drops the old one as it is.
    """
    worker = GLOBAL_LOGGING_WORKER._worker_task
    if worker is not None:
        worker._log_destroy_pending = False  # type: ignore[attr-defined]


def _is_about_more_than_loops(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("LoggingWorker: event loop changed")
