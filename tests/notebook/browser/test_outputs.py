"""A run in a cell is a page and an explorer, of which one is seen, and neither hides what else is shown."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.notebook.browser.conftest import NotebookWriter, Opener

SHOW = """
import composite_lab as lab
import ipywidgets as widgets
from composite_lab.testing import FakeServer

moa = lab.MoA(aggregator=lab.Seat(model="openai/a", api_base=FakeServer.shared().base_url, api_key="none"))
result = moa.run("Why?")
lab.explore(moa)
display(widgets.Button(description="below the page"))
lab.explore(result)
display(widgets.Button(description="below the explorer"))
lab.explore(result.trace)
"""
PAGE = ".cl-root:not(.jupyter-widgets)"


def test_a_page_gives_way_to_its_explorer_only_and_other_widgets_stay(
    write_notebook: NotebookWriter, open_notebook: Opener
) -> None:
    write_notebook("outputs.ipynb", SHOW)
    with open_notebook("outputs.ipynb") as lab:
        lab.run_all()
        output = lab.output(0)
        expect(output.get_by_role("button", name="below the page")).to_be_visible()
        expect(output.get_by_role("button", name="below the explorer")).to_be_visible()
        expect(output.locator(".cl-live").filter(visible=True)).to_have_count(2)
        expect(output.locator(PAGE)).to_have_count(3)
        expect(output.locator(PAGE).filter(visible=True)).to_have_count(1)  # of the strategy
        lab.save()
    with open_notebook("outputs.ipynb") as again:
        expect(again.output(0).locator(PAGE).filter(visible=True)).to_have_count(3)
