"""A comparison as the last line of a cell: the page, and the explorer that sends what is opened."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets as widgets
import pytest
from ipywidgets.widgets import widget as registry

import composite_lab as lab
from composite_lab.batch.comparison import Comparison
from composite_lab.notebook.comparison_explorer import DISAGREE, PAGE, by_disagreement, comparison_explorer
from composite_lab.notebook.comparison_page import comparison_page, forecast_page
from composite_lab.notebook.display import HTML, PLAIN, WIDGET
from composite_lab.notebook.document import PAGE_BYTES
from tests.batch.test_evidence import add, made
from tests.conftest import SeatMaker
from tests.notebook import pages
from tests.notebook.pages import TAGS, Elements, call, trace
from tests.notebook.test_display import shown, shown_live
from tests.notebook.widget_tree import inside, the

HOSTILE = pages.HOSTILE.replace("\ud800", "")  # which no column of text can hold


@pytest.fixture
def sent() -> Iterator[Callable[[], str]]:
    """The state of every widget made since, as it goes to the browser."""
    before = set(registry._instances)

    def states() -> str:
        new = [one for key, one in registry._instances.items() if key not in before]
        return "".join(json.dumps(one.get_state(), default=str) for one in new)

    yield states
    for key in set(registry._instances) - before:
        registry._instances[key].close()


def tab_of(explorer: Any, title: str) -> Any:
    tab = explorer.children[2]
    tab.selected_index = [one.split(" (")[0] for one in tab.titles].index(title)
    assert explorer.children[1].value == ""
    return tab.children[tab.selected_index]


def press(root: Any, description: str) -> None:
    buttons = [one for one in inside(root) if isinstance(one, widgets.Button)]
    next(one for one in buttons if description in one.description).click()


def read(root: Any) -> str:
    pages = [one for one in inside(root) if isinstance(one, widgets.HTML) and one.layout.display != "none"]
    return Elements("".join(one.value for one in pages)).text


# the page


def test_a_page_has_strategies_differences_with_verdicts_and_failures() -> None:
    comparison = made({"base": [0] * 30, "m": [1] * 20 + [0] * 9 + ["error"]})
    add(comparison, "m", 29, "error", error_type="APIError", error_message="no luck")
    text = Elements(comparison_page(comparison)).text
    for told in (
        "30 prompts", "59 runs finished", "1 failed", "Against base", "better by 0.69", "0.002000",
        "APIError", "no luck",
    ):  # fmt: skip
        assert told in text
    assert "undone" not in text


def test_without_a_scorer_a_page_says_so_and_claims_nothing() -> None:
    text = Elements(comparison_page(made({"a": [None], "b": [None]}, scorer=None))).text
    assert "no scorer" in text
    assert "Against" not in text


def test_a_page_is_harmless_and_never_large() -> None:
    comparison = made({HOSTILE: ["error"] * 400, "n": [1] * 400})
    for number in range(400):
        told = {"error_type": HOSTILE, "error_message": HOSTILE * 50, "text": HOSTILE}
        add(comparison, HOSTILE, number, "error", **told)
    page = comparison_page(comparison)
    assert len(page.encode()) <= PAGE_BYTES
    found = Elements(page)
    assert set(found.tags) <= TAGS
    assert {name for name, _ in found.attributes} <= {"class", "style", "open", "dir"}
    assert "of 400" in found.text


def test_a_forecast_is_a_small_table(seat: SeatMaker) -> None:
    told = lab.estimate({"<b>a</b>": seat("a"), "b": seat("b")}, ["Why?"])
    found = Elements(forecast_page(told))
    assert set(found.tags) <= TAGS
    assert "2 calls to send" in found.text
    assert "<b>a</b>" in found.text
    assert "unknown" in found.text
    assert [set(output) for output in shown_live(told)] == [{HTML, PLAIN}]


def test_a_comparison_is_an_explorer_in_a_live_kernel_and_a_page_everywhere(sent: Any) -> None:
    comparison = made({"a": [1, 0], "b": [1, 1]})
    assert set(shown(comparison)) == {HTML, PLAIN}
    page, explorer = shown_live(comparison)
    assert page[HTML] == comparison_page(comparison)
    assert explorer[WIDGET]["model_id"]


# the explorer


def test_prompts_on_which_strategies_disagree_come_first() -> None:
    comparison = made({"a": [1, 0, 0.5], "b": [1, 1, 0.75]})
    assert [prompt.id for prompt in by_disagreement(comparison)] == ["1", "2", "0"]


def test_a_prompt_shows_the_answers_side_by_side_with_what_they_cost(sent: Any) -> None:
    comparison = made({"a": [1, 0], "b": [1, 1]})
    add(comparison, "a", 1, 0, text="the wrong one", latency_s=2.5)
    add(comparison, "b", 1, 1, text="the right one", score_note="why")
    view = tab_of(comparison_explorer(comparison), "Answers")
    text = read(view)
    for told in (
        "Question 1?",
        "the wrong one",
        "the right one",
        "score 0",
        "0.002000 USD",
        "2.50 s",
        "15 tokens",
    ):
        assert told in text
    the(widgets.Select, view).value = 1
    assert "Question 0?" in read(view)
    assert "the wrong one" not in read(view)
    toggle = the(widgets.ToggleButtons, view)
    assert toggle.value == DISAGREE
    toggle.value = toggle.options[1]
    assert [label.split("  ·  ")[1] for label, _ in the(widgets.Select, view).options] == ["0", "1"]


def test_an_answer_is_sent_when_its_prompt_is_opened_and_titles_a_page_at_a_time(sent: Any) -> None:
    count = PAGE + 20
    comparison = made({"a": [1] * count})
    for number in range(count):
        add(comparison, "a", number, 1, text=f"answer {number} " + "word " * 100)
    explorer = comparison_explorer(comparison)
    assert "answer 0" not in sent()
    view = tab_of(explorer, "Answers")
    assert "answer 0" in sent()
    assert "answer 1 " not in sent()
    assert f"Question {PAGE}?" not in sent()
    press(view, "Next")
    assert f"answer {PAGE} " in read(view)
    assert len(the(widgets.Select, view).options) == 20
    press(view, "Next")
    assert f"answer {PAGE} " in read(view)


def test_the_calls_of_one_run_open_on_demand_and_close_with_its_prompt(sent: Any) -> None:
    comparison = made({"a": [1, 1], "b": [1, 1]})
    run = trace(call(text="deep inside"), text="so")
    add(comparison, "b", 0, 1, run.model_dump_json())
    explorer = comparison_explorer(comparison)
    view = tab_of(explorer, "Answers")
    assert "composite/moa/openai/x" not in sent()
    the(widgets.Dropdown, view).value = 1
    press(view, "Open its calls")
    assert "composite/moa/openai/x" in read(view)
    the(widgets.Select, view).value = 1
    assert "composite/moa/openai/x" not in sent()
    press(view, "Open its calls")  # a run that ended before any call
    assert "ended before any call" in explorer.children[1].value


def test_failed_and_undone_runs_have_tabs_if_there_are_any(sent: Any) -> None:
    comparison = made({"a": [1, "error", 0], "b": [1, 1, "undone"]})
    add(comparison, "a", 1, "error", error_type="APIError", error_message="no luck")
    del comparison.rows["b", "1", 0]
    explorer = comparison_explorer(comparison)
    assert list(explorer.children[2].titles) == ["Strategies", "Answers", "Failed (1)", "Undone (2)"]
    assert "no luck" in read(tab_of(explorer, "Failed"))
    assert "never begun" in read(tab_of(explorer, "Undone"))
    assert len(comparison_explorer(made({"a": [1]})).children[2].titles) == 2


def test_hostile_texts_do_nothing_in_the_explorer(sent: Any) -> None:
    comparison: Comparison = made({HOSTILE: [1, "error"], "b": [0, 1]})
    add(comparison, HOSTILE, 0, 1, text=HOSTILE)
    add(comparison, HOSTILE, 1, "error", error_type=HOSTILE, error_message=HOSTILE)
    explorer = comparison_explorer(comparison)
    for title in ("Strategies", "Answers", "Failed"):
        view = tab_of(explorer, title)
        pages = [one.value for one in inside(view) if isinstance(one, widgets.HTML)]
        assert set(Elements("".join(pages)).tags) <= TAGS
