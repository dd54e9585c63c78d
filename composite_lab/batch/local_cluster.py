"""Processes of this machine as Dask workers, for the time of one comparison."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import IO, Any

from composite_lab.errors import EngineError

START_S = 120.0
"""How long the workers may take to start, in seconds."""
POLL_S = 0.05
HTTP = "127.0.0.1:0"
"""Where Dask's own web pages go, as they cannot be left out: else to a fixed port, on all interfaces."""
OPTIONS = f"--nthreads 1 --memory-limit 0 --host 127.0.0.1 --no-dashboard --dashboard-address {HTTP}"
LAST_WORDS = 2000
"""How much of what failed workers wrote is told, in characters."""


@asynccontextmanager
async def local_workers(count: int | None) -> AsyncIterator[str]:
    """The address of a scheduler in this process with that many worker processes, by default one per CPU.

    It listens on the loopback only. Raises `EngineError` when the workers do not start.
    """
    from dask.system import CPU_COUNT
    from distributed import Scheduler

    count = count or CPU_COUNT
    folder = tempfile.TemporaryDirectory(prefix="composite_lab_", ignore_cleanup_errors=True)
    with _unheard(), folder as scratch, tempfile.TemporaryFile() as said:
        async with Scheduler(
            host="127.0.0.1", port=0, protocol="tcp", dashboard=False, dashboard_address=HTTP
        ) as scheduler:
            process = _spawn(scheduler.address, count, scratch, said)
            try:
                await _started(scheduler, count, process, said)
                yield scheduler.address
            finally:
                _stop(process)


def _spawn(address: str, count: int, scratch: str, said: IO[bytes]) -> subprocess.Popen[bytes]:
    # The command line and no `multiprocessing`: that would run the caller's script again in each worker,
    # unless the script guards against it.
    command = [sys.executable, "-m", "dask", "worker", address, *f"--nworkers {count} {OPTIONS}".split()]
    here = {"PYTHONPATH": os.pathsep.join(folder or os.getcwd() for folder in sys.path)}
    return subprocess.Popen(
        [*command, "--local-directory", scratch],
        env=os.environ | here,
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        start_new_session=True,  # Ctrl-C in the terminal is for this process, which stops the workers
    )


async def _started(scheduler: Any, count: int, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    deadline = asyncio.get_running_loop().time() + START_S
    while len(scheduler.workers) < count:
        if process.poll() is not None or asyncio.get_running_loop().time() > deadline:
            said.seek(0)
            words = said.read().decode(errors="replace").strip()[-LAST_WORDS:]
            raise EngineError(f"the {count} worker processes did not start:\n{words}")
        await asyncio.sleep(POLL_S)


def _stop(process: subprocess.Popen[bytes]) -> None:
    # Nothing of the comparison is left in them, and their own way to end takes seconds.
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


@contextmanager
def _unheard() -> Iterator[None]:
    # The scheduler tells of each worker that comes and goes; the rows say what became of the runs.
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
