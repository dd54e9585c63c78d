"""A run in the background, stopped with its button."""

from __future__ import annotations

from playwright.sync_api import expect

from composite_lab.testing import FakeServer
from tests.notebook.browser.conftest import NotebookWriter, Opener
from tests.notebook.browser.explorer_view import ExplorerView

RUN = """
import composite_lab as lab
from composite_lab.testing import FakeServer

def seat(model):
    return lab.Seat(model=model, api_base=FakeServer.shared().base_url, api_key="none-needed")

proposers = [seat("openai/quick"), seat("openai/p+hang")]
handle = lab.MoA(aggregator=seat("openai/a"), proposers=proposers).start("Why?")
handle
"""
NEXT = "print('the handle says', handle.status)\nlab.MoA(aggregator=seat('openai/a')).run('And now?').text"


def test_stop_ends_the_calls_and_leaves_the_kernel_free(
    fake_openai: FakeServer, write_notebook: NotebookWriter, open_notebook: Opener
) -> None:
    write_notebook("stopping.ipynb", RUN, NEXT)
    with open_notebook("stopping.ipynb") as lab:
        lab.run_cell(0)
        view = lab.output(0)
        expect(view).to_contain_text("1 of 2 answered")
        fake_openai.wait_until(lambda seen: seen.in_flight == 1)

        view.get_by_role("button", name="Stop").click()
        expect(view).to_contain_text("moa cancelled")
        fake_openai.wait_until(lambda seen: seen.by_outcome.get("client_disconnected") == 1)
        expect(view.get_by_role("button", name="Stopped")).to_be_disabled()

        panel = ExplorerView(view).show("Proposals")
        expect(panel).to_contain_text("openai/p+hang")
        expect(panel).to_contain_text("cancelled")

        lab.run_cell(1)
        expect(lab.output(1)).to_contain_text("the handle says cancelled")
        assert lab.complaints() == []
        assert fake_openai.stats().in_flight == 0
        assert "And now?" in fake_openai.requests("a")[-1].last_user_text
        lab.save()
    with open_notebook("stopping.ipynb") as again:
        expect(again.output(0)).to_contain_text("This run was cancelled before it had an answer.")
        expect(again.output(0).get_by_text("model not found")).to_be_hidden()
