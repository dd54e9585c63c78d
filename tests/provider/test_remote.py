"""What a client of a proxy may set, and what its owner can allow. The proxy itself is in test_serving.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import composite_lab as lab
from composite_lab.profiles import CAPS
from composite_lab.provider.client_seats import MODELS_VARIABLE
from composite_lab.provider.remote import ALLOW_VARIABLE, check_client, client_options
from composite_lab.provider.request import Order, read_request

OWNER = lab.MoA(aggregator="openai/a", timeout_s=60, max_cost_usd=1.0)
SPELLINGS = {"council_models": "members"}
ENDPOINT = {"members": [{"model": "openai/m", "api_base": "http://127.0.0.1:9"}]}


@pytest.mark.parametrize(
    ("group", "sent"),
    [("endpoints", ENDPOINT), ("endpoints", {"api_key": "x"}), ("limits", {"timeout_s": 600})],
)
def test_a_group_is_refused_until_the_owner_allows_it(
    monkeypatch: pytest.MonkeyPatch, group: str, sent: dict[str, Any]
) -> None:
    monkeypatch.delenv(ALLOW_VARIABLE, raising=False)
    with pytest.raises(lab.ConfigError, match=f"{ALLOW_VARIABLE}={group}"):
        check_client(sent, SPELLINGS, OWNER)
    monkeypatch.setenv(ALLOW_VARIABLE, f"{group}, something-else")
    check_client(sent, SPELLINGS, OWNER)


def test_an_older_spelling_hides_nothing() -> None:
    with pytest.raises(lab.ConfigError, match=r"members\[0\]\.api_base"):
        check_client({"council_models": ENDPOINT["members"]}, SPELLINGS, None)


@pytest.mark.parametrize("value", [None, 2.0, float("inf")])
def test_a_limit_cannot_be_taken_away(value: float | None) -> None:
    with pytest.raises(lab.ConfigError, match="max_cost_usd"):
        check_client({"max_cost_usd": value}, SPELLINGS, OWNER)


def test_a_tool_executor_is_never_a_clients() -> None:
    with pytest.raises(lab.ConfigError, match="runs code on the server"):
        check_client({"tool_executor": "os.system"}, SPELLINGS, None)


def test_options_are_found_however_deep_the_client_nests_them() -> None:
    body = {"messages": [], "extra_body": {"proposers": ["openai/p"]}}
    request = {"litellm_params": {"proxy_server_request": {"body": body}}}
    sent = client_options(request, ("optional_params", "extra_body"))
    assert sent is not None
    assert sent["proposers"] == ["openai/p"]


@pytest.mark.parametrize(
    "request_", [{}, {"litellm_params": None}, {"litellm_params": {"proxy_server_request": None}}]
)
def test_a_call_from_this_process_is_nobodys_client(request_: dict[str, Any]) -> None:
    assert client_options(request_, ()) is None


@pytest.mark.parametrize("more", [{"repairs": 2}, {"canary": True}])
def test_a_client_cannot_have_more_reviews_made_than_the_profile(more: dict[str, object]) -> None:
    with pytest.raises(lab.ConfigError, match=next(iter(more))):
        check_client(more, SPELLINGS, lab.Council(chairman="openai/a"))


PROFILE = lab.MoA(
    aggregator=lab.Seat(
        model="openai/final", api_base="http://127.0.0.1:9/own", api_key="sk-own", max_tokens=500
    ),
    proposers=[
        lab.Seat(model="openai/p", api_base="http://127.0.0.1:9/p", extra_headers={"X-Owner": "1"}),
        "openai/q",
    ],
)
COUNCIL = lab.Council(chairman="openai/final", members=["openai/p", "openai/q"])
CALLS = {"profile/limited": PROFILE, "profile/council": COUNCIL}


@pytest.fixture(autouse=True)
def _served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ALLOW_VARIABLE, raising=False)
    monkeypatch.delenv(MODELS_VARIABLE, raising=False)
    lab.register_profile("limited", PROFILE)
    lab.register_profile("council", COUNCIL)


def asked(body: dict[str, Any], model: str = "profile/limited", served_as: str = "panel") -> Order:
    """What the handler makes of a body that LiteLLM's proxy hands to it as LiteLLM does."""
    body = {"model": served_as, "messages": [], **body}
    given = {name: value for name, value in body.items() if name not in ("model", "messages")}
    kept = {name: value for name, value in body.items() if name not in ("api_key", "headers")}
    hidden = tuple(name for name in ("api_key", "headers") if name in body)
    proxied = {"body": kept, "credential_fields": hidden}
    return read_request(
        {
            "model": model,
            "optional_params": given,
            "litellm_params": {"proxy_server_request": proxied},
            "api_key": body.get("api_key"),
            "headers": body.get("headers") or body.get("extra_headers"),
        }
    )


TOO_MUCH: list[dict[str, Any]] = [
    {"samples": 5000}, {"samples": "5000"}, {"samples": 5000.0}, {"samples": None}, {"samples": [5000]},
    {"samples": -1}, {"layers": 2}, {"layers": "9"}, {"layers": True, "samples": 3},
    {"timeout_s": 10**6}, {"timeout_s": None}, {"timeout_s": float("nan")}, {"timeout_s": float("inf")},
    {"max_cost_usd": 10**6}, {"max_cost_usd": "inf"}, {"max_cost_usd": None}, {"straggler_grace_s": 1e9},
    {"call_timeout_s": 1e9}, {"call_timeout_s": None}, {"max_reply_chars": 10**12}, {"max_reply_chars": None},
    {"retries": 3}, {"max_concurrency": 10**400}, {"max_tool_iterations": 6},
    {"proposers": ["openai/p"] * 3}, {"proposers": ["openai/p"] * 10_000}, {"proposers": []},
    {"n": 1000}, {"n": "1000"}, {"n": True}, {"n": 2.0}, {"n": -1}, {"n": [9]},
    {"max_tokens": 501}, {"max_completion_tokens": 501}, {"max_tokens": "501"}, {"max_tokens": 1e9},
    {"thinking": {"type": "enabled", "budget_tokens": 501}}, {"reasoning": {"max_tokens": 501}},
    {"proposers": [{"model": "openai/p", "max_tokens": 10**9}]},
    {"aggregator": {"model": "openai/final", "max_completion_tokens": 501}},
    {"prompts": {"aggregate": "{answers:>1000000000}"}}, {"prompts": {"aggregate": "{answers}" * 1000}},
    {"prompts": {"refine": "{answers!r}"}}, {"prompts": {"aggregate": "{answers}" + "x" * 30_000}},
]  # fmt: skip


@pytest.mark.parametrize("nested", [None, "extra_body", "optional_params"])
@pytest.mark.parametrize("body", TOO_MUCH, ids=lambda body: repr(body)[:40])
def test_nothing_is_beyond_the_owners_limits_however_it_is_written(
    body: dict[str, Any], nested: str | None
) -> None:
    with pytest.raises(lab.ConfigError):
        asked({nested: body} if nested else body)


@pytest.mark.parametrize(
    "body",
    [
        {"members": ["openai/p"] * 3}, {"reviewers": ["openai/q"] * 3}, {"members": ["openai/p"] * 100},
        {"canary": "true"}, {"canary": 1}, {"repairs": 2}, {"verdict": [f"v{i}" for i in range(1000)]},
        {"rubric": [f"c{i}" for i in range(1000)]}, {"council_models": ["openai/p"] * 9},
    ],
)  # fmt: skip
def test_the_limits_of_a_council_hold(body: dict[str, Any]) -> None:
    with pytest.raises(lab.ConfigError):
        asked(body, "profile/council")


@pytest.mark.parametrize(
    "body",
    [
        {"samples": 500}, {"layers": 50}, {"proposers": ["openai/m"] * 50}, {"timeout_s": 10**6},
        {"layers": 4, "samples": 8, "proposers": ["openai/m"] * 8}, {"n": 100}, {"max_tokens": 10**6},
    ],
)  # fmt: skip
def test_the_caps_hold_for_composites_of_any_model(body: dict[str, Any]) -> None:
    with pytest.raises(lab.ConfigError):
        asked(body, "moa/openai/m", "composite/moa/openai/m")
    assert asked({"layers": 2, "samples": 4, "n": 2}, "moa/openai/m", "composite/moa/openai/m")


@pytest.mark.parametrize(
    "body",
    [
        {"samples": 1}, {"proposers": ["openai/p"], "samples": 2}, {"timeout_s": 30}, {"max_cost_usd": 1},
        {"max_tokens": 500}, {"n": 2}, {"max_tokens": None}, {"temperature": 0.1, "tools": [], "user": "me"},
        {"aggregator": "openai/q"}, {"proposers": [{"model": "composite/profile/council"}]},
        {"trace": "full"}, {"metadata": {"job": "1"}}, {"extra_body": {"reasoning": "none"}},
    ],
)  # fmt: skip
def test_what_is_within_the_limits_is_taken(body: dict[str, Any]) -> None:
    assert asked(body).strategy.timeout_s is not None


def test_the_owner_raises_limits_in_the_file_or_takes_them_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "profiles.yaml"
    some = "profiles: {raised: {strategy: moa, aggregator: openai/a}}\n"
    file.write_text(
        some + "clients: {limits: {samples: 6, n: 20}, models: [openai/x*], parameters: [min_p]}\n"
    )
    lab.load_profiles(file)
    more = {"samples": 6, "n": 20, "min_p": 0.3, "proposers": ["openai/xy"]}
    order = asked(more, "profile/raised")
    assert (order.params["n"], order.params["min_p"]) == (20, 0.3)
    with pytest.raises(lab.ConfigError, match=r"samples=7.*limit is 6"):
        asked({"samples": 7}, "profile/raised")
    monkeypatch.setenv(ALLOW_VARIABLE, "limits")
    assert asked({"samples": 50, "max_tokens": 10**6}, "profile/raised").params["max_tokens"] == 10**6
    file.write_text(some + "clients: {limits: {sample: 6}}\n")
    with pytest.raises(lab.ConfigError, match=r"clients: unknown limit 'sample': did you mean 'samples'"):
        lab.load_profiles(file)
    file.write_text(some + "clients: {}\n")
    lab.load_profiles(file)
    monkeypatch.delenv(ALLOW_VARIABLE)
    with pytest.raises(lab.ConfigError, match="samples"):
        asked({"samples": 6}, "profile/raised")


URLS = [
    "oobabooga/http://127.0.0.1:9/v1", "http://127.0.0.1:9", "huggingface/HTTPS://x", "oobabooga/http:/x",
    "openai//x", "openai/../x", "openai/a b", "openai/a?b", "openai/a#b", "openai/a\nb", "",
]  # fmt: skip


@pytest.mark.parametrize("groups", ["", "limits,models"])
@pytest.mark.parametrize("model", URLS)
def test_no_address_is_in_a_clients_model(monkeypatch: pytest.MonkeyPatch, model: str, groups: str) -> None:
    monkeypatch.setenv(ALLOW_VARIABLE, groups)
    with pytest.raises(lab.ConfigError, match="a client may not name"):
        asked({"proposers": [model]})
    with pytest.raises(lab.ConfigError):
        asked({}, f"moa/{model}", f"composite/moa/{model}")


def test_a_seats_model_is_one_of_the_servers_until_the_owner_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for seat in (
        "openai/gpt-expensive",
        {"model": "openai/gpt-expensive"},
        "composite/moa/openai/gpt-expensive",
    ):
        with pytest.raises(lab.ConfigError, match="use a model of the profile, openai/p, openai/q"):
            asked({"proposers": [seat]})
    with pytest.raises(lab.ConfigError, match="aggregator"):
        asked({"aggregator": "openai/other"}, "moa/openai/m", "composite/moa/openai/m")
    monkeypatch.setenv(MODELS_VARIABLE, "openai/gpt-*, openai/x")
    assert asked({"proposers": ["openai/gpt-expensive"]})
    monkeypatch.setenv(MODELS_VARIABLE, "")
    monkeypatch.setenv(ALLOW_VARIABLE, "models")
    assert asked({"proposers": ["openai/anything"]})


def test_a_model_of_the_profile_is_the_owners_seat_with_its_key_and_endpoint() -> None:
    order = asked({"proposers": [{"model": "openai/p", "temperature": 0.9}], "aggregator": "openai/final"})
    (proposer, aggregator) = order.strategy.all_seats()
    assert (proposer.api_base, proposer.temperature) == ("http://127.0.0.1:9/p", 0.9)
    assert (aggregator.api_key, aggregator.max_tokens) == (PROFILE.final_seat.api_key, 500)


ENDPOINTS = [
    "api_key", "api_base", "base_url", "api_version", "headers", "extra_headers", "custom_llm_provider",
    "organization", "vertex_project", "vertex_credentials", "aws_region_name", "aws_access_key_id",
    "azure_ad_token", "default_headers", "deployment_id", "model_list", "fallbacks", "num_retries",
    "litellm_params", "proxy_server_request", "mock_response", "extra_query", "provider_specific_header",
    "max_new_tokens", "best_of", "some_new_name",
]  # fmt: skip


@pytest.mark.parametrize("nested", [None, "extra_body", "optional_params"])
@pytest.mark.parametrize("name", ENDPOINTS)
def test_a_client_sends_what_is_on_the_list_and_nothing_else(name: str, nested: str | None) -> None:
    for value in ("http://127.0.0.1:9", {"Authorization": "Bearer sk-client"}, None):
        with pytest.raises(lab.ConfigError, match=f"may not set {name}"):
            asked({nested: {name: value}} if nested else {name: value})


@pytest.mark.parametrize("nested", ["extra_body", "optional_params"])
@pytest.mark.parametrize("name", ["model", "messages", "stream", "extra_body"])
def test_what_belongs_to_the_top_of_a_request_is_not_hidden_in_it(name: str, nested: str) -> None:
    with pytest.raises(lab.ConfigError, match="goes to the top"):
        asked({nested: {name: {"model": "openai/gpt-expensive"}}})
    with pytest.raises(lab.ConfigError, match="mapping"):
        asked({nested: '{"samples": 5000}'})
    with pytest.raises(lab.ConfigError, match="twice"):
        asked({"samples": 1, nested: {"samples": 5000}})


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 10**7), st.floats(), st.sampled_from(["7", "9999", "x", "inf"]),
    st.lists(st.integers(0, 9999), max_size=2),
)  # fmt: skip
SEATS = st.one_of(
    st.sampled_from(["openai/p", "openai/q", "openai/final", "openai/other", "composite/profile/council"]),
    st.sampled_from(URLS),
    st.fixed_dictionaries(
        {"model": st.sampled_from(["openai/p", "openai/final", "openai/other", URLS[0]])},
        optional={
            "temperature": st.floats(0, 2), "max_tokens": VALUES, "max_completion_tokens": VALUES,
            "api_base": st.just("http://127.0.0.1:1/client"), "api_key": st.just("sk-client"),
            "extra_headers": st.just({"Authorization": "Bearer sk-client"}), "params": st.just({"n": 9999}),
        },
    ),
    VALUES,
)  # fmt: skip
NUMBERS = sorted({*CAPS} | {"max_completion_tokens", "max_output_tokens"})
OPTIONS = st.dictionaries(st.sampled_from(NUMBERS), VALUES, max_size=3)
SEATED = st.dictionaries(
    st.sampled_from(["proposers", "aggregator", "members", "reviewers", "chairman", "council_models"]),
    st.one_of(SEATS, st.lists(SEATS, max_size=4), st.integers(1, 3).map(lambda n: ["openai/p"] * n)),
    max_size=2,
)
STRANGE = st.dictionaries(st.sampled_from(ENDPOINTS), st.just("http://127.0.0.1:1/client"), max_size=1)
PARTS = st.tuples(OPTIONS, SEATED, st.one_of(st.just({}), STRANGE)).map(
    lambda parts: parts[0] | parts[1] | parts[2]
)
BODIES = st.tuples(PARTS, st.sampled_from([None, "extra_body", "optional_params"]), PARTS).map(
    lambda made: made[0] | ({made[1]: made[2]} if made[1] else {})
)
SERVED = [
    ("profile/limited", "panel"),
    ("profile/council", "council"),
    ("moa/openai/p", "composite/moa/openai/p"),
    ("council/openai/p", "composite/council/openai/p"),
]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES, served=st.sampled_from(SERVED))
def test_whatever_a_client_sends_is_refused_or_within_the_limits(
    body: dict[str, Any], served: tuple[str, str]
) -> None:
    try:
        order = asked(body, *served)
    except lab.ConfigError:
        return
    strategy, owner = order.strategy, CALLS.get(served[0])
    assert planned(strategy) <= CAPS["calls"]
    for name in ("timeout_s", "retries", "max_concurrency", "layers", "max_tool_iterations", "repairs"):
        stated = getattr(owner, name, None)
        assert getattr(strategy, name, 0) <= (CAPS[name] if stated is None else stated), name
    allowed = {"openai/p", "openai/q", "openai/final", "composite/profile/council"}
    owners = [seat for own in (owner,) if own for seat in own.all_seats()]
    for seat in strategy.all_seats():
        assert seat.model in allowed
        assert "client" not in repr([seat.api_base, seat.secrets(), seat.params])
        same = [own for own in owners if own.model == seat.model]
        assert not same or (seat.api_base, seat.secrets()) == (same[0].api_base, same[0].secrets())
        most = min([own.max_tokens for own in same if own.max_tokens] or [CAPS["max_tokens"]])
        assert max(seat.max_tokens or 0, seat.max_completion_tokens or 0) <= most
    params = order.params | order.params.get("extra_body", {})
    assert "client" not in repr(params)
    assert params.get("n", 1) <= CAPS["n"]
    most = 500 if strategy.final_seat.max_tokens == 500 else CAPS["max_tokens"]
    assert all(params.get(name, 1) <= most for name in ("max_tokens", "max_completion_tokens"))


def planned(strategy: Any) -> int:
    """The calls that a run of plain models makes; of a council inside, five."""
    cost = [5 if seat.is_composite else 1 for seat in strategy.all_seats()]
    if isinstance(strategy, lab.MoA):
        each = strategy.samples or (1 if strategy.proposers else 3)
        return strategy.layers * each * (sum(cost[:-1]) or cost[-1]) + cost[-1]
    members = sum(cost[: len(strategy.members)]) or 3 * cost[-1]
    return members + (sum(cost[len(strategy.members) : -1]) or members) * (1 + strategy.canary) + cost[-1]
