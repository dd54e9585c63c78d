"""A plain HTTP client for the tests of the fake server: it shows what travels, unlike an SDK."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import composite_lab.testing
from composite_lab.testing import FakeServer


@dataclass(frozen=True)
class HttpAnswer:
    """One HTTP answer, read to its end."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        """The body, which must be JSON."""
        return json.loads(self.raw)

    @property
    def message(self) -> Any:
        """The message of the first choice."""
        assert self.status == 200, self.raw
        return self.json["choices"][0]["message"]

    @property
    def content(self) -> str:
        """The content of the first choice."""
        text: str = self.message["content"]
        return text

    @property
    def events(self) -> list[Any]:
        """The JSON events of a stream, which must end in `[DONE]`."""
        *events, done, rest = self.raw.decode().split("\n\n")
        assert (done, rest) == ("data: [DONE]", "")
        assert all(event.startswith("data: ") for event in events)
        return [json.loads(event.removeprefix("data: ")) for event in events]


class Chat:
    """Posts chat requests, each over a new connection."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server

    def __call__(
        self,
        model: str,
        prompt: Any = "Why is the sky blue?",
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> HttpAnswer:
        """Post a request; the prompt is a text, a list of parts or a whole list of messages."""
        is_conversation = isinstance(prompt, list) and prompt and "role" in prompt[0]
        messages = prompt if is_conversation else [{"role": "user", "content": prompt}]
        return self.send({"model": model, "messages": messages, **body}, headers)

    def send(
        self, body: Any, headers: dict[str, str] | None = None, path: str = "/v1/chat/completions"
    ) -> HttpAnswer:
        """Post any JSON body, or bytes as they are."""
        connection = self.connect()
        try:
            connection.request(
                "POST", path, body if isinstance(body, bytes) else json.dumps(body), headers or {}
            )
            answer = connection.getresponse()
            return HttpAnswer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection to the server."""
        return http.client.HTTPConnection(urlsplit(self.server.base_url).netloc, timeout=30)

    def begin(self, model: str, **body: Any) -> http.client.HTTPConnection:
        """Send a request and return its connection without waiting for an answer."""
        connection = self.connect()
        messages = [{"role": "user", "content": "Are you there?"}]
        connection.request(
            "POST", "/v1/chat/completions", json.dumps({"model": model, "messages": messages, **body})
        )
        return connection


@pytest.fixture(scope="session")
def light_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory from which composite_lab.testing is imported without the rest of the package.

    Processes started there need not load LiteLLM, which would take most of these tests' time.
    """
    root = tmp_path_factory.mktemp("light")
    (root / "composite_lab").mkdir()
    real = Path(composite_lab.testing.__file__).parents[1]
    (root / "composite_lab" / "__init__.py").write_text(f"__path__ = [{str(real)!r}]\n")
    return root


@pytest.fixture
def chat(fake_openai: FakeServer) -> Chat:
    """A client of the server, with nothing recorded."""
    return Chat(fake_openai)
