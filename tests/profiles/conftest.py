"""The example file over two fake servers, and files written for one test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import composite_lab as lab
from composite_lab.testing import FakeServer

EXAMPLE = Path(__file__).parents[2] / "data/fixtures/profiles.yaml"
Example = tuple[FakeServer, FakeServer]
Writer = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """Writes a profiles file and gives its path."""
    numbers = itertools.count(1)

    def write_(text: str) -> Path:
        file = tmp_path / f"profiles-{next(numbers)}.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return write_


@pytest.fixture(scope="module")
def second_server() -> Iterator[FakeServer]:
    with FakeServer.start() as server:
        yield server


@pytest.fixture
def example(
    fake_openai: FakeServer, second_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> tuple[FakeServer, FakeServer]:
    """The example file, loaded: its `local` is the first server, its `hosted` the second."""
    second_server.reset()
    monkeypatch.setenv("LOCAL_API_BASE", fake_openai.base_url)
    monkeypatch.setenv("LOCAL_API_KEY", "sk-local")
    monkeypatch.setenv("HOSTED_API_BASE", second_server.base_url)
    monkeypatch.setenv("HOSTED_API_KEY", "sk-hosted")
    assert lab.load_profiles(EXAMPLE) == ["fast", "careful"]
    return fake_openai, second_server
