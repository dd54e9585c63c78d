"""One Chromium and one JupyterLab for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import nbformat
import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from composite_lab.testing import FakeServer
from composite_lab.testing.server import URL_VARIABLE
from tests.notebook.browser.chromium import ChromiumMissing, chromium_path, launch
from tests.notebook.browser.lab_page import SEE_MS, LabPage
from tests.notebook.browser.lab_server import LabServer, new_notebook

REQUIRE_VARIABLE = "COMPOSITE_LAB_REQUIRE_BROWSER"

expect.set_options(timeout=SEE_MS)

Opener = Callable[[str], AbstractContextManager[LabPage]]
NotebookWriter = Callable[..., None]


def require_browser() -> None:
    """Without a Chromium, skip and say what to install; fail where a browser is required."""
    try:
        chromium_path()
    except ChromiumMissing as missing:
        if os.environ.get(REQUIRE_VARIABLE) == "1":
            pytest.fail(f"{REQUIRE_VARIABLE} is 1, and there is {missing}", pytrace=False)
        pytest.skip(f"there is {missing}")


# Of this package (it needs its __init__.py) and not of the session: while playwright is started, its event
# loop counts as the running loop of the main thread, and other tests start loops of their own there.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The Chromium that is installed here."""
    require_browser()
    with sync_playwright() as playwright, launch(playwright) as started:
        yield started


@pytest.fixture(scope="package")
def lab_server(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory, fake_openai_server: FakeServer
) -> Iterator[LabServer]:
    """A JupyterLab whose kernels find the fake server; not started where there is no browser."""
    home = tmp_path_factory.mktemp("jupyterlab")
    with LabServer(home / "home", {URL_VARIABLE: fake_openai_server.base_url}) as server:
        yield server


@pytest.fixture(scope="package")
def write_notebook(lab_server: LabServer) -> NotebookWriter:
    """Writes a notebook of code cells to the server's folder: `write_notebook("stop.ipynb", "1 + 1")`."""

    def write(name: str, *cells: str) -> None:
        nbformat.write(new_notebook(*cells), lab_server.notebooks / name)

    return write


@pytest.fixture(scope="package")
def open_notebook(browser: Browser, lab_server: LabServer) -> Opener:
    """Opens a notebook of the server's folder in JupyterLab: `with open_notebook("stop.ipynb") as lab:`."""

    @contextmanager
    def opened(name: str) -> Iterator[LabPage]:
        with LabPage.opened(browser, lab_server, name) as lab:
            yield lab
            # Whatever a test is about: no page talks to strangers, opens a dialog or breaks.
            assert (lab.foreign, lab.dialogs, lab.faults) == ([], [], [])

    return opened
