"""What a name means: registered or loaded, unknown, in a circle, too deep."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import litellm
import pytest

import composite_lab as lab
from composite_lab.testing import FakeServer
from tests.conftest import SeatMaker
from tests.profiles.conftest import Writer

ASK = [{"role": "user", "content": "Why is the sky dark at night?"}]


def ask(model: str, **options: Any) -> Any:
    return litellm.completion(model=f"composite/profile/{model}", messages=ASK, **options)


def test_registering_a_name_again_replaces_it_and_wins_over_a_file(write: Writer) -> None:
    file = write("profiles: {twice: {strategy: moa, aggregator: openai/from-file}}")
    lab.load_profiles(file)
    assert lab.profile("twice").final_seat.model == "openai/from-file"
    for model in ("openai/first", "openai/second"):
        lab.register_profile("twice", lab.MoA(aggregator=model))
    lab.load_profiles(file)
    assert lab.profile("twice").final_seat.model == "openai/second"


def test_loading_a_file_again_replaces_its_profiles(write: Writer) -> None:
    lab.load_profiles(write("profiles: {anew: {strategy: moa, aggregator: openai/old}}"))
    lab.load_profiles(write("profiles: {anew: {strategy: council, chairman: openai/new}}"))
    assert lab.profile("anew") == lab.Council(chairman="openai/new")
    assert "anew" in lab.profile_names()


def test_aliases_and_merges_of_yaml_are_understood(write: Writer) -> None:
    file = write(
        "profiles:\n"
        "  one: &one {strategy: moa, aggregator: openai/a, proposers: &both [openai/p, openai/q]}\n"
        "  two: {<<: *one, layers: 2}\n"
        "  three: {strategy: council, chairman: openai/c, members: *both}\n"
    )
    lab.load_profiles(file)
    one, two, three = map(lab.profile, ("one", "two", "three"))
    assert two == one.model_copy(update={"layers": 2})
    assert three.all_seats()[:2] == one.all_seats()[:2]


@pytest.mark.parametrize("name", ["", "-fast", "a/b", "a b", "ä", 4])
def test_a_name_that_cannot_stand_in_a_model_string_is_refused(name: Any) -> None:
    with pytest.raises(lab.ConfigError, match="cannot be a profile's name: use letters, digits"):
        lab.register_profile(name, lab.MoA(aggregator="openai/a"))


@pytest.mark.parametrize(
    ("model", "profile", "plain"),
    [
        ("composite/profile/fast", "fast", None),
        ("composite/moa/composite/profile/v1.2", "v1.2", None),
        ("composite/moa/profile/fast", None, "profile/fast"),
        ("profile/fast", None, "profile/fast"),
        ("composite/profile", "", None),
    ],
)
def test_a_seat_on_a_profile_has_no_plain_model(model: str, profile: str | None, plain: str | None) -> None:
    seat = lab.Seat(model=model)
    assert (seat.profile, seat.plain_model) == (profile, plain)


def test_only_a_strategy_can_be_registered() -> None:
    with pytest.raises(lab.ConfigError, match=r"a profile is a strategy, MoA\(…\) or Council\(…\), not str"):
        lab.register_profile("text", "openai/a")  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["fsat-lane", "", "fast-lane/openai/a"])
def test_an_unknown_profile_is_a_bad_request_that_says_how_to_load_some(
    fake_openai: FakeServer, endpoint: dict[str, str], model: str
) -> None:
    lab.register_profile("fast-lane", lab.MoA(aggregator="openai/a"))
    with pytest.raises(litellm.BadRequestError, match="unknown profile") as caught:
        ask(model, **endpoint)
    for part in ("fast-lane", "load_profiles", "COMPOSITE_LAB_PROFILES", "register_profile"):
        assert part in str(caught.value)
    assert fake_openai.stats().total == 0


def test_a_seat_on_an_unknown_profile_stops_the_run_before_any_call(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    proposers = [seat("p"), lab.Seat(model="composite/council/composite/profile/nobody")]
    with pytest.raises(lab.ConfigError, match="unknown profile 'nobody'"):
        lab.MoA(aggregator=seat("a"), proposers=proposers).run("Why?")
    with pytest.raises(litellm.BadRequestError, match="unknown profile 'nobody'"):
        litellm.completion(model="composite/moa/openai/a", messages=ASK, proposers=proposers)
    assert fake_openai.stats().total == 0


def test_a_circle_made_in_code_is_caught_at_the_lookup(fake_openai: FakeServer, seat: SeatMaker) -> None:
    lab.register_profile("ring.a", lab.MoA(aggregator=seat("a"), proposers=["composite/profile/ring.b"]))
    lab.register_profile("ring.b", lab.Council(chairman="composite/moa/composite/profile/ring.a"))
    circle = r"in a circle: ring\.a -> ring\.b -> ring\.a"
    with pytest.raises(lab.ConfigError, match=circle):
        lab.profile("ring.a")
    with pytest.raises(litellm.BadRequestError, match=circle):
        ask("ring.a")
    with pytest.raises(lab.ConfigError, match=r"ring\.b -> ring\.a -> ring\.b"):
        lab.MoA(aggregator=seat("z"), proposers=["composite/profile/ring.b"]).run("Why?")
    assert fake_openai.stats().total == 0


def test_profiles_may_nest_as_deep_as_composites_and_no_deeper(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    lab.register_profile("level-1", lab.MoA(aggregator=seat("a"), samples=1))
    for level in (2, 3, 4):
        below = f"composite/profile/level-{level - 1}"
        lab.register_profile(f"level-{level}", lab.MoA(aggregator=below, samples=1))
    with pytest.raises(lab.ConfigError, match="makes composites nest 4 deep, and 3 is the most"):
        lab.profile("level-4")
    with pytest.raises(litellm.BadRequestError, match="nest 4 deep"):
        ask("level-4")
    assert fake_openai.stats().total == 0
    assert len(lab.trace_of(ask("level-3")).calls) == 2 + 4 + 8


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"} | environment,
    )


def test_the_file_that_the_environment_names_is_loaded_at_the_first_lookup(
    fake_openai: FakeServer, write: Writer
) -> None:
    script = (
        "import os, composite_lab as lab, litellm\n"
        "ask = [{'role': 'user', 'content': 'Why?'}]\n"
        "lab.register_profile('own', lab.MoA(aggregator='openai/from-code', samples=1))\n"
        "print(lab.profile_names())\n"
        "os.remove(os.environ['COMPOSITE_LAB_PROFILES'])  # it is not read again\n"
        "for name in ('own', 'other'):\n"
        "    litellm.completion(model=f'composite/profile/{name}', messages=ask)"
    )
    file = write(
        "profiles:\n  own: {strategy: moa, aggregator: openai/from-file}\n"
        "  other: {strategy: moa, aggregator: composite/profile/own, samples: 1}\n"
    )
    key = {"OPENAI_API_KEY": "sk-test", "OPENAI_API_BASE": fake_openai.base_url}
    done = run(script, COMPOSITE_LAB_PROFILES=str(file), **key)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['other', 'own']"
    assert fake_openai.stats().by_model == {"from-code": 2 + 4}


def test_a_faulty_file_in_the_environment_spoils_only_lookups(fake_openai: FakeServer, write: Writer) -> None:
    script = (
        "import composite_lab as lab, litellm\n"
        "ask = [{'role': 'user', 'content': 'Why?'}]\n"
        "litellm.completion(model='composite/moa/openai/a', messages=ask)\n"
        "for _ in range(2):\n"
        "    try: litellm.completion(model='composite/profile/p', messages=ask)\n"
        "    except litellm.BadRequestError as error: print(error)\n"
    )
    key = {"OPENAI_API_KEY": "sk-test", "OPENAI_API_BASE": fake_openai.base_url}
    file = write("profiles: {p: {strategy: mao}}")
    done = run(script, COMPOSITE_LAB_PROFILES=str(file), **key)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"COMPOSITE_LAB_PROFILES names a file that cannot be used: {file}, line 1") == 2
    assert fake_openai.stats().total == 4
