"""Counts instructions instead of time: `python -m tests.benchmarks.instructions`, which wants valgrind.

On a shared machine CPU time varies by some percent from one measurement to the next; what callgrind counts
varies by some tenths. It sees neither waiting for memory nor the kernel, so it does not stand in for the
cases `moa-cpu` and `council-cpu`: it tells whether a change to the code helps.

Usage of the part that is measured: … KIND URL, which waits for a line of input before each measurement.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from . import stub
from .cases import ROOT

RUNS = 8
MEASURED = ("by_hand", "by_hand_as_sent", "ours")
CALLGRIND = ["valgrind", "--tool=callgrind", "--instr-atstart=no"]


def main() -> None:
    print(f"{'':10}{'by hand':>12}{'with the same arguments':>30}{'ours':>20}")
    with stub.running() as url, tempfile.TemporaryDirectory() as folder:
        for kind in ("moa", "council"):
            bare, as_sent, ours = counted(kind, url, Path(folder) / kind)
            of_sent = f"{as_sent / RUNS / 1e6:.1f} M ({as_sent / bare:.3f})"
            of_ours = f"{ours / RUNS / 1e6:.1f} M ({ours / bare:.3f})"
            print(f"{kind:10}{f'{bare / RUNS / 1e6:.1f} M':>12}{of_sent:>30}{of_ours:>20}")


def counted(kind: str, url: str, out: Path) -> list[int]:
    """The instructions of `RUNS` runs of each of `MEASURED`, which has gone through twice before."""
    part = [sys.executable, "-m", "tests.benchmarks.instructions", kind, url]
    command = [*CALLGRIND, f"--callgrind-out-file={out}", *part]
    quiet = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONHASHSEED": "0"}
    with subprocess.Popen(
        command, cwd=ROOT, env=quiet, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in MEASURED:
            ready(process.stdout.readline())
            control(process.pid, "--instr=on")
            for order in ("warm up\n", "count\n"):
                control(process.pid, "--zero")
                process.stdin.write(order)
                process.stdin.flush()
                ready(process.stdout.readline())
            control(process.pid, "--dump")
            control(process.pid, "--instr=off")
        process.stdin.close()
    return [total(out.with_name(f"{out.name}.{number}")) for number in range(1, len(MEASURED) + 1)]


def control(pid: int, order: str) -> None:
    subprocess.run(["callgrind_control", order, str(pid)], check=True, capture_output=True)


def ready(line: str) -> None:
    if line != "ready\n":
        raise RuntimeError(f"the measured process said {line!r} and not that it is ready")


def total(file: Path) -> int:
    found = re.search(r"^totals: (\d+)", file.read_text(), re.MULTILINE)
    assert found is not None, file
    return int(found[1])


async def measured(kind: str, url: str) -> None:
    """What is counted, each at a line of input, so that nothing else is."""
    from .workloads import Workload

    work = Workload(kind, url, 0)
    await work.capture()
    for name in MEASURED:
        run = getattr(work, name)
        await run()
        for runs in (1, RUNS):
            print("ready", flush=True)
            sys.stdin.readline()
            for _ in range(runs):
                await run()
            await asyncio.sleep(0.3)  # LiteLLM's background work is part of it
        print("ready", flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        asyncio.run(measured(*sys.argv[1:]))
    else:
        main()
