"""Whatever models, providers and users wrote: shown in JupyterLab it is text, and nothing else happens."""

from __future__ import annotations

from collections.abc import Iterator

import nbformat
import pytest
from playwright.sync_api import Locator, expect

from tests.notebook.browser import hostile
from tests.notebook.browser.conftest import NotebookWriter, Opener
from tests.notebook.browser.explorer_view import ExplorerView
from tests.notebook.browser.lab_page import LabPage
from tests.notebook.browser.lab_server import LabServer

MADE = (
    f".{hostile.INJECTED}",
    "script",
    "iframe",
    "img",
    "a[href^=javascript]",
    "mjx-container",
    "[onmouseover]",
)
"""What an attack would have made of our outputs."""
EXPLORER, PAGE, BALLOTS, CONTROL = range(4)
CELLS = (
    """
    from pathlib import Path
    import composite_lab as lab
    trace = lab.Trace.model_validate_json(Path("hostile.json").read_text())
    trace
    """,
    """
    from IPython.display import HTML
    from composite_lab.notebook import page
    display(HTML(page.trace_page(trace)))
    """,
    "trace.ballots",
    # What would happen if anything of the above were not escaped, and the sign that it had the time to.
    r"""HTML('<p>$\\frac{1}{2}$</p><img src=x onerror="window.control = 1">')""",
)


@pytest.fixture(scope="module")
def shown(lab_server: LabServer, write_notebook: NotebookWriter, open_notebook: Opener) -> Iterator[LabPage]:
    """A notebook that shows the hostile trace in every way, run."""
    write_notebook("hostile.ipynb", *CELLS)
    (lab_server.notebooks / "hostile.json").write_text(hostile.trace().model_dump_json())
    with open_notebook("hostile.ipynb") as lab:
        lab.run_all()
        yield lab


def test_every_tab_and_call_shows_attacks_as_text(shown: LabPage) -> None:
    explorer = ExplorerView(shown.output(EXPLORER))
    expect(explorer.box).to_contain_text("Text of note.<script")
    for position in range(len(explorer.titles())):
        panel = explorer.show_tab(position)
        for option in explorer.options.all():
            option.click()
            expect(panel).to_contain_text(option.inner_text()[:20])
        for name in ("Side by side", "One at a time"):
            if (button := panel.get_by_role("button", name=name)).count():
                button.click()
        unfold(panel)
    assert_harmless(shown)


def test_what_a_model_wrote_is_shown_whole(shown: LabPage) -> None:
    explorer = ExplorerView(shown.output(EXPLORER))
    text = explorer.show("Synthesis").locator("pre", has_text="Text of answer of synthesis 0").first
    expect(text).to_be_visible()
    expect(text).to_contain_text('<script class="injected">window.pwned = "answer of synthesis 0"')
    expect(text).to_contain_text("$\\frac{1}{2}$")
    expect(text).to_contain_text("␛[31mred")
    expect(text).to_contain_text("⟨U+202E⟩desrever⟨U+202C⟩")
    expect(text).to_contain_text("end of answer of synthesis 0.")


def test_a_text_of_a_million_characters_is_sent_when_asked_for(shown: LabPage) -> None:
    explorer = ExplorerView(shown.output(EXPLORER))
    panel = explorer.show("Opinions")
    explorer.options.nth(1).click()
    text = panel.locator("pre", has_text="xxxxxxxxxx").first
    expect(text).to_contain_text("more characters")
    expect(panel).not_to_contain_text("the end of a long text")
    panel.get_by_role("button", name="Show all").click()
    expect(text).to_contain_text("⟨U+202E⟩Text of the end of a long text.")
    assert len(text.inner_text()) > hostile.LONG
    explorer.options.first.click()
    expect(panel).not_to_contain_text("xxxxxxxxxx")
    expect(explorer.show("Answer")).to_contain_text("Text of final answer.")


def test_static_pages_show_attacks_as_text(shown: LabPage) -> None:
    for cell, text in ((PAGE, "Text of final answer.<script"), (BALLOTS, "invalid")):
        output = shown.output(cell)
        expect(output).to_contain_text(text)
        unfold(output)
    expect(shown.output(PAGE).locator("pre", has_text="Text of answer of review 1").first).to_be_visible()
    assert_harmless(shown)


def test_a_stranger_s_notebook_shows_the_static_page_without_being_run(
    shown: LabPage, lab_server: LabServer, open_notebook: Opener
) -> None:
    shown.save()
    notebook = nbformat.read(lab_server.notebooks / "hostile.ipynb", as_version=4)
    notebook.metadata["title"] = "Not what this user has run"  # and so not what its signature is for
    nbformat.write(notebook, lab_server.notebooks / "stranger.ipynb")
    with open_notebook("stranger.ipynb") as lab:
        for cell in (EXPLORER, PAGE):
            expect(lab.output(cell)).to_contain_text("Text of final answer.<script")
            unfold(lab.output(cell))
            answer = lab.output(cell).locator("pre", has_text="Text of answer of review 1").first
            expect(answer).to_contain_text("⟨U+202E⟩desrever")
            expect(answer).to_be_visible()
        assert not any(lab.trusted())
        assert_harmless(lab, control=None)


def test_one_s_own_notebook_shows_the_static_page_when_it_is_opened_again(
    shown: LabPage, open_notebook: Opener
) -> None:
    shown.save()
    with open_notebook("hostile.ipynb") as lab:
        expect(lab.output(CONTROL).locator("mjx-container")).to_have_count(1)
        assert all(lab.trusted())
        expect(lab.output(EXPLORER).get_by_text("Text of final answer.<script").first).to_be_visible()
        expect(lab.output(EXPLORER).get_by_text("model not found")).to_be_hidden()


def unfold(box: Locator) -> None:
    """Open every section in it, so that whatever is inside is laid out and shown."""
    box.locator("details").evaluate_all("sections => { for (const section of sections) section.open = true }")


def assert_harmless(lab: LabPage, control: int | None = 1) -> None:
    """Nothing ran, nothing was asked for, and nothing was made but text, in any output before the control."""
    if control is not None:
        expect(lab.output(CONTROL).locator("mjx-container")).to_have_count(1)
        lab.page.wait_for_function("() => window.control === 1")
    ours = ", ".join(f".jp-Cell:nth-child({cell + 1}) .jp-Cell-outputArea" for cell in range(CONTROL))
    assert lab.page.evaluate("() => [window.pwned, window.control]") == [None, control]
    for made in MADE:
        assert lab.page.locator(ours).locator(made).count() == 0, made
    assert (lab.foreign, lab.dialogs, lab.faults) == ([], [], [])
