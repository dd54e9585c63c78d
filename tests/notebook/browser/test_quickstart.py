"""The quickstart in a real JupyterLab: it runs, and its runs are explored with the mouse and with keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect

from tests.notebook.browser.conftest import Opener
from tests.notebook.browser.explorer_view import ExplorerView
from tests.notebook.browser.lab_page import LabPage
from tests.notebook.browser.lab_server import LabServer

QUICKSTART = Path(__file__).parents[3] / "notebooks" / "quickstart.ipynb"
# What a reader of the quickstart may type next: what its models said, and the explorer of its first run.
FURTHER = "import json; print(json.dumps([call.text for call in result.trace.calls]))\nresult"


@pytest.fixture(scope="module")
def quickstart(lab_server: LabServer, open_notebook: Opener) -> Iterator[LabPage]:
    """The quickstart with a cell more, all cells run."""
    notebook = nbformat.read(QUICKSTART, as_version=4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":  # no stale output shall satisfy a test
            cell.outputs, cell.execution_count = [], None
    notebook.cells.append(nbformat.v4.new_code_cell(FURTHER))
    nbformat.write(notebook, lab_server.notebooks / "quickstart.ipynb")
    with open_notebook("quickstart.ipynb") as lab:
        lab.run_all()
        yield lab


@pytest.fixture
def explorer(quickstart: LabPage) -> ExplorerView:
    """The explorer below the last cell."""
    return ExplorerView(quickstart.output(-1))


@pytest.fixture
def answers(quickstart: LabPage) -> list[str]:
    """What the models said, proposers first."""
    printed = quickstart.output(-1).locator("pre").first.inner_text()
    found: list[str] = json.loads(printed)
    return found


def test_the_quickstart_runs_without_a_complaint(quickstart: LabPage) -> None:
    assert quickstart.complaints() == []
    counts = quickstart.execution_counts()
    assert counts == list(range(1, len(counts) + 1))


def test_a_proposal_is_shown_when_its_call_is_clicked(explorer: ExplorerView, answers: list[str]) -> None:
    panel = explorer.show("Proposals")
    expect(explorer.options).to_have_count(len(answers) - 1)
    for position, text in enumerate(answers[:-1]):
        explorer.options.nth(position).click()
        expect(panel.locator("pre").first).to_have_text(text)
        expect(panel.locator("pre").first).to_be_visible()


def test_every_tab_shows_something_of_its_own(explorer: ExplorerView) -> None:
    seen = [explorer.show_tab(position).inner_text() for position in range(len(explorer.titles()))]
    assert all(text.strip() for text in seen)
    assert len(set(seen)) == len(seen)


def test_tabs_are_chosen_with_arrow_keys_and_enter(
    quickstart: LabPage, explorer: ExplorerView, answers: list[str]
) -> None:
    explorer.show("Answer")
    explorer.tabs.first.focus()
    keys = quickstart.page.keyboard
    for _ in range(explorer.titles().index("Aggregation")):
        keys.press("ArrowRight")
    keys.press("Enter")
    expect(explorer.opened().locator("pre").first).to_have_text(answers[-1])
    keys.press("ArrowLeft")
    keys.press("Enter")
    expect(explorer.tabs.nth(1)).to_have_attribute("aria-selected", "true")


def test_calls_are_chosen_with_the_keyboard(
    quickstart: LabPage, explorer: ExplorerView, answers: list[str]
) -> None:
    panel = explorer.show("Proposals")
    explorer.options.first.click()
    expect(panel.locator("pre").first).to_have_text(answers[0])
    keys = quickstart.page.keyboard
    previous, next_ = (panel.get_by_role("button", name=name) for name in ("Previous", "Next"))
    for key, reached in (("Tab", previous), ("Tab", next_)):
        keys.press(key)
        expect(reached).to_be_focused()
    for key, text in (("Enter", answers[1]), ("Space", answers[2])):
        keys.press(key)
        expect(panel.locator("pre").first).to_have_text(text)
    keys.press("Shift+Tab")
    keys.press("Enter")
    expect(panel.locator("pre").first).to_have_text(answers[1])
