"""Takes the pictures of the explorer for the README: a Council in JupyterLab, light and dark.

    python notebooks/pictures/take_screenshots.py

Needs `pip install -e '.[dev]'` and a Chromium, no key and no network: the models are simulated.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Literal

import nbformat
from playwright.sync_api import FloatRect, Locator, sync_playwright

from composite_lab.testing import FakeServer
from composite_lab.testing.server import URL_VARIABLE

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parents[1]))

from tests.notebook.browser import showcase  # noqa: E402  (the path to it is set above)
from tests.notebook.browser.chromium import launch  # noqa: E402
from tests.notebook.browser.explorer_view import ExplorerView  # noqa: E402
from tests.notebook.browser.lab_page import LabPage  # noqa: E402
from tests.notebook.browser.lab_server import LabServer, new_notebook  # noqa: E402

THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDTH, HEIGHT, SCALE = 1000, 2400, 1.5
MARGIN = 4


def main() -> None:
    """Run the showcase and write explorer_light.png and explorer_dark.png."""
    with (
        tempfile.TemporaryDirectory() as home,
        FakeServer.start() as models,
        LabServer(Path(home) / "lab", {URL_VARIABLE: models.base_url}) as server,
        sync_playwright() as playwright,
        launch(playwright) as browser,
    ):
        nbformat.write(new_notebook(*showcase.CELLS), server.notebooks / showcase.NOTEBOOK)
        with LabPage.opened(
            browser, server, showcase.NOTEBOOK, width=WIDTH, height=HEIGHT, scale=SCALE
        ) as lab:
            lab.run_all()
            explorer = ExplorerView(lab.output(showcase.COUNCIL))
            explorer.show("Ballots")
            for theme in THEMES:
                lab.show_theme(theme)
                explorer.box.scroll_into_view_if_needed()
                picture = FOLDER / f"explorer_{theme}.png"
                lab.page.screenshot(path=picture, clip=around(explorer.box))
                sys.stdout.write(f"{picture.name}: {picture.stat().st_size / 1000:.0f} kB\n")


def around(box: Locator) -> FloatRect:
    """Where on the page a box stands, with a margin."""
    place = box.bounding_box()
    assert place is not None, "the explorer is not on the page"
    return {
        "x": place["x"] - MARGIN,
        "y": place["y"] - MARGIN,
        "width": place["width"] + 2 * MARGIN,
        "height": place["height"] + 2 * MARGIN,
    }


if __name__ == "__main__":
    main()
