"""The cases. Each runs in a fresh process, because entering a running loop patches asyncio for good.

Usage: python -m tests.benchmarks.cases CASE URL ROUNDS, which prints the pairs as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import process_time

from .batch import two_processes
from .pairs import Measured, Pair, interleaved, interleaved_async, timed, timed_async
from .throughput import kept, throughput

ROOT = Path(__file__).parents[2]
LATENCY_MS = 100
RUNS_A_BLOCK = 5
"""How many runs one measurement of CPU time holds; the clock and LiteLLM's background work need some."""


@dataclass(frozen=True)
class Case:
    """What is compared, how often, and the highest ratio that passes."""

    measure: Callable[[str, int], list[Pair]]
    bound: float | None
    rounds: int


def measured(name: str, url: str, rounds: int | None = None) -> Measured:
    """The measurement of one case, made in a process of its own."""
    case = CASES[name]
    command = [sys.executable, "-m", "tests.benchmarks.cases", name, url, str(rounds or case.rounds)]
    quiet = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{name} failed:\n{done.stderr}")
    return Measured(name, [tuple(pair) for pair in json.loads(done.stdout.splitlines()[-1])], case.bound)


# --- wall time


def in_async_code(kind: str, url: str, rounds: int) -> list[Pair]:
    """`await arun` against `await` by hand."""
    from .workloads import Workload

    async def main() -> list[Pair]:
        work = Workload(kind, url, LATENCY_MS)
        await work.capture()
        return await interleaved_async(timed_async(work.ours), timed_async(work.by_hand), rounds)

    return asyncio.run(main())


def in_running_loop(kind: str, url: str, rounds: int) -> list[Pair]:
    """`run` in a running loop against `await` by hand in the same loop, which the first `run` has patched."""
    from .workloads import Workload

    async def main() -> list[Pair]:
        work = Workload(kind, url, LATENCY_MS)
        await work.capture()

        async def ours() -> None:
            work.ours_sync()

        return await interleaved_async(timed_async(ours), timed_async(work.by_hand), rounds)

    return asyncio.run(main())


def in_script(kind: str, url: str, rounds: int) -> list[Pair]:
    """`run` without a loop against the calls by hand on a loop that is kept."""
    from .workloads import Workload

    work = Workload(kind, url, LATENCY_MS)
    with asyncio.Runner() as runner:
        runner.run(work.capture())
        return interleaved(timed(work.ours_sync), timed(lambda: runner.run(work.by_hand())), rounds)


def patched_loop(kind: str, url: str, rounds: int) -> list[Pair]:
    """The calls by hand in a patched loop against the same calls in one that is not: two processes a pair."""
    script = (
        "import asyncio, json, sys, statistics; from tests.benchmarks.pairs import timed_async;"
        "from tests.benchmarks.workloads import Workload\n"
        "async def main():\n"
        "    if sys.argv[3] == 'patched':\n"
        "        import nest_asyncio2; nest_asyncio2.apply()\n"
        "    work = Workload(sys.argv[1], sys.argv[2], 100); await work.capture()\n"
        "    measure = timed_async(work.by_hand); times = [await measure() for _ in range(15)]\n"
        "    print(statistics.median(times[3:]))\n"
        "asyncio.run(main())"
    )

    def run(state: str) -> float:
        command = [sys.executable, "-c", script, kind, url, state]
        return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)

    return interleaved(lambda: run("patched"), lambda: run("plain"), rounds)


# --- CPU time


def cpu_time(kind: str, url: str, rounds: int) -> list[Pair]:
    """CPU time of runs whose calls are answered at once; LiteLLM's background work is part of both."""
    from .workloads import Workload

    async def main() -> list[Pair]:
        work = Workload(kind, url, 0)
        await work.capture()

        async def ours() -> None:
            for _ in range(RUNS_A_BLOCK):
                await work.ours()
            await asyncio.sleep(0.05)

        async def by_hand() -> None:
            for _ in range(RUNS_A_BLOCK):
                await work.by_hand()
            await asyncio.sleep(0.05)

        return await interleaved_async(
            timed_async(ours, process_time), timed_async(by_hand, process_time), rounds
        )

    return asyncio.run(main())


# --- the first piece of an answer


def first_token(url: str, rounds: int) -> list[Pair]:
    """`astream` against a gather and a streamed call by hand."""
    from .workloads import Workload

    async def main() -> list[Pair]:
        work = Workload("moa", url, LATENCY_MS)
        await work.capture()
        return await interleaved_async(work.first_token, work.first_token_by_hand, rounds)

    return asyncio.run(main())


def first_token_through_litellm(url: str, rounds: int) -> list[Pair]:
    """`litellm.acompletion(model="composite/moa/…", stream=True)` against the same by hand."""
    from .workloads import Workload

    async def main() -> list[Pair]:
        work = Workload("moa", url, LATENCY_MS)
        await work.capture()
        return await interleaved_async(work.first_token_through_litellm, work.first_token_by_hand, rounds)

    return asyncio.run(main())


# --- without a server


def import_time(_: str, rounds: int) -> list[Pair]:
    """Importing composite_lab against importing LiteLLM, each in a fresh process."""

    def seconds(module: str) -> float:
        script = (
            f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
        )
        command = [sys.executable, "-c", script]
        return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)

    return interleaved(lambda: seconds("composite_lab"), lambda: seconds("litellm"), rounds)


def frame(calls: int, _: str, rounds: int) -> list[Pair]:
    """`Trace.to_dataframe()` against a DataFrame of dicts with the same values in plain dtypes."""
    import pandas as pd

    from composite_lab.trace.frames import COLUMNS

    from .traces import large_trace

    trace = large_trace(calls)
    rows = [{column.name: getattr(call, column.attribute) for column in COLUMNS} for call in trace.calls]
    return interleaved(timed(trace.to_dataframe), timed(lambda: pd.DataFrame(rows)), rounds)


CASES = {
    "moa-async": Case(partial(in_async_code, "moa"), 1.02, 40),
    "council-async": Case(partial(in_async_code, "council"), 1.02, 40),
    "moa-in-loop": Case(partial(in_running_loop, "moa"), 1.02, 40),
    "council-in-loop": Case(partial(in_running_loop, "council"), 1.02, 40),
    "moa-script": Case(partial(in_script, "moa"), 1.02, 40),
    "council-script": Case(partial(in_script, "council"), 1.02, 40),
    "patched-loop": Case(partial(patched_loop, "council"), None, 6),
    "moa-cpu": Case(partial(cpu_time, "moa"), 1.03, 60),
    "council-cpu": Case(partial(cpu_time, "council"), 1.03, 60),
    "first-token": Case(first_token, 1.02, 40),
    "first-token-litellm": Case(first_token_through_litellm, 1.02, 40),
    "import": Case(import_time, 1.15, 10),
    "two-processes": Case(two_processes, None, 6),
    "compare": Case(partial(throughput, 2_000), 1 / 0.97, 6),
    "compare-kept": Case(partial(kept, 2_000), 1 / 20, 1),
    "frame": Case(partial(frame, 100_000), 2.0, 10),
}

if __name__ == "__main__":
    print(json.dumps(CASES[sys.argv[1]].measure(sys.argv[2], int(sys.argv[3]))))
