"""A notebook open in JupyterLab, driven and read as its user does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Locator, Page

from tests.notebook.browser.lab_server import LabServer

START_MS = 60_000
RUN_MS = 90_000
SEE_MS = 20_000
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
HERE = {"127.0.0.1", "localhost", ""}


class LabPage:
    """One notebook in one page, with what the page did unasked: `foreign`, `dialogs` and `faults`.

    `foreign` are the requests to other hosts, `dialogs` the texts of alert boxes, `faults` the
    uncaught errors of its scripts.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.foreign: list[str] = []
        self.dialogs: list[str] = []
        self.faults: list[str] = []
        page.set_default_timeout(SEE_MS)
        page.on("request", lambda request: self._note(request.url))
        page.on("websocket", lambda socket: self._note(socket.url))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))

    @classmethod
    @contextmanager
    def opened(
        cls,
        browser: Browser,
        server: LabServer,
        notebook: str,
        *,
        width: int = 1280,
        height: int = 1400,
        scale: float = 1.0,
    ) -> Iterator[LabPage]:
        """Open a notebook of the server's folder; at the end its kernel is shut down and the page closed."""
        context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=scale)
        lab = cls(context.new_page())
        try:
            lab.page.goto(server.address(notebook))
            lab.page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=START_MS)
            yield lab
        finally:
            lab.page.evaluate("() => window.jupyterapp?.serviceManager.sessions.shutdownAll()")
            context.close()

    def run_all(self) -> None:
        """Run every cell, once the kernel is there, and wait until the last one has ended."""
        self._wait_for_kernel()
        self._command("notebook:run-all-cells")

    def run_cell(self, index: int) -> None:
        """Run one cell, counted from 0 with the texts between, and wait until it has ended."""
        self._wait_for_kernel()
        self.page.evaluate(
            "index => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = index }", index
        )
        self._command("notebook:run-cell")

    def output(self, index: int) -> Locator:
        """All that a cell has shown; -1 is the last cell."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index).locator(".jp-Cell-outputArea")

    def complaints(self) -> list[str]:
        """The outputs that are a traceback or came from stderr."""
        kinds = ("application/vnd.jupyter.error", "application/vnd.jupyter.stderr")
        found = ", ".join(f'.jp-OutputArea-output[data-mime-type="{kind}"]' for kind in kinds)
        return self.page.locator(found).all_inner_texts()

    def execution_counts(self) -> list[int | None]:
        """The number in front of each cell of code, also of those that are scrolled out of sight."""
        found: list[int | None] = self.page.evaluate(
            "() => [...window.jupyterapp.shell.currentWidget.content.model.cells]"
            ".filter(cell => cell.type === 'code').map(cell => cell.executionCount)"
        )
        return found

    def trusted(self) -> list[bool]:
        """Whether JupyterLab trusts the outputs of each cell."""
        found: list[bool] = self.page.evaluate(
            "() => [...window.jupyterapp.shell.currentWidget.content.model.cells].map(cell => cell.trusted)"
        )
        return found

    def show_theme(self, theme: Literal["light", "dark"]) -> None:
        """Change JupyterLab's theme as its menu does."""
        self._command("apputils:change-theme", theme=THEMES[theme])
        light = "true" if theme == "light" else "false"
        self.page.locator(f'body[data-jp-theme-light="{light}"]').wait_for(state="attached")
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def save(self) -> None:
        """Write the notebook with its outputs to disk."""
        self._command("docmanager:save")

    def _wait_for_kernel(self) -> None:
        self.page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'",
            timeout=START_MS,
        )

    def _command(self, name: str, **options: str) -> None:
        # Awaited on this side: what a page never settles would otherwise be waited for without end.
        self.page.evaluate(
            "([name, options]) => { window.settled = false;"
            " window.jupyterapp.commands.execute(name, options).finally(() => { window.settled = true }) }",
            [name, options],
        )
        self.page.wait_for_function("() => window.settled", timeout=RUN_MS)

    def _note(self, url: str) -> None:
        if (urlsplit(url).hostname or "") not in HERE:
            self.foreign.append(url)
