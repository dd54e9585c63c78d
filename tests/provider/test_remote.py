"""What a client of a proxy may set, and what its owner can allow. The proxy itself is in test_serving.py."""

from __future__ import annotations

from typing import Any

import pytest

import composite_lab as lab
from composite_lab.provider.remote import ALLOW_VARIABLE, check_client, client_options

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
