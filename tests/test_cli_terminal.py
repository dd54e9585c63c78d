"""The command line on a terminal, a real one: nothing that a model or a file says has an effect on it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from composite_lab import Ballot, Standing, Trace
from composite_lab.testing import FakeServer
from tests.records import call, trace
from tests.test_cli import run

pty = pytest.importorskip("pty", reason="no pseudo-terminals here")

# Clears the screen, sets the clipboard and the title, links, conceals; C1 controls; DEL, backspace; bidi.
EVIL = (
    "one\x1b[2Jtwo\x1b]52;c;cHduZWQ=\x07\x1b]0;title\x07\x1b]8;;http://evil\x1b\\three\x1b[8mfour\x1b[0m"
    "\x9b2J\x9d0;t\x9c\x85\x90x\x7f\x08\x00\x0e\u202efive\u2066\u2069\u200b\ttab\nlast"
)
HARMFUL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]|\r(?!\n)")


def on_terminal(*arguments: str, **environment: str) -> str:
    """What a command writes to a terminal, which is its standard output and its standard error."""
    ours, its = pty.openpty()
    # A dumb terminal gets no colours, so that every control character is somebody else's.
    plain = {"COLUMNS": "120", "TERM": "dumb", "PYTHONUTF8": "1"}
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL, stdout=its, stderr=its, env=os.environ | plain | environment,
    ):  # fmt: skip
        os.close(its)
        pieces = []
        while piece := _read(ours):
            pieces.append(piece)
    os.close(ours)
    return b"".join(pieces).decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # how Linux says that the other side is closed
        return b""


def command(*arguments: str, **environment: str) -> str:
    return on_terminal("-m", "composite_lab.cli", *arguments, **environment)


@pytest.fixture
def key(fake_openai: FakeServer) -> dict[str, str]:
    return {"OPENAI_API_KEY": "sk-test", "OPENAI_API_BASE": fake_openai.base_url}


def evil_trace() -> Trace:
    """A run in which everything that may be any text does harm."""
    function = {"name": EVIL, "arguments": EVIL}
    calls = [
        call("1", stage="opinions", role="member", text=EVIL, seat_name=EVIL),
        call("2", stage="opinions", role=EVIL, seat=1, request_model=EVIL, status="error",
             error_type=EVIL, error_message=EVIL),
        call("3", stage=EVIL, text=EVIL),
        call("4", stage="tool", role="tool", request_model=EVIL, text=EVIL,
             tool_calls=[{"id": "1", "type": "function", "function": function}]),
    ]  # fmt: skip
    standing = Standing(member=0, label=EVIL, place=1, borda=1.0, mean_rank=1.0, ballots=1)
    ballot = Ballot(reviewer=0, call_id="1", labels=[EVIL], members=[0], status="invalid", problem=EVIL)
    return trace(*calls, trace_id=EVIL, text=EVIL, strategy=EVIL, standings=[standing], ballots=[ballot])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    file = tmp_path / "runs.jsonl"
    failed = trace(trace_id="2", status="error", error_message=EVIL)
    file.write_text("".join(one.model_dump_json() + "\n" for one in (evil_trace(), failed)))
    return file


def test_a_saved_trace_does_nothing_to_a_terminal(saved: Path) -> None:
    shown = command("trace", str(saved), "--text")
    assert not HARMFUL.search(shown)
    assert shown.count("␛[2J") >= 6
    assert max(map(len, shown.splitlines())) <= 120  # what is shown has its room
    # With colours there are sequences, but only those of colours, and none that conceals.
    coloured = command("trace", str(saved), "--text", TERM="xterm-256color")
    assert "\x1b[1m" in coloured
    assert not HARMFUL.search(re.sub("\x1b\\[(?!8m)[0-9;]*m", "", coloured))


def test_a_table_of_saved_traces_does_nothing_to_a_terminal(saved: Path) -> None:
    shown = command("trace", str(saved), "--csv")
    assert not HARMFUL.search(shown)
    assert "␛[2J" in shown


def test_into_a_pipe_the_same_texts_go_as_they_are(saved: Path) -> None:
    piped = run("trace", str(saved), "--text").stdout
    assert piped.count("\x1b]52;c;cHduZWQ=") >= 3
    assert "␛" not in piped
    assert "\x9b2J" in run("trace", str(saved), "--csv").stdout


def test_a_streamed_answer_is_shown_on_a_terminal_and_raw_in_a_pipe(
    fake_openai: FakeServer, key: dict[str, str]
) -> None:
    ask = ["ask", "--aggregator", f"openai/a+text={quote(EVIL)}", "--proposer"]
    shown = command(*ask, "openai/p\x1b[2J\x9b\u202e+status=400", "--proposer", "openai/q", "Why?", **key)
    assert not HARMFUL.search(shown)
    for part in ("one␛[2Jtwo␛]52;c;cHduZWQ=␇", "⟨U+202E⟩five", "\ttab\r\nlast", "p␛[2J⟨U+009B⟩"):
        assert part in shown
    assert run(*ask, "openai/q", "Why?", **key).stdout == f"{EVIL}\n"
    assert fake_openai.requests()[-1].body["stream"] is True


def test_an_error_with_a_models_name_or_a_files_does_nothing_to_a_terminal(
    key: dict[str, str], tmp_path: Path
) -> None:
    failed = command("ask", "--aggregator", "openai/a\x1b[2J\x9b+status=400", "Why?", **key)
    assert "BadRequestError" in failed
    broken = tmp_path / "\x1b[2J.jsonl"
    broken.write_text(f"x\n{trace().model_dump_json()}\n")
    warned = command("trace", str(broken))
    assert "Warning: " in warned
    assert not HARMFUL.search(failed + warned)


def test_json_holds_the_same_data_on_a_terminal_and_in_a_pipe(key: dict[str, str]) -> None:
    ask = ["ask", "--json", "--aggregator", f"openai/a+text={quote(EVIL + chr(0xE0041))}", "Why?"]
    shown, piped = command(*ask, **key), run(*ask, **key).stdout
    assert not HARMFUL.search(shown)
    assert json.loads(shown)["text"] == json.loads(piped)["text"] == EVIL + chr(0xE0041)


def test_a_sequence_in_two_pieces_is_no_sequence() -> None:
    pairs = [("\x1b", "[2J"), ("\x1b]0;", "t\x07"), ("\x1b]8;;x\x1b", "\\"), ("\x9b", "2J")]
    code = (
        "from composite_lab.commands.console import err, write\n"
        f"for one, two in {pairs!r}:\n"
        "    write(one); write(two)\n"
        "    err.print(one, end=''); err.print(two, end='', markup=False)\n"
    )
    shown = on_terminal("-c", code)
    assert not HARMFUL.search(shown)
    assert shown.startswith("␛[2J␛[2J␛]0;t␇")


def test_warnings_and_crashes_do_nothing_to_a_terminal_whatever_it_can_write() -> None:
    code = (
        "import warnings\n"
        "from composite_lab.commands.console import show_crash, show_warning, write\n"
        f"warnings.showwarning = show_warning; text = {EVIL!r}\n"
        "write(text); warnings.warn(text); warnings.warn(text, RuntimeWarning)\n"
        "try: raise KeyError(text) from RuntimeError(text)\n"
        "except KeyError: show_crash()\n"
    )
    for encoding, picture in (("utf-8", "␛[2J"), ("ascii", "\\u241b[2J")):
        shown = on_terminal("-c", code, PYTHONUTF8="0", PYTHONIOENCODING=encoding)
        assert not HARMFUL.search(shown)
        assert shown.count(picture) == 4  # the KeyError's own text is a repr
        assert "KeyError: " in shown
