"""A pytest plug-in with the fixtures `fake_openai` and `fake_openai_server`.

Enable it with `pytest_plugins = ["composite_lab.testing.plugin"]` in the top conftest.py or with
`-p composite_lab.testing.plugin`. Tests that run where fixtures do not reach, such as notebooks in
their kernels, find a server at COMPOSITE_LAB_FAKE_URL if the ini option `composite_lab_fake_server`
is true or `--composite-lab-fake-server` is given. With pytest-xdist every worker has its own server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from composite_lab.testing.server import URL_VARIABLE, FakeServer

_OPTION = "composite_lab_fake_server"

_early_server = pytest.StashKey[FakeServer]()
_earlier_url = pytest.StashKey[str | None]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the switch that starts a server with the session."""
    text = f"start a fake OpenAI server with the session and set {URL_VARIABLE} to its URL"
    parser.addini(_OPTION, text, type="bool", default=False)
    group = parser.getgroup("composite-lab")
    group.addoption("--composite-lab-fake-server", action="store_true", dest=_OPTION, help=text)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the server for processes that inherit the environment, such as notebook kernels."""
    config = session.config
    wanted = config.getoption(_OPTION) or config.getini(_OPTION)
    if not wanted or _is_xdist_controller(config):
        return
    server = FakeServer.start()
    config.stash[_early_server] = server
    config.stash[_earlier_url] = os.environ.get(URL_VARIABLE)
    os.environ[URL_VARIABLE] = server.base_url


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server of the session and restore the environment."""
    server = config.stash.get(_early_server, None)
    if server is None:
        return
    server.stop()
    earlier = config.stash[_earlier_url]
    if earlier is None:
        os.environ.pop(URL_VARIABLE, None)
    else:
        os.environ[URL_VARIABLE] = earlier


@pytest.fixture(scope="session")
def fake_openai_server(pytestconfig: pytest.Config) -> Iterator[FakeServer]:
    """A fake OpenAI server for the whole session."""
    early = pytestconfig.stash.get(_early_server, None)
    if early is not None:
        yield early
        return
    with FakeServer.start() as server:
        yield server


@pytest.fixture
def fake_openai(fake_openai_server: FakeServer) -> FakeServer:
    """The server of the session with nothing recorded."""
    fake_openai_server.reset()
    return fake_openai_server


def _is_xdist_controller(config: pytest.Config) -> bool:
    if hasattr(config, "workerinput"):
        return False
    return config.getoption("dist", "no") != "no" or bool(config.getoption("numprocesses", None))
