"""A script that ends while a run is under way: one message, however the run was begun."""

from __future__ import annotations

import subprocess
import sys

import pytest

from composite_lab.testing import FakeServer

SETTING = """
import sys, threading
import composite_lab as lab
from composite_lab.testing import FakeServer

server = FakeServer(sys.argv[1])
seat = lab.Seat(model="openai/m+hang", api_base=server.base_url, api_key="sk-test")
moa = lab.MoA(aggregator=seat, samples=2)
compare = lab.compare

def on_a_thread(work):
    threading.Thread(target=work, daemon=True).start()

"""
WAYS = {
    "started": 'kept = moa.start("Why?")',
    "waited for": 'on_a_thread(moa.start("Why?").result)',
    "run": 'on_a_thread(lambda: moa.run("Why?"))',
    "streamed": 'on_a_thread(lambda: list(moa.stream("Why?")))',
    "left open": 'kept = moa.stream("Why?"); next(kept)',
    "compared": 'on_a_thread(lambda: compare({"m": moa}, ["Why?"], progress=False))',
}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_under_way_at_the_end_of_a_script_is_told_of_in_one_line(
    way: str, fake_openai: FakeServer
) -> None:
    wait = "\nserver.wait_until(lambda seen: seen.in_flight == 2, timeout_s=60)\n"
    child = subprocess.run(
        [sys.executable, "-c", SETTING + WAYS[way] + wait, fake_openai.base_url],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert child.returncode == 0
    assert child.stdout == ""
    (line,) = child.stderr.strip().splitlines()
    assert "the script ended while a run was still under way" in line
    assert fake_openai.wait_until(lambda seen: seen.in_flight == 0, 60).total == 2
