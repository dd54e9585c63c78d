"""Every test sees the fake server, real prices for fake models where it asks, and no network."""

from __future__ import annotations

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger

import composite_lab as lab
from composite_lab.testing import FakeServer

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


class CallbackLog(CustomLogger):
    """A LiteLLM callback as users write them: it keeps what it is told of each success."""

    def __init__(self) -> None:
        super().__init__()
        self.key = id(self)  # LiteLLM takes two loggers with equal attributes for one
        self.events: list[dict[str, Any]] = []

    async def async_log_success_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self.events.append(kwargs)

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.events.append(kwargs)

    def wait_for(self, count: int, **about: Any) -> list[dict[str, Any]]:
        """The events that have these entries, once there are `count` of them."""
        deadline = time.monotonic() + 15
        while True:
            found = [event for event in self.events if about.items() <= event.items()]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, f"{len(found)} of {count} events after 15 s"
            time.sleep(0.02)


@pytest.fixture
def callback_log(monkeypatch: pytest.MonkeyPatch) -> CallbackLog:
    """A callback that LiteLLM calls during this test."""
    log = CallbackLog()
    monkeypatch.setattr(litellm, "callbacks", [log])
    return log


@pytest.fixture
def no_litellm_cache() -> Iterator[None]:
    """Takes LiteLLM's cache away again after a test that set one."""
    yield
    litellm.cache = None
