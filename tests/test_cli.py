"""The command line, run as a user runs it: in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import composite_lab as lab
from composite_lab.testing import FakeServer

QUESTION = "Why is the sky dark at night?"


def run(*arguments: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    wide = {"COLUMNS": "160", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "composite_lab.cli", *arguments],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | wide | environment,
    )


@pytest.fixture
def key(fake_openai: FakeServer) -> dict[str, str]:
    return {"OPENAI_API_KEY": "sk-test", "OPENAI_API_BASE": fake_openai.base_url}


def test_the_demo_answers_through_both_strategies_without_key_or_network() -> None:
    done = run("demo", OPENAI_API_KEY="")
    assert done.returncode == 0, done.stderr
    for text in (
        "MoA",
        "Council",
        "Proposals",
        "Opinions",
        "Review",
        "Standings",
        "took s",
        "USD",
        "simulates",
    ):
        assert text in done.stdout
    assert done.stdout.count("Answer: 44") >= 2
    assert "moa ok: 4 calls, 0 failed, 480 tokens" in done.stdout
    assert "council ok: 7 calls, 0 failed, 840 tokens" in done.stdout
    assert done.stderr == ""


def test_ask_streams_the_answer_to_stdout_and_the_calls_to_stderr(
    fake_openai: FakeServer, key: dict[str, str]
) -> None:
    done = run(
        "ask", "--aggregator", "openai/a", "--proposer", "openai/p", "--proposer", "openai/q", QUESTION, **key
    )
    assert done.returncode == 0, done.stderr
    assert fake_openai.stats().by_model == {"p": 1, "q": 1, "a": 1}
    assert done.stdout.strip().startswith(("Here is what a", "This is a", "To ", "a was"))
    assert "proposals: 2 calls" in done.stderr
    assert "moa ok: 3 calls" in done.stderr
    assert fake_openai.requests()[-1].body["stream"] is True


def test_a_council_scores_by_criteria_and_chooses_an_option(
    fake_openai: FakeServer, key: dict[str, str]
) -> None:
    council = ["--strategy", "council", "--chairman", "openai/chair"]
    done = run("ask", *council, "--rubric", "clear", "--verdict", "yes", "--verdict", "no", QUESTION, **key)
    assert done.returncode == 0, done.stderr
    chosen = done.stdout.splitlines()[-2].removeprefix("VERDICT: ")
    assert chosen in ("yes", "no")
    assert f"Verdict: {chosen} · " in done.stderr
    reviews = [
        request for request in fake_openai.requests() if '"clear": <1 to 10>' in request.last_user_text
    ]
    assert len(reviews) == 3


def test_ask_reads_the_question_from_stdin_and_prints_json(
    fake_openai: FakeServer, key: dict[str, str]
) -> None:
    done = run(
        "ask", "--strategy", "council", "--chairman", "openai/c", "--member", "openai/m", "--member",
        "openai/n", "--system", "Be terse.", "--temperature", "0.4", "--json", stdin=QUESTION + "\n", **key,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["usage"]["total_tokens"] == fake_openai.stats().total_tokens
    assert lab.Trace.model_validate(answer["trace"]).text == answer["text"]
    first, last = fake_openai.requests()[0], fake_openai.requests()[-1]
    assert first.messages == [
        {"role": "system", "content": "Be terse."},
        {"role": "user", "content": QUESTION},
    ]
    assert last.body["temperature"] == 0.4


def test_saved_traces_are_shown_and_exported(key: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    for _ in range(2):
        assert run("ask", "--aggregator", "openai/a", "--save", str(file), QUESTION, **key).returncode == 0
    first, second = lab.load_traces(file)
    shown = run("trace", str(file))
    assert first.trace_id in shown.stdout
    assert second.trace_id in shown.stdout
    assert run("trace", str(file), "--id", first.trace_id[:8], "--text").stdout.count(second.trace_id) == 0
    table = run("trace", str(file), "--csv").stdout.splitlines()
    assert len(table) == 1 + 8
    assert table[0].startswith("trace_id,call_id,parent_call_id,strategy")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--strategy", "jury", "--aggregator", "openai/a", "Why?"], "unknown strategy 'jury'"),
        (["Why?"], "needs --aggregator MODEL"),
        (["--strategy", "council", "--proposer", "openai/p", "Why?"], "--proposer does not belong"),
        (["--aggregator", "openai/a", "--verdict", "yes", "Why?"], "--verdict does not belong"),
        (["--aggregator", "nonsense", "Why?"], "no provider for model 'nonsense'"),
        (["--aggregator", "openai/a", "--layers", "0", "Why?"], "layers: "),
        (["--aggregator", "openai/a", "--save", "/no/such/folder/f", "Why?"], "there is no folder"),
        (["--aggregator", "openai/a", "  "], "empty"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_in_one_line_and_nothing_is_called(
    fake_openai: FakeServer, key: dict[str, str], arguments: list[str], says: str
) -> None:
    done = run("ask", *arguments, **key)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert fake_openai.stats().total == 0


def test_a_failed_run_shows_the_calls_that_were_made(key: dict[str, str]) -> None:
    done = run("ask", "--aggregator", "openai/a+status=400", "--proposer", "openai/p", "Why?", **key)
    assert done.returncode == 1
    assert "BadRequestError" in done.stderr
    assert "proposer 1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_trace_file_is_named() -> None:
    done = run("trace", "/no/such/file")
    assert done.returncode == 2
    assert "/no/such/file" in done.stderr


def test_the_fake_server_prints_its_url_and_serves() -> None:
    import urllib.request

    with subprocess.Popen(
        [sys.executable, "-m", "composite_lab.cli", "fake-server", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        with urllib.request.urlopen(f"{url}/models", timeout=10) as response:
            assert response.status == 200
        server.terminate()
        assert server.wait(timeout=20) == 0
