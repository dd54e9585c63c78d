"""`composite-lab compare`, run as a user runs it: an experiment file, a process, the fake server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from composite_lab.testing import FakeServer
from tests.test_cli import run

EXAMPLE = Path(__file__).parents[1] / "data/fixtures/experiment.yaml"
PRICES = "input_cost_per_token: 1.0e-6, output_cost_per_token: 1.0e-6"
PRICE_OF_A_CALL = 120e-6


@pytest.fixture
def here(fake_openai: FakeServer) -> dict[str, str]:
    """The environment in which the files' providers are the fake server."""
    return {"COMPOSITE_LAB_FAKE_URL": fake_openai.base_url}


def experiment(folder: Path, *models: str, prompts: int = 6, more: str = "") -> Path:
    """An experiment file that asks each of these models a few prompts."""
    strategies = "\n".join(
        f"  {model.split('+')[0]}: {{model: openai/{model}, provider: fake}}" for model in models
    )
    questions = "\n".join(f"  - {{prompt: 'Question {number}', target: 'e'}}" for number in range(prompts))
    file = folder / "experiment.yaml"
    file.write_text(
        "providers:\n"
        f"  fake: {{api_base: os.environ/COMPOSITE_LAB_FAKE_URL, api_key: none, retries: 0, {PRICES}}}\n"
        f"strategies:\n{strategies}\nprompts:\n{questions}\nstore: runs.sqlite\n{more}"
    )
    return file


def test_the_example_is_estimated_run_and_written(
    fake_openai: FakeServer, here: dict[str, str], tmp_path: Path
) -> None:
    store, frame_file, calls_file = (
        tmp_path / name for name in ("s.sqlite", "frame.parquet", "calls.parquet")
    )
    foreseen = run("compare", str(EXAMPLE), "--estimate", "--json", **here)
    assert foreseen.returncode == 0, foreseen.stderr
    assert fake_openai.stats().total == 0
    done = run(
        "compare", str(EXAMPLE), "--store", str(store), "--out", str(frame_file), "--calls", str(calls_file),
        "--json", **here,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert json.loads(foreseen.stdout)["calls"] == told["calls_paid"] == fake_openai.stats().total
    frame, calls = pd.read_parquet(frame_file), pd.read_parquet(calls_file)
    assert [row["strategy"] for row in told["summary"]] == ["alone", "moa", "council"]
    assert [row["n"] for row in told["summary"]] == [240] * 3
    means = frame.groupby("strategy", sort=False)["score"].mean()
    assert [row["score"] for row in told["summary"]] == pytest.approx(list(means))
    assert [row["strategy"] for row in told["differences"]] == ["moa", "council"]
    assert len(frame) == 3 * 240
    assert set(calls["strategy_name"]) == {"alone", "moa", "council"}
    assert calls["cost_usd"].sum() == pytest.approx(told["paid_usd"])
    # The same command again pays for nothing, and shows tables.
    again = run("compare", str(EXAMPLE), "--store", str(store), **here)
    assert again.returncode == 0, again.stderr
    assert fake_openai.stats().total == told["calls_paid"]
    for text in (
        "95 % interval",
        "USD a run",
        "p50 s",
        "failed",
        "undone",
        "against alone",
        "0 calls paid for",
    ):
        assert text in again.stdout
    assert f"{told['summary'][1]['score']:.3f}" in again.stdout
    assert told["differences"][0]["verdict"] in again.stdout


def test_failed_runs_end_with_3_and_are_rows(here: dict[str, str], tmp_path: Path) -> None:
    file, frame = (
        experiment(tmp_path, "good", "bad+status=400", more="scorer: contains\n"),
        tmp_path / "f.csv",
    )
    done = run("compare", str(file), "--out", str(frame), "--repeats", "2", **here)
    assert done.returncode == 3, done.stderr
    assert "12 of 24 runs failed (BadRequestError 12): the same command tries them again" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(pd.read_csv(frame)["status"].value_counts()[["ok", "error"]]) == [12, 12]


def test_spent_money_ends_with_4_and_a_higher_cap_goes_on(
    fake_openai: FakeServer, here: dict[str, str], tmp_path: Path
) -> None:
    file = experiment(tmp_path, "m", more=f"max_concurrency: 1\nmax_cost_usd: {2.5 * PRICE_OF_A_CALL}\n")
    done = run("compare", str(file), **here)
    assert done.returncode == 4, done.stderr
    assert "3 of 6 runs were left undone" in done.stderr
    assert "with a higher --max-cost-usd goes on" in done.stderr
    assert fake_openai.stats().total == 3
    assert run("compare", str(file), "--max-cost-usd", "1", **here).returncode == 0
    assert fake_openai.stats().total == 6


def test_scores_that_the_money_did_not_reach_for_end_with_4(here: dict[str, str], tmp_path: Path) -> None:
    judge = "scorer: {scorer: rubric_judge, rubric: Kind, judge: {model: openai/j, provider: fake}}\n"
    cap = f"max_cost_usd: {0.5 * PRICE_OF_A_CALL}\n"
    done = run("compare", str(experiment(tmp_path, "m", prompts=1, more=judge + cap)), **here)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "0 of 1 runs and 1 scores were left undone" in done.stderr


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(
    fake_openai: FakeServer, here: dict[str, str], tmp_path: Path
) -> None:
    file = experiment(tmp_path, "m", "slow+hang+times=2", prompts=4, more="max_concurrency: 6\n")
    command = [sys.executable, "-m", "composite_lab.cli", "compare", str(file)]
    with subprocess.Popen(command, env=os.environ | here, stderr=subprocess.PIPE, text=True) as process:
        fake_openai.wait_until(lambda seen: seen.in_flight == 2 and seen.total == 8, 60)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert (
        f"everything paid for is in the store {tmp_path / 'runs.sqlite'}, and the same command goes on"
        in said
    )
    assert "Traceback" not in said
    before = fake_openai.stats().total
    assert run("compare", str(file), "--quiet", **here).returncode == 0
    assert fake_openai.stats().total == before + 2


def test_what_is_not_kept_is_said(here: dict[str, str], tmp_path: Path) -> None:
    file = experiment(tmp_path, "bad+status=400", prompts=1)
    file.write_text(file.read_text().replace("store: runs.sqlite\n", ""))
    done = run("compare", str(file), **here)
    assert "the command, with --store, tries them again" in done.stderr
    assert "scor" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "more", "says"),
    [
        ([], "scorer: exact_mach\n", "experiment.yaml, line 13, scorer: unknown scorer"),
        (["--out", "frame.xlsx"], "", "must end in .parquet or .csv or .jsonl"),
        (["--calls", "calls.jsonl"], "", "must end in .parquet or .csv"),
        (["--out", "/no/such/folder/f.csv"], "", "there is no folder /no/such/folder"),
        (["--store", "/no/such/folder/s"], "", "there is no folder /no/such/folder"),
        (["--repeats", "0"], "", "--repeats"),
        ([], "engine: dask\n", "line 13, engine: "),
    ],
)  # fmt: skip
def test_a_mistake_ends_with_2_before_anything_is_called(
    fake_openai: FakeServer, here: dict[str, str], tmp_path: Path, arguments: list[str], more: str, says: str
) -> None:
    done = run("compare", str(experiment(tmp_path, "m", more=more)), *arguments, **here)
    assert done.returncode == 2, done.stdout + done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert fake_openai.stats().total == 0


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_the_frame_is_written_in_each_form(here: dict[str, str], tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"frame.{suffix}"
    done = run("compare", str(experiment(tmp_path, "m", prompts=2)), "--out", str(file), **here)
    assert done.returncode == 0, done.stderr
    readers: dict[str, Any] = {
        "parquet": pd.read_parquet,
        "csv": pd.read_csv,
        "jsonl": lambda path: pd.read_json(path, lines=True),
    }
    assert list(readers[suffix](file)["prompt"]) == ["Question 0", "Question 1"]


def test_a_frame_as_csv_holds_no_formulas_unless_asked_for(here: dict[str, str], tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"id": "=1", "prompt": "@Question", "target": "-x"}) + "\n")
    file = experiment(tmp_path, "m+text=%3D1%2B1", prompts=1)
    start, _, _ = file.read_text().partition("prompts:\n")
    file.write_text(f"{start}prompts: {prompts}\nstore: runs.sqlite\n")
    for options, mark in (([], "'"), (["--no-guard-formulas"], "")):
        frame, calls = tmp_path / "frame.csv", tmp_path / "calls.csv"
        done = run("compare", str(file), "--out", str(frame), "--calls", str(calls), *options, **here)
        assert done.returncode == 0, done.stderr
        row = pd.read_csv(frame).iloc[0]
        assert (row["prompt"], row["target"]) == (f"{mark}@Question", f"{mark}-x")
        assert pd.read_csv(calls)["latency_s"].dtype == float
