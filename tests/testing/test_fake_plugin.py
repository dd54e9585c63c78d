"""The pytest plug-in, used as a user uses it: in runs of pytest of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOW_ENVIRONMENT = """
import os

def test_environment():
    print("URL", os.environ.get("COMPOSITE_LAB_FAKE_URL"), "END")
"""


def run_pytest(directory: Path, *arguments: str, **variables: str) -> str:
    """Run pytest with the plug-in and return its output; it must pass."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COMPOSITE_LAB_"))}
    environment |= {"PYTHONPATH": (directory / "path").read_text()} | variables
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-s",
        "-p",
        "composite_lab.testing.plugin",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [*command, *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path: Path, light_root: Path) -> Path:
    """A directory with a pytest configuration of its own."""
    (tmp_path / "path").write_text(str(light_root))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def test_fixture_gives_every_test_a_server_with_nothing_recorded(project: Path) -> None:
    (project / "test_it.py").write_text(
        "import json, urllib.request, pytest\n"
        "@pytest.mark.parametrize('time', [1, 2])\n"
        "def test_it(fake_openai, fake_openai_server, time):\n"
        "    assert fake_openai is fake_openai_server\n"
        "    assert fake_openai.stats().total == 0\n"
        "    body = {'model': 'fake-a', 'messages': [{'role': 'user', 'content': 'x'}]}\n"
        "    url = fake_openai.base_url + '/chat/completions'\n"
        "    request = urllib.request.Request(url, json.dumps(body).encode())\n"
        "    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).read()\n"
        "    assert fake_openai.stats().total == 1\n"
    )
    assert "2 passed" in run_pytest(project)


def test_server_starts_with_the_session_only_if_asked(project: Path) -> None:
    (project / "test_it.py").write_text(SHOW_ENVIRONMENT)
    assert "URL None END" in run_pytest(project)
    assert "URL http://127.0.0.1:" in run_pytest(project, "--composite-lab-fake-server")
    (project / "pytest.ini").write_text("[pytest]\ncomposite_lab_fake_server = true\n")
    assert "URL http://127.0.0.1:" in run_pytest(project)


def test_session_never_uses_the_server_of_another(project: Path) -> None:
    (project / "test_it.py").write_text(SHOW_ENVIRONMENT)
    shown = run_pytest(project, "--composite-lab-fake-server", COMPOSITE_LAB_FAKE_URL="http://elsewhere/v1")
    assert "URL http://127.0.0.1:" in shown


def test_fixture_and_environment_name_the_same_server(project: Path) -> None:
    (project / "test_it.py").write_text(
        "import os\n"
        "from composite_lab.testing import FakeServer\n"
        "def test_it(fake_openai):\n"
        "    assert os.environ['COMPOSITE_LAB_FAKE_URL'] == fake_openai.base_url\n"
        "    assert FakeServer.shared().base_url == fake_openai.base_url\n"
    )
    run_pytest(project, "--composite-lab-fake-server")


def test_every_xdist_worker_has_its_own_server_and_the_controller_none(project: Path) -> None:
    pytest.importorskip("xdist")
    (project / "conftest.py").write_text(
        "import os\n"
        "def pytest_sessionfinish(session):\n"
        "    if not hasattr(session.config, 'workerinput'):\n"
        "        print('CONTROLLER', os.environ.get('COMPOSITE_LAB_FAKE_URL'), 'END')\n"
    )
    (project / "test_it.py").write_text(
        "import os, time, pathlib, pytest\n"
        "@pytest.mark.parametrize('i', range(2))\n"
        "def test_it(i, fake_openai):\n"
        "    assert fake_openai.base_url == os.environ['COMPOSITE_LAB_FAKE_URL']\n"
        "    pathlib.Path(f'worker-{os.environ[\"PYTEST_XDIST_WORKER\"]}').write_text(fake_openai.base_url)\n"
    )
    shown = run_pytest(project, "--composite-lab-fake-server", "-n", "2", "--dist", "each")
    assert "CONTROLLER None END" in shown
    urls = {path.read_text() for path in project.glob("worker-*")}
    assert len(urls) == 2
