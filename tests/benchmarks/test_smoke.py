"""The benchmarks still run and find ratios. How high they are, only `python -m tests.benchmarks` judges."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from . import stub
from .cases import CASES, ROOT
from .imports import connections_of_import
from .pairs import Measured

# Three start many processes, three are large and run small here, and one Council stands for the others.
SLOW = {
    "patched-loop",
    "import",
    "two-processes",
    "compare",
    "compare-kept",
    "frame",
    "council-in-loop",
    "council-script",
    "council-cpu",
}
# One process for all, and not this one: it patches asyncio.
SCRIPT = """
import json, sys
from tests.benchmarks.cases import CASES, frame, kept, throughput
url, *names = sys.argv[1:]
found = {name: CASES[name].measure(url, 1) for name in names}
small = {"frame": frame(1_000, url, 1), "compare": throughput(20, url, 1), "compare-kept": kept(5, url, 1)}
print(json.dumps(found | small))
"""


def test_the_cases_find_ratios() -> None:
    names = [name for name in CASES if name not in SLOW]
    with stub.running() as url:
        command = [sys.executable, "-c", SCRIPT, url, *names]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.keys() == {*names, "frame", "compare", "compare-kept"}
    assert all(Measured(name, pairs, None).ratio > 0 for name, pairs in found.items())


def test_a_ratio_above_its_bound_does_not_pass() -> None:
    assert Measured("slow", [(3.0, 2.0), (1.5, 1.0), (9.0, 1.0)], 1.5).ratio == pytest.approx(1.5)
    assert Measured("slow", [(3.0, 2.0)], 1.5).passed
    assert not Measured("slow", [(3.0, 2.0)], 1.4).passed


def test_importing_opens_no_connection() -> None:
    assert connections_of_import() == []
