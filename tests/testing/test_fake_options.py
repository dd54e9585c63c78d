"""The grammar of model names, and what is said about names that break it."""

from __future__ import annotations

from typing import Any

import pytest

from composite_lab.testing.behaviour import OPTIONS, Behaviour, options_table, without_faults
from composite_lab.testing.names import BehaviourError, parse_model


def test_name_and_options_are_separated() -> None:
    name, behaviour = parse_model("fake-b+status=429+retry_after=0.2+times=1+hang")
    assert name == "fake-b"
    assert behaviour == Behaviour(status=429, retry_after=0.2, times=1, hang=True)
    assert parse_model("plain") == ("plain", Behaviour())


def test_every_example_of_the_table_is_accepted() -> None:
    for option in OPTIONS.values():
        written = f"{option.name}={option.example}" if option.example else option.name
        _, behaviour = parse_model(f"fake+{written}")
        assert behaviour != Behaviour(), option.name


def test_table_lists_every_option_with_its_meaning() -> None:
    table = options_table()
    for option in OPTIONS.values():
        assert f"| `{option.name}" in table
        assert option.meaning in table


def test_header_wins_over_the_name() -> None:
    _, behaviour = parse_model("fake+latency=1+hang", "latency=0.5+hang=false+empty")
    assert behaviour == Behaviour(latency=0.5, empty=True)


def test_without_faults_keeps_everything_else() -> None:
    _, behaviour = parse_model("fake+drop+latency=1+status=500+accuracy=0.5+prompt_tokens=1")
    assert without_faults(behaviour) == Behaviour(accuracy=0.5, prompt_tokens=1)


@pytest.mark.parametrize(
    ("item", "wants"),
    [
        ("latency=soon", "a number of at least 0"),
        ("latency=-1", "a number of at least 0"),
        ("latency=inf", "a number of at least 0"),
        ("latency", "a number of at least 0"),
        ("status=200", "a whole number from 400 to 599"),
        ("times=1.5", "a whole number of at least 0"),
        ("accuracy=1.1", "a number from 0 to 1"),
        ("usage=some", "one of fixed, none"),
        ("fail_kinds=404", "a comma-separated choice of 429, 500, drop, hang"),
        ("hang=maybe", "no value"),
        ("seed=x", "a whole number"),
    ],
)
def test_bad_value_is_refused_with_the_option_the_value_and_what_works(item: str, wants: str) -> None:
    name, _, value = item.partition("=")
    with pytest.raises(BehaviourError) as caught:
        parse_model(f"fake+{item}")
    text = str(caught.value)
    assert caught.value.option == name
    assert repr(name) in text
    assert repr(value) in text
    assert wants in text
    assert f"e.g. +{name}" in text


def test_unknown_option_is_refused_with_the_nearest_one(chat: Any) -> None:
    answer = chat("fake-a+latencey=1")
    assert answer.status == 400
    error = answer.json["error"]
    assert error["param"] == "latencey"
    assert "'fake-a+latencey=1'" in error["message"]
    assert "Did you mean 'latency'?" in error["message"]
    assert "partial_ranking" in error["message"]


def test_header_sets_the_behaviour_over_http(chat: Any) -> None:
    assert chat("fake-a", headers={"X-Fake-Behaviour": "status=418"}).status == 418
    assert chat("fake-a+status=500", headers={"x-fake-behaviour": "status=503"}).status == 503
    wrong = chat("fake-a", headers={"X-Fake-Behaviour": "status=abc"})
    assert wrong.status == 400
    assert "X-Fake-Behaviour" in wrong.json["error"]["message"]
