"""Seats and the construction of strategies: what is accepted, what is refused and in which words."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest

from composite_lab import ConfigError, Council, MoA, Seat
from composite_lab.errors import CompositeError
from composite_lab.seats import nesting_depth, unknown_name

KEY = "sk-4f9a-never-shown"
HEADER = "Basic never-shown-either"
CREDENTIAL = "wJalr-also-never-shown"
SECRETS = (KEY, HEADER, CREDENTIAL)
SECRET_OPTIONS: dict[str, Any] = {
    "model": "openai/gpt-4o",
    "api_key": KEY,
    "extra_headers": {"Authorization": HEADER},
    "credentials": {"aws_secret_access_key": CREDENTIAL},
}


def refusal(make: Any, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        make(**options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("typo", "right"),
    [
        ("temprature", "temperature"),
        ("api_keys", "api_key"),
        ("max_token", "max_tokens"),
        ("api_bse", "api_base"),
        ("output_costs_per_token", "output_cost_per_token"),
    ],
)
def test_misspelt_option_of_a_seat_is_refused_with_the_nearest_right_one(typo: str, right: str) -> None:
    assert f"{typo!r}: did you mean {right!r}?" in refusal(Seat, model="openai/gpt-4o", **{typo: 1})


def test_name_like_no_other_is_refused_with_all_known_ones() -> None:
    assert (
        unknown_name("zzz", ["beta", "alpha"], "strategy") == "unknown strategy 'zzz': known are alpha, beta"
    )


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({"temperature": 2.5}, "2.5"),
        ({"temperature": "hot"}, "'hot'"),
        ({"temperature": float("nan")}, "nan"),
        ({"top_p": -0.1}, "-0.1"),
        ({"max_tokens": 0}, "0"),
        ({"max_completion_tokens": 1.5}, "1.5"),
        ({"timeout_s": 0}, "0"),
        ({"retries": -1}, "-1"),
        ({"seed": "first"}, "'first'"),
        ({"model": ""}, "''"),
        ({"model": None}, "None"),
        ({"input_cost_per_token": -1e-6, "output_cost_per_token": 1e-6}, "-1e-06"),
    ],
)
def test_bad_value_is_refused_with_the_option_and_what_was_given(options: dict[str, Any], given: str) -> None:
    text = refusal(Seat, **{"model": "openai/gpt-4o", **options})
    assert next(iter(options)) in text
    assert f"(given: {given})" in text


def test_every_fault_is_named_at_once() -> None:
    text = refusal(Seat, temperature=3, temprature=1)
    assert all(part in text for part in ("model: ", "temperature: ", "'temprature'"))


def test_refusals_are_both_config_errors_and_value_errors() -> None:
    classes: list[Any] = [Seat, MoA, Council]
    for make in classes:
        with pytest.raises(ValueError, match="unknown option 'nonsense'") as caught:
            make(nonsense=1)
        assert isinstance(caught.value, ConfigError)
        assert isinstance(caught.value, CompositeError)


def test_secrets_are_in_no_text_of_a_seat_or_strategy() -> None:
    seat = Seat(**SECRET_OPTIONS)
    moa = MoA(aggregator=seat, proposers=[SECRET_OPTIONS])
    council = Council(chairman=SECRET_OPTIONS, members=[seat, seat], reviewers=[seat])
    for thing in (seat, moa, council):
        texts = [repr(thing), str(thing), f"{thing}", thing.model_dump_json(), str(thing.model_dump())]
        assert not [text for text in texts for secret in SECRETS if secret in text]
    for strategy in (moa, council):
        assert not any(secret in str(strategy.without_secrets()) for secret in SECRETS)
    assert sorted(seat.secrets()) == sorted(SECRETS)


BAD_WITH_SECRETS: dict[str, dict[str, Any]] = {
    "typo": {"temprature": 1},
    "bad value": {"temperature": 9},
    "half a price": {"input_cost_per_token": 1e-6},
    "key of a wrong type": {"api_key": [KEY]},
    "headers of a wrong type": {"extra_headers": HEADER},
    "header of a wrong type": {"extra_headers": {"Authorization": [HEADER]}},
    "credentials of a wrong type": {"credentials": CREDENTIAL},
    "key among the params": {"params": {"api_key": KEY}},
}


@pytest.mark.parametrize("fault", BAD_WITH_SECRETS)
def test_secrets_are_in_no_error_text(fault: str) -> None:
    options = SECRET_OPTIONS | BAD_WITH_SECRETS[fault]
    attempts: dict[str, Callable[[], Any]] = {
        "Seat": lambda: Seat(**options),
        "aggregator": lambda: MoA(aggregator=options),
        "proposers": lambda: MoA(aggregator="openai/gpt-4o", proposers=["openai/gpt-4o", options]),
        "chairman": lambda: Council(chairman=options),
        "model_validate": lambda: Seat.model_validate(options),
    }
    leaks = []
    for name, attempt in attempts.items():
        with pytest.raises(ValueError) as caught:  # noqa: PT011  (its text is what is looked at)
            attempt()
        shown = "".join(traceback.format_exception(caught.value))
        leaks += [name for secret in SECRETS if secret in shown]
    assert leaks == []


def test_forgotten_list_brackets_show_no_secret() -> None:
    text = refusal(MoA, aggregator="openai/gpt-4o", proposers=SECRET_OPTIONS)
    assert "proposers" in text
    assert not any(secret in text for secret in SECRETS)


def test_assigned_key_is_refused_and_not_shown() -> None:
    seat = Seat(model="openai/gpt-4o")
    with pytest.raises(ValueError, match="frozen") as caught:
        seat.api_key = KEY  # type: ignore[assignment]
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "params",
    [
        {"aws_secret_access_key": "x"},
        {"azure_ad_token": "x"},
        {"client_secret": "x"},
        {"password": "x"},
        {"vertex_credentials": "x"},
        {"extra_body": {"api_key": "x"}},
    ],
)
def test_param_that_looks_like_a_secret_is_refused_towards_credentials(params: dict[str, Any]) -> None:
    assert "credentials" in refusal(Seat, model="openai/gpt-4o", params=params)


@pytest.mark.parametrize(
    "params",
    [
        {"min_tokens": 3},
        {"skip_special_tokens": True},
        {"logprobs": True},
        {"stop_token_ids": [1, 2]},
        {"prompt_cache_key": "chapter-1"},
    ],
)
def test_param_that_is_no_secret_is_passed_on(params: dict[str, Any]) -> None:
    assert Seat(model="openai/gpt-4o", params=params).call_params() == params


def test_param_with_a_field_of_its_own_is_refused_with_that_field() -> None:
    assert "Seat(temperature=…)" in refusal(Seat, model="openai/gpt-4o", params={"temperature": 1})


@pytest.mark.parametrize("name", ["input_cost_per_token", "output_cost_per_token"])
def test_prices_go_together(name: str) -> None:
    assert "go together" in refusal(Seat, model="openai/gpt-4o", **{name: 0.0})


def test_further_samples_move_the_seed_and_nothing_else() -> None:
    seeded = Seat(model="openai/gpt-4o", seed=7, temperature=0.0, stop=["END"], params={"logprobs": True})
    common = {"temperature": 0.0, "stop": ["END"], "logprobs": True}
    assert [seeded.call_params(sample) for sample in range(3)] == [
        common | {"seed": seed} for seed in (7, 8, 9)
    ]
    assert Seat(model="openai/gpt-4o", seed=0).call_params() == {"seed": 0}
    assert Seat(model="openai/gpt-4o").call_params(2) == {}


def test_call_params_hold_no_secret_and_cannot_change_the_seat() -> None:
    seat = Seat(**SECRET_OPTIONS, params={"logprobs": True})
    seat.call_params()["logprobs"] = False
    assert seat.call_params() == {"logprobs": True}


def test_strings_and_dicts_become_seats_wherever_a_seat_is_wanted() -> None:
    plain, warm = Seat(model="openai/a"), Seat(model="openai/b", temperature=0.5)
    mixed: list[Any] = ["openai/a", {"model": "openai/b", "temperature": 0.5}, plain]
    moa = MoA(aggregator="openai/a", proposers=mixed)
    assert (moa.aggregator, list(moa.proposers)) == (plain, [plain, warm, plain])
    council = Council(chairman={"model": "openai/a"}, members=mixed, reviewers=mixed)
    assert (council.chairman, council.members, council.reviewers) == (plain, *[[plain, warm, plain]] * 2)


def test_configuration_is_frozen() -> None:
    moa = MoA(aggregator="openai/a")
    things: list[tuple[Any, str]] = [(moa, "layers"), (moa.aggregator, "seed"), (moa.prompts, "refine")]
    for thing, name in things:
        before = thing.model_dump()
        with pytest.raises(ValueError, match="frozen"):
            setattr(thing, name, 2)
        assert thing.model_dump() == before


REFUSED: list[tuple[Any, dict[str, Any], tuple[str, ...]]] = [
    (MoA, {"min_proposals": 4}, ("min_proposals=4", "3 proposals")),
    (MoA, {"proposers": ["openai/a", "openai/b"], "samples": 2, "min_proposals": 5}, ("=5", "4 proposals")),
    (Council, {"min_members": 4}, ("min_members=4", "3 members")),
    (Council, {"members": ["openai/a"], "min_members": 2}, ("min_members=2", "1 members")),
    (MoA, {"proposer": ["openai/a"]}, ("'proposer'", "'proposers'")),
    (Council, {"reviewer": ["openai/a"]}, ("'reviewer'", "'reviewers'")),
    (MoA, {"max_concurency": 3}, ("'max_concurency'", "'max_concurrency'")),
    (MoA, {"layers": "two"}, ("layers", "'two'")),
    (MoA, {"layers": 0}, ("layers", "0")),
    (MoA, {"proposers": "openai/b"}, ("proposers", "'openai/b'")),
    (MoA, {"proposers": ["openai/a", 5]}, ("proposers.1", "5")),
    (Council, {"members": [{"model": "openai/a", "temprature": 1}]}, ("members.0", "'temperature'")),
    (Council, {"on_final_failure": "bset"}, ("on_final_failure", "'bset'", "'best'")),
    (Council, {"straggler_grace_s": -1}, ("straggler_grace_s", "-1")),
]


@pytest.mark.parametrize(("strategy", "options", "parts"), REFUSED)
def test_strategy_that_cannot_work_is_refused_in_construction(
    strategy: Any, options: dict[str, Any], parts: tuple[str, ...]
) -> None:
    text = refusal(strategy, **{strategy.final_role: "openai/gpt-4o", **options})
    assert all(part in text for part in parts), text


def test_needed_answers_may_equal_the_planned_ones() -> None:
    MoA(aggregator="openai/a", min_proposals=3)
    MoA(aggregator="openai/a", proposers=["openai/b"], samples=2, min_proposals=2)
    Council(chairman="openai/a", members=["openai/a", "openai/b"], min_members=2)


@pytest.mark.parametrize(
    ("model", "composite", "plain", "depth"),
    [
        ("openai/gpt-4o", False, "openai/gpt-4o", 0),
        ("composite/moa/openai/gpt-4o", True, "openai/gpt-4o", 1),
        ("composite/moa/composite/council/ollama/a/b:c", True, "ollama/a/b:c", 2),
    ],
)
def test_model_string_tells_the_model_at_the_bottom(
    model: str, composite: bool, plain: str, depth: int
) -> None:
    seat = Seat(model=model)
    assert (seat.is_composite, seat.plain_model, nesting_depth(model)) == (composite, plain, depth)


def test_seat_is_called_by_its_name_or_else_its_model() -> None:
    assert str(Seat(model="openai/a", name="Ada")) == "Ada"
    assert str(Seat(model="openai/a")) == "openai/a"
