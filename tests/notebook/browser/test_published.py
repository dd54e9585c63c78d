"""A tutorial as nbconvert publishes it: no kernel, no network, and yet all that the models said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import Browser, Page, expect

NOTEBOOKS = Path(__file__).parents[3] / "notebooks"
STAGES = {
    "mixture_of_agents": ["Proposals", "Aggregation"],
    "council": ["Opinions", "Review", "Synthesis"],
}


@pytest.fixture
def offline_page(browser: Browser) -> Iterator[Page]:
    """A page of a browser without a network."""
    context = browser.new_context(viewport={"width": 1280, "height": 1400}, offline=True)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_of_a_published_tutorial_can_be_read(
    name: str, offline_page: Page, tmp_path: Path
) -> None:
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    published = tmp_path / f"{name}.html"
    published.write_text(HTMLExporter().from_notebook_node(notebook)[0])
    offline_page.goto(published.as_uri())

    run = offline_page.locator(".cl-root", has=offline_page.locator("details.cl-stage")).first
    stages = run.locator("details.cl-stage")
    expect(stages.locator("> summary strong")).to_have_text(STAGES[name])
    for stage in stages.all():
        if not stage.evaluate("stage => stage.open"):
            expect(stage.locator("pre").first).to_be_hidden()
            stage.locator("> summary").click()
        calls = stage.locator("details.cl-call")
        assert calls.count() > 0
        for call in calls.all():
            call.locator("> summary").click()
            answer = call.locator("details", has_text="Answer (").locator("pre")
            expect(answer).to_be_visible()
            assert "Answer:" in answer.inner_text() or "FINAL RANKING" in answer.inner_text()
            request = call.locator("details", has_text="Request (")
            request.locator("> summary").click()
            expect(request.locator("pre").first).to_be_visible()
