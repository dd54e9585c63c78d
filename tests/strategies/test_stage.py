"""The jobs of a stage: which are told apart by their draw alone, and what finding that out takes."""

from __future__ import annotations

from typing import Any

import pytest

from composite_lab import Seat
from composite_lab.strategies.stage import Job, draws

QUESTION = [{"role": "user", "content": "Why?"}]


class Watched:
    """A value without a hash, as a caller's parameter may be. It counts how often any is compared."""

    compared = 0
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        Watched.compared += 1
        return isinstance(other, Watched) and other.value == self.value


def job(sample: int = 0, messages: list[dict[str, Any]] = QUESTION, **options: Any) -> Job:
    return Job(Seat(**{"model": "openai/m", **options}), messages, 0, sample)


def test_jobs_that_ask_the_same_are_numbered() -> None:
    other = [{"role": "user", "content": "How?"}]
    jobs = [job(), job(messages=other), job(1), job(model="openai/n"), job(2), job(1, messages=other)]
    assert draws(jobs) == [0, 0, 1, 0, 2, 1]


@pytest.mark.parametrize(
    ("mine", "yours"),
    [
        ({"params": {"top_k": 1, "user": "u"}}, {"params": {"user": "u", "top_k": 1.0}}),
        ({"params": {"tools": [{"a": [1, {}]}]}}, {"params": {"tools": [{"a": [1, {}]}]}}),
        ({"params": {"logit_bias": {50: 1}}}, {"params": {"logit_bias": {50: True}}}),
        ({"params": {"x": Watched(1)}}, {"params": {"x": Watched(1)}}),
        ({"params": {"x": {"set"}}}, {"params": {"x": {"set"}}}),
        ({"name": "Ada", "timeout_s": 5}, {"name": "Ben", "api_key": "sk-another"}),
        ({"messages": [{"content": "Why?", "role": "user"}]}, {"messages": QUESTION}),
    ],
)
def test_equal_requests_get_draws_of_their_own_whatever_their_parameters_are(
    mine: dict[str, Any], yours: dict[str, Any]
) -> None:
    assert draws([job(**mine), job(**yours), job(**mine)]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("mine", "yours"),
    [
        ({"temperature": 0.5}, {"temperature": 0.6}),
        ({"seed": 1}, {"seed": 2}),
        ({"api_base": "http://a"}, {"api_base": "http://b"}),
        ({"params": {"x": Watched(1)}}, {"params": {"x": Watched(2)}}),
        ({"params": {"x": [1, 2]}}, {"params": {"x": [2, 1]}}),
        ({"params": {"x": -1}}, {"params": {"x": -2}}),  # Python gives these two the same hash
    ],
)
def test_requests_that_differ_are_each_the_first_of_their_kind(
    mine: dict[str, Any], yours: dict[str, Any]
) -> None:
    assert draws([job(**mine), job(**yours)]) == [0, 0]


@pytest.mark.parametrize("kinds", [1, 400])
def test_finding_draws_compares_each_job_a_bounded_number_of_times(kinds: int) -> None:
    seats = [Seat(model="openai/m", params={"n": kind, "x": Watched(1)}) for kind in range(kinds)]
    jobs = [Job(seats[number % kinds], QUESTION, 0, number) for number in range(800)]
    # Each job has a value of its own: Python takes the very same object for equal without asking it.
    jobs = [Job(each.seat, [{"role": "user", "content": Watched(1)}], 0) for each in jobs]
    Watched.compared = 0
    assert draws(jobs) == [number // kinds for number in range(800)]
    assert Watched.compared <= 2 * len(jobs)
