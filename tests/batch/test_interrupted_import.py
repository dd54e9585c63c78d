"""Ctrl-C while the first comparison, frame or page of a process imports what it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from composite_lab.testing import FakeServer

SCRIPT = """
import importlib.abc, os, signal, sys
import composite_lab as lab

url = sys.argv[1]
signal.signal(signal.SIGINT, signal.default_int_handler)
endpoint = {"api_base": url, "api_key": "sk-test"}
result = lab.MoA(aggregator=lab.Seat(model="openai/m", **endpoint), samples=1).run("Why?")

class CtrlC(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "pandas.core.frame":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

def compare():
    seat = lab.Seat(model="openai/m", **endpoint)
    return list(lab.compare({"m": seat}, ["Why?"], progress=False).to_dataframe().status)

def frame():
    return list(result.trace.to_dataframe().status.unique())

sys.meta_path.insert(0, CtrlC())
try:
    WORK()
except KeyboardInterrupt:
    print("interrupted")
print(WORK())
"""


@pytest.mark.parametrize("work", ["compare", "frame"])
def test_an_interrupt_in_the_middle_of_an_import_leaves_the_next_use_sound(
    work: str, fake_openai: FakeServer
) -> None:
    child = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("WORK", work), fake_openai.base_url],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert child.stdout.split("\n") == ["interrupted", "['ok']", ""], child.stderr
