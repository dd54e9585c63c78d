"""The explorer can be read in JupyterLab's light theme and in its dark one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import expect

from tests.notebook.browser import showcase
from tests.notebook.browser.conftest import NotebookWriter, Opener
from tests.notebook.browser.contrast import contrasts
from tests.notebook.browser.explorer_view import ExplorerView
from tests.notebook.browser.lab_page import LabPage

LEGIBLE = 4.5
"""What WCAG 2.2 asks for text of normal size, level AA."""


@pytest.fixture(scope="module")
def showcase_page(write_notebook: NotebookWriter, open_notebook: Opener) -> Iterator[LabPage]:
    """The showcase, run."""
    write_notebook(showcase.NOTEBOOK, *showcase.CELLS)
    with open_notebook(showcase.NOTEBOOK) as lab:
        lab.run_all()
        assert lab.complaints() == []
        yield lab


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("cell", [showcase.COUNCIL, showcase.FAILED_MEMBER])
def test_every_text_of_the_explorer_stands_out(
    showcase_page: LabPage, cell: int, theme: Literal["light", "dark"]
) -> None:
    showcase_page.show_theme(theme)
    explorer = ExplorerView(showcase_page.output(cell))
    titles = explorer.titles()
    expect(explorer.box).to_contain_text("council")
    pale = []
    for position, title in enumerate(titles):
        explorer.show_tab(position)
        found = contrasts(explorer.box)
        assert len(found) > len(titles) + 5, f"{title}: {found}"
        pale += [(title, *one) for one in found if one.contrast < LEGIBLE]
    assert pale == []


def test_the_themes_differ_where_the_explorer_stands(showcase_page: LabPage) -> None:
    ink = {}
    for theme in ("light", "dark"):
        showcase_page.show_theme(theme)
        box = ExplorerView(showcase_page.output(showcase.COUNCIL)).box
        ink[theme] = box.evaluate("element => getComputedStyle(element).color")
    assert ink["light"] != ink["dark"]
