"""The server as a process: starting, stopping, failing, staying quiet."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import composite_lab.testing
from composite_lab.testing import FakeServer, FakeServerError

ROOT = Path(composite_lab.testing.__file__).parents[2]
COMMAND = [sys.executable, "-m", "composite_lab.testing.fake_openai", "--port", "0"]


def serving(root: Path, *arguments: str) -> subprocess.Popen[str]:
    """Return the server as started from the command line."""
    pipe = subprocess.PIPE
    return subprocess.Popen([*COMMAND, *arguments], cwd=root, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@pytest.fixture
def no_shared_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a user who has not set COMPOSITE_LAB_FAKE_URL."""
    monkeypatch.delenv("COMPOSITE_LAB_FAKE_URL", raising=False)


@pytest.mark.parametrize(("number", "is_light"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
def test_command_prints_its_url_and_ends_quietly_on_a_signal(
    light_root: Path, number: signal.Signals, is_light: bool
) -> None:
    process = serving(light_root if is_light else ROOT)
    assert process.stdout is not None
    base_url = process.stdout.readline().strip()
    assert base_url.startswith("http://127.0.0.1:")
    assert base_url.endswith("/v1")
    assert FakeServer(base_url).stats().total == 0
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")


def test_command_ends_with_its_parents_pipe_when_asked_to(light_root: Path) -> None:
    process = serving(light_root, "--exit-with-parent")
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.readline()
    process.stdin.close()
    assert process.wait(timeout=30) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stdout.close()
    process.stderr.close()


def test_help_lists_the_options(light_root: Path) -> None:
    shown = subprocess.run(
        [*COMMAND, "--help"], cwd=light_root, capture_output=True, text=True, check=True, timeout=120
    )
    assert "| `fail_rate=0.3` |" in shown.stdout


def test_server_ends_when_the_process_that_started_it_is_killed(light_root: Path) -> None:
    code = (
        "import sys, time\n"
        "from composite_lab.testing import FakeServer\n"
        "print(FakeServer.start().base_url, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=light_root, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        base_url = parent.stdout.readline().strip()
        assert FakeServer(base_url).stats().total == 0
        parent.kill()
    assert gone(base_url)


def test_server_ends_with_a_script_that_does_not_stop_it(light_root: Path) -> None:
    code = "from composite_lab.testing import FakeServer\nprint(FakeServer.shared().base_url)"
    environment = {k: v for k, v in os.environ.items() if k != "COMPOSITE_LAB_FAKE_URL"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=light_root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stderr == ""
    assert gone(done.stdout.strip())


def gone(base_url: str, timeout_s: float = 20.0) -> bool:
    """Return whether nothing listens at the URL any more, once that is so or the time is up."""
    address = urlsplit(base_url)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            socket.create_connection((address.hostname, address.port), timeout=5).close()
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_stopped_server_is_gone_and_may_be_stopped_again() -> None:
    with FakeServer.start() as server:
        assert server.stats().total == 0
    assert gone(server.base_url)
    server.stop()


def test_server_that_cannot_start_is_reported_with_its_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flask.py").write_text("raise ImportError('this flask is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(FakeServerError, match="this flask is broken"):
        FakeServer.start()


def test_modules_in_the_working_directory_do_not_disturb_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flask.py").write_text("raise ImportError('this flask is broken')")
    monkeypatch.chdir(tmp_path)
    with FakeServer.start() as server:
        assert server.stats().total == 0


def test_proxies_of_the_environment_are_bypassed(light_root: Path, fake_openai: FakeServer) -> None:
    handle = f"FakeServer({fake_openai.base_url!r})"
    code = f"from composite_lab.testing import FakeServer\nprint({handle}.stats().total)"
    environment = {k: v for k, v in os.environ.items() if k.lower() != "no_proxy"}
    environment |= dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=light_root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == "0"


@pytest.mark.usefixtures("no_shared_server")
def test_shared_server_is_one_per_process_and_survives_stop() -> None:
    first = FakeServer.shared()
    first.stop()
    assert FakeServer.shared().base_url == first.base_url
    assert FakeServer.shared().stats().total == 0


def test_shared_server_is_the_one_of_the_environment(
    fake_openai: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPOSITE_LAB_FAKE_URL", fake_openai.base_url)
    shared = FakeServer.shared()
    assert shared.base_url == fake_openai.base_url
    shared.stop()
    assert fake_openai.stats().total == 0


def test_broken_connections_leave_no_trace_on_stderr(light_root: Path) -> None:
    process = serving(light_root)
    assert process.stdout is not None
    server = FakeServer(process.stdout.readline().strip())
    address = urlsplit(server.base_url)

    def reset_after(sent: bytes) -> None:
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(sent)
            time.sleep(0.1)
            # Closing with a linger time of zero resets the connection instead of ending it in order.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def request(model: str, stream: str) -> bytes:
        body = b'{"model": "%b", "stream": %b, "messages": [{"role": "user"}]}' % (
            model.encode(),
            stream.encode(),
        )
        return b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    for sent in (
        b"",
        b"POST /v1/chat",
        b"no http at all\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 50\r\n\r\n{",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: many\r\n\r\n{",
        request("fake-a+hang", "false"),
        request("fake-a+drop", "false"),
        request("fake-a+truncate", "true"),
        request("fake-a+content_kb=9000", "false"),
        request("fake-a+content_kb=9000", "true"),
        request("fake-a+chunk_latency=0.05", "true"),
    ):
        reset_after(sent)
    server.wait_until(lambda stats: stats.total == 6 and stats.in_flight == 0)
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert err == ""


def test_verbose_server_writes_requests_to_stderr(light_root: Path) -> None:
    process = serving(light_root, "--verbose")
    assert process.stdout is not None
    base_url = process.stdout.readline().strip()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(f"{base_url}/models", timeout=30).close()
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert "GET /v1/models 200" in err


def test_importing_the_package_loads_no_flask(light_root: Path) -> None:
    imports = "import sys, composite_lab.testing.server, composite_lab.testing.plugin"
    code = f"{imports}\nprint('flask' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=light_root, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "False"


def test_handle_stops_only_in_the_process_that_started_it(fake_openai: FakeServer, chat: Any) -> None:
    child = os.fork() if hasattr(os, "fork") else pytest.skip("this system has no fork")
    if child == 0:
        fake_openai.stop()
        os._exit(0)
    os.waitpid(child, 0)
    assert chat("fake-a").status == 200
