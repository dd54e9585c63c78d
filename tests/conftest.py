"""Every test sees the fake server, real prices for fake models where it asks, and no network."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import litellm
import pytest

import composite_lab as lab
from composite_lab.testing import FakeServer

pytest_plugins = ["composite_lab.testing.plugin"]

SeatMaker = Callable[..., lab.Seat]


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    real_connect = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1"):
            raise AssertionError(f"a test tried to reach {address}")
        real_connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture
def endpoint(fake_openai: FakeServer) -> dict[str, str]:
    """The keywords that send a LiteLLM call to the fake server."""
    return {"api_base": fake_openai.base_url, "api_key": "sk-test"}


@pytest.fixture
def seat(endpoint: dict[str, str]) -> SeatMaker:
    """Makes a Seat on the fake server: `seat("a+latency=0.2", temperature=0.5)`."""

    def make(model: str, **options: Any) -> lab.Seat:
        return lab.Seat(model=f"openai/{model}", **{**endpoint, **options})

    return make


@pytest.fixture
def no_litellm_cache() -> Iterator[None]:
    """Takes LiteLLM's cache away again after a test that set one."""
    yield
    litellm.cache = None
