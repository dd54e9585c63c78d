"""A strategy as a page: its seats, its calls, its prompts, and none of its secrets."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

import composite_lab as lab
from composite_lab.notebook import page
from composite_lab.notebook.document import PAGE_BYTES
from composite_lab.strategies.base import Strategy
from tests.conftest import SeatMaker
from tests.notebook.pages import HOSTILE, TAGS, Elements

PLANS: list[Callable[[SeatMaker], Strategy]] = [
    lambda seat: lab.MoA(aggregator=seat("a")),
    lambda seat: lab.MoA(aggregator=seat("a"), proposers=[seat("b"), seat("c")], layers=2, samples=2),
    lambda seat: lab.Council(chairman=seat("a")),
    lambda seat: lab.Council(chairman=seat("a"), members=[seat("b"), seat("c")], reviewers=[seat("d")]),
    lambda seat: lab.Council(chairman=seat("a"), members=[seat("b")]),
]


@pytest.mark.parametrize("make", PLANS, ids=["self-moa", "moa", "council", "judged", "alone"])
def test_a_strategy_page_says_how_many_calls_it_makes(
    make: Callable[[SeatMaker], Strategy], seat: SeatMaker
) -> None:
    strategy = make(seat)
    told = re.search(r"([\d,]+) calls: ", Elements(page.strategy_page(strategy)).text)
    assert told is not None
    assert int(told[1]) == len(strategy.run("Why?").trace.calls)


def test_a_strategy_page_has_seats_and_prompts_and_no_secret() -> None:
    ada = lab.Seat(
        model="openai/a", name="ada", api_key="sk-hidden", credentials={"token": "sk-hidden"},
        extra_headers={"x-key": "sk-hidden"}, temperature=0.25, params={"top_k": 4},
    )  # fmt: skip
    shown = page.strategy_page(
        lab.MoA(aggregator="openai/b", proposers=[ada], tool_executor={HOSTILE: print})
    )
    found = Elements(shown)
    assert "sk-hidden" not in shown
    assert set(found.tags) <= TAGS
    for told in (
        "proposer 1",
        "ada",
        "openai/a",
        "temperature 0.25",
        '{"top_k": 4}',
        "aggregator",
        "openai/b",
    ):
        assert told in found.text
    assert re.search(r"<details[^>]*><summary>Prompt: <bdi>aggregate</bdi></summary><pre", shown)
    large = lab.MoA(
        aggregator="openai/b",
        proposers=["openai/" + "<" * 300] * 2_000,
        prompts={"refine": "{answers}" + "<" * 10**6},
    )
    assert len(page.strategy_page(large).encode()) <= PAGE_BYTES
