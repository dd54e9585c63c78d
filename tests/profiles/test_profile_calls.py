"""Profiles as LiteLLM models, over HTTP: who was asked what, where and with which key."""

from __future__ import annotations

from typing import Any

import litellm
import pytest

import composite_lab as lab
from composite_lab.testing import FakeServer
from tests.conftest import SeatMaker
from tests.profiles.conftest import Example

ASK = [{"role": "user", "content": "Why is the sky dark at night?"}]


def ask(model: str, **options: Any) -> Any:
    return litellm.completion(model=f"composite/profile/{model}", messages=ASK, **options)


def keys_at(server: FakeServer) -> list[tuple[str, str]]:
    """Which model was asked with which key, sorted."""
    return sorted((request.model, request.headers["authorization"]) for request in server.requests())


def test_each_seat_of_a_file_is_called_at_its_own_endpoint_with_its_own_key(
    example: Example,
) -> None:
    local, hosted = example
    response = ask("fast")
    assert keys_at(local) == [("qwen", "Bearer sk-local")] * 2
    assert keys_at(hosted) == [("writer", "Bearer sk-hosted")]
    assert sorted(request.body["temperature"] for request in local.requests()) == [0.2, 0.9]
    assert response.model == "composite/profile/fast"
    trace = lab.trace_of(response)
    assert trace.strategy == "moa"
    for call in trace.calls[:2]:
        assert (call.prompt_tokens, call.completion_tokens) == (100, 20)
        assert call.cost_usd == pytest.approx(100 * 1e-7 + 20 * 4e-7)
    assert "sk-local" not in trace.model_dump_json()


def test_a_seats_own_fields_win_over_its_provider(example: Example) -> None:
    first, second, _ = lab.profile("fast").all_seats()
    assert (first.timeout_s, second.timeout_s) == (60, 20)
    assert first.api_base == second.api_base == example[0].base_url


def test_a_date_is_read_as_the_text_that_it_is_written_as(example: Example) -> None:
    assert lab.profile("fast").final_seat.api_version == "2024-10-21"


def test_a_profile_in_a_profile_leaves_its_calls_as_children(example: Example) -> None:
    local, hosted = example
    trace = lab.trace_of(ask("careful", repairs=0, self_review=True))  # of two, to rank both
    assert trace.strategy == "council"
    # Opinion, review and synthesis of the profile inside: three times its three calls.
    assert local.stats().by_model == {"qwen": 6}
    assert hosted.stats().by_model == {"writer": 3, "judge": 2}
    outer = [call for call in trace.calls if call.parent_call_id is None]
    inside = [call.call_id for call in outer if call.request_model == "composite/profile/fast"]
    assert len(inside) == 3
    children = [call for call in trace.calls if call.parent_call_id]
    assert sorted(call.parent_call_id or "" for call in children) == sorted(inside * 3)
    judged = [request for request in hosted.requests() if request.model == "judge"]
    assert all(request.body["top_k"] == 40 for request in judged)
    assert "Say what is wrong with each" in judged[1].last_user_text


def test_a_profile_streams_under_its_own_name(fake_openai: FakeServer, seat: SeatMaker) -> None:
    lab.register_profile("streamed", lab.MoA(aggregator=seat("a"), proposers=[seat("p")]))
    stream = ask("streamed", stream=True)
    chunks = list(stream)
    assert {chunk.model for chunk in chunks} <= {"composite/profile/streamed", "profile/streamed"}
    assert lab.trace_of(stream).text == "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert fake_openai.stats().by_model == {"p": 1, "a": 1}


def test_options_of_the_request_override_the_profiles(fake_openai: FakeServer, seat: SeatMaker) -> None:
    named = lab.MoA(aggregator=seat("a"), proposers=[seat("p")], layers=2, retries=0)
    lab.register_profile("layered", named)
    ask("layered", layers=1, samples=3, temperature=0.25)
    assert fake_openai.stats().by_model == {"p": 3, "a": 1}
    assert fake_openai.requests()[-1].body["temperature"] == 0.25
    config = lab.trace_of(ask("layered")).config
    assert (config["layers"], config.get("samples")) == (2, None)
    assert lab.profile("layered") == named


def test_the_options_of_a_seat_on_a_profile_override_it(fake_openai: FakeServer, seat: SeatMaker) -> None:
    lab.register_profile("sampled", lab.MoA(aggregator=seat("a"), proposers=[seat("p")]))
    inside = lab.Seat(model="composite/profile/sampled", temperature=0.75, params={"samples": 2})
    lab.MoA(aggregator=seat("z"), proposers=[inside]).run("Why?")
    assert fake_openai.stats().by_model == {"p": 2, "a": 1, "z": 1}
    assert {r.body.get("temperature") for r in fake_openai.requests() if r.model == "a"} == {0.75}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layer": 2}, "unknown option 'layer': did you mean 'layers'"),
        ({"members": ["openai/m"]}, "unknown option 'members'"),
        ({"layers": 0}, r"layers: .*given: 0"),
        ({"proposers": ["composite/profile/nowhere"]}, "unknown profile 'nowhere'"),
    ],
)
def test_wrong_options_for_a_profile_are_refused(
    fake_openai: FakeServer, seat: SeatMaker, options: dict[str, Any], says: str
) -> None:
    lab.register_profile("strict", lab.MoA(aggregator=seat("a"), proposers=[seat("p")]))
    with pytest.raises(litellm.BadRequestError, match=says):
        ask("strict", **options)
    assert fake_openai.stats().total == 0


def test_the_callers_key_goes_to_the_final_models_provider_only(
    fake_openai: FakeServer, second_server: FakeServer, endpoint: dict[str, str]
) -> None:
    second_server.reset()
    own = lab.Seat(model="openai/own", api_base=second_server.base_url, api_key="sk-own")  # type: ignore[arg-type]
    lab.register_profile("keyless", lab.MoA(aggregator="openai/a", proposers=["openai/p", own]))
    lab.register_profile("around", lab.MoA(aggregator="composite/profile/keyless", samples=1))
    ask("around", **endpoint)
    assert set(keys_at(fake_openai)) == {("a", "Bearer sk-test"), ("p", "Bearer sk-test")}
    assert set(keys_at(second_server)) == {("own", "Bearer sk-own")}


def test_a_key_for_a_plain_final_model_is_not_handed_to_a_profile(
    fake_openai: FakeServer,
    second_server: FakeServer,
    endpoint: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second_server.reset()
    monkeypatch.setenv("HOSTED_VLLM_API_KEY", "sk-own")
    monkeypatch.setenv("HOSTED_VLLM_API_BASE", second_server.base_url)
    lab.register_profile("elsewhere", lab.MoA(aggregator="hosted_vllm/g", samples=1))
    around = lab.MoA(aggregator="openai/a", proposers=["composite/profile/elsewhere"])
    around.run("Why?", **endpoint)
    assert keys_at(fake_openai) == [("a", "Bearer sk-test")]
    assert keys_at(second_server) == [("g", "Bearer sk-own")] * 2


def test_a_price_cap_around_a_profile_still_asks_for_its_prices(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    lab.register_profile("unpriced", lab.MoA(aggregator=seat("no-price"), samples=1))
    with pytest.raises(lab.QuorumError, match=r"max_cost_usd .* LiteLLM has no price"):
        lab.MoA(aggregator="composite/profile/unpriced", samples=1, max_cost_usd=1).run("Why?")
    assert fake_openai.stats().total == 0
