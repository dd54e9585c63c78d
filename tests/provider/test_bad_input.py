"""Bad input is refused before anything is paid for: a 400 through LiteLLM, a ConfigError from the library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import litellm
import pytest

import composite_lab as lab
from composite_lab.testing import FakeServer

ASK = [{"role": "user", "content": "Why is the sky dark at night?"}]
DEEP = "composite/moa/" * 4 + "openai/a"


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (
            {"model": "composite/mao/openai/a"},
            r"unknown strategy 'mao': did you mean 'moa'\?.*composite/moa/<model>",
        ),
        ({"model": "composite/jury/openai/a"}, "unknown strategy 'jury'.*composite/council/<model>"),
        ({"model": "composite/moa"}, "there is no model in 'moa'.*composite/moa/openai/gpt-4o"),
        ({"model": "composite/moa/"}, "there is no model in 'moa/'"),
        ({"model": "composite/moa/nonsense"}, "no provider for model 'nonsense'.*<provider>/<model>"),
        ({"proposer": ["openai/p"]}, "unknown option 'proposer': did you mean 'proposers'"),
        ({"extra_body": {"layer": 2}}, "unknown option 'layer': did you mean 'layers'"),
        ({"proposers": "openai/p"}, "proposers: .*Sequence.*given: 'openai/p'"),
        (
            {"proposers": [{"model": "openai/p", "temprature": 1}]},
            "unknown option 'temprature': did you mean 'temperature'",
        ),
        ({"proposers": [3]}, r"proposers\.0: .*given: 3"),
        ({"layers": "many"}, "layers: .*given: 'many'"),
        ({"layers": 0}, "layers: .*given: 0"),
        ({"samples": 2, "min_proposals": 5}, "min_proposals=5 can never be met by 2 proposals"),
        ({"prompts": {"aggregate": "no field"}}, "has no field {answers}"),
        ({"extra_body": "layers=2"}, "extra_body must be a dict"),
        ({"messages": []}, "non-empty list of messages"),
        ({"messages": [{"role": "user", "content": ""}]}, "all messages are empty"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "has role 'robot'"),
        ({"model": DEEP}, "deeper than 3"),
        ({"proposers": ["openai/p", DEEP]}, "deeper than 3"),
        ({"max_cost_usd": 1}, "LiteLLM has no price"),
    ],
)
def test_a_mistake_is_a_400_that_says_what_was_given_and_what_would_work(
    fake_openai: FakeServer, endpoint: dict[str, str], request_: dict[str, Any], says: str
) -> None:
    request = {"model": "composite/moa/openai/a", "messages": ASK, **endpoint} | request_
    with pytest.raises(litellm.BadRequestError, match=says) as caught:
        litellm.completion(**request)
    assert caught.value.status_code == 400
    assert "Traceback" not in str(caught.value)
    assert fake_openai.stats().total == 0


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (lambda: lab.MoA(aggregator="openai/a", proposer=["openai/p"]), "did you mean 'proposers'"),
        (lab.MoA, "aggregator: Field required"),
        (lambda: lab.Council(chairman="openai/a", members=[1]), r"members\.0: .*given: 1"),
        (lambda: lab.MoA(aggregator="openai/a").run(""), "all messages are empty"),
        (lambda: lab.MoA(aggregator="openai/a").run([]), "non-empty list of messages"),
        (lambda: lab.MoA(aggregator=DEEP).run("Why?"), "deeper than 3"),
    ],
)
def test_the_library_says_the_same_as_a_config_error(mistake: Callable[[], object], says: str) -> None:
    with pytest.raises(lab.ConfigError, match=says):
        mistake()


def test_a_wrong_key_is_the_providers_authentication_error(endpoint: dict[str, str]) -> None:
    with pytest.raises(litellm.AuthenticationError, match="0 of 3 proposers answered") as caught:
        litellm.completion(model="composite/moa/openai/a+require_key=sk-right", messages=ASK, **endpoint)
    assert len(lab.trace_of(caught.value).calls) == 3


def test_a_wrong_key_for_the_final_model_only_is_an_authentication_error_too(
    endpoint: dict[str, str],
) -> None:
    with pytest.raises(litellm.AuthenticationError) as caught:
        litellm.completion(
            model="composite/moa/openai/a+require_key=sk-right",
            messages=ASK,
            proposers=["openai/p"],
            **endpoint,
        )
    assert [call.status for call in lab.trace_of(caught.value).calls] == ["ok", "error"]


def test_all_proposers_failing_is_an_error_that_names_each_cause(endpoint: dict[str, str]) -> None:
    proposers = ["openai/p+status=400", "openai/q+status=404"]
    with pytest.raises(litellm.APIError) as caught:
        litellm.completion(model="composite/moa/openai/a", messages=ASK, proposers=proposers, **endpoint)
    assert caught.value.status_code == 502
    assert "p+status=400" in str(caught.value)
    assert "NotFoundError" in str(caught.value)
    assert len(lab.trace_of(caught.value).calls) == 2


def test_a_run_past_its_time_is_litellms_timeout(endpoint: dict[str, str]) -> None:
    with pytest.raises(litellm.Timeout, match=r"timeout_s=0\.5") as caught:
        litellm.completion(model="composite/moa/openai/a+hang", messages=ASK, timeout_s=0.5, **endpoint)
    assert {call.status for call in lab.trace_of(caught.value).calls} == {"cancelled"}


@pytest.mark.parametrize(
    "options", [{"timeout": 0.5}, {"timeout": 0.5, "timeout_s": 60}, {"timeout": 60, "timeout_s": 0.5}]
)
def test_litellms_own_timeout_bounds_the_run_too(endpoint: dict[str, str], options: dict[str, Any]) -> None:
    with pytest.raises(litellm.Timeout, match=r"timeout_s=0\.5"):
        litellm.completion(model="composite/moa/openai/a+hang", messages=ASK, **options, **endpoint)


def test_an_object_without_a_trace_is_refused_with_what_would_work() -> None:
    with pytest.raises(lab.ConfigError, match="int carries no trace"):
        lab.trace_of(3)
