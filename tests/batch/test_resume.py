"""What was paid for is not paid for again: after a kill, another chairman, one more strategy."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd

import composite_lab as lab
from composite_lab.testing import FakeServer
from tests.batch.experiment_script import prompts, strategies

PROMPTS = 200
KILLS = 20
CONCURRENCY = 24
LIMIT_S = 120.0
VARYING = ["trace_id", "latency_s"]
"""Two runs of the same thing differ in these alone."""


class Sessions:
    """Carries out the comparison as often as asked, each time in a process of its own."""

    def __init__(self, store: Path, server: FakeServer) -> None:
        command = [
            sys.executable,
            "-m",
            "tests.batch.experiment_script",
            str(store),
            server.base_url,
            str(PROMPTS),
        ]
        root = Path(__file__).parents[2]
        self.parent = subprocess.Popen(
            command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._line() == "ready"

    def start(self) -> int:
        """The pid of a process that has begun to carry it out."""
        assert self.parent.stdin
        self.parent.stdin.write("go\n")
        return int(self._line())

    def end(self) -> int:
        """The exit code of the process that was started last, once it has ended."""
        return int(self._line())

    def close(self) -> None:
        self.parent.communicate()

    def _line(self) -> str:
        assert self.parent.stdout
        return self.parent.stdout.readline().strip()


def asked(server: FakeServer) -> Counter[str]:
    """How often each distinct request was sent."""
    return Counter(json.dumps(request.body, sort_keys=True) for request in server.requests())


def test_killed_twenty_times_it_ends_as_if_undisturbed(fake_openai: FakeServer, tmp_path: Path) -> None:
    undisturbed = lab.compare(
        strategies(fake_openai.base_url), prompts(PROMPTS), scorer="contains", progress=False,
        max_concurrency=CONCURRENCY,
    )  # fmt: skip
    distinct = set(asked(fake_openai))
    assert len(fake_openai.requests()) == len(distinct) == PROMPTS * (3 + 1 + 3 + 1)
    fake_openai.reset()

    chance = random.Random(11)
    store = tmp_path / "runs.sqlite"
    in_flight_at_kills = 0
    sessions = Sessions(store, fake_openai)
    for kill in range(KILLS):
        # After about this many requests, spread over the experiment.
        wanted = (kill + chance.random()) / KILLS * len(distinct)
        child = sessions.start()
        fake_openai.wait_until(lambda seen, wanted=wanted: seen.total >= wanted, LIMIT_S)
        time.sleep(chance.random() * 0.05)
        os.kill(child, signal.SIGKILL)
        assert sessions.end() == -signal.SIGKILL
        in_flight_at_kills += CONCURRENCY
    sessions.start()
    assert sessions.end() == 0
    sessions.close()

    times = asked(fake_openai)
    assert set(times) == distinct
    assert sum(times.values()) - len(distinct) <= in_flight_at_kills
    resumed = lab.compare(
        strategies(fake_openai.base_url), prompts(PROMPTS), scorer="contains", store=store, progress=False
    )
    assert resumed.calls_paid == 0
    pd.testing.assert_frame_equal(
        resumed.to_dataframe().drop(columns=VARYING), undisturbed.to_dataframe().drop(columns=VARYING)
    )
