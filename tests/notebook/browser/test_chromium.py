"""What the tests of this folder do where there is no Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebook.browser.chromium import PATH_VARIABLE, ChromiumMissing, chromium_path
from tests.notebook.browser.conftest import REQUIRE_VARIABLE, require_browser


@pytest.fixture
def without_chromium(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a browser."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(PATH_VARIABLE, raising=False)


@pytest.mark.usefixtures("without_chromium")
def test_without_a_browser_the_tests_skip_and_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REQUIRE_VARIABLE, raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"apt-get install chromium.*variable CHROMIUM"):
        require_browser()


@pytest.mark.usefixtures("without_chromium")
def test_a_missing_browser_is_a_failure_where_one_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRE_VARIABLE, "1")
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        require_browser()


def test_the_variable_names_another_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "my-chromium"
    monkeypatch.setenv(PATH_VARIABLE, str(other))
    with pytest.raises(ChromiumMissing, match=r"CHROMIUM=.*my-chromium is no program"):
        chromium_path()
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert chromium_path() == str(other)
