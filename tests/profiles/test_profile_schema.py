"""The JSON schema of profiles files, and the command that checks them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import jsonschema
import pytest

import composite_lab as lab
from composite_lab.profiles.document import Document
from tests.profiles.conftest import EXAMPLE, Example, Writer


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "composite_lab.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
    )


def errors_of(content: Any) -> list[str]:
    schema = lab.profiles_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return [error.json_path for error in jsonschema.Draft202012Validator(schema).iter_errors(content)]


def test_the_example_is_valid_by_the_schema_and_a_typo_is_not(example: Example) -> None:
    content = Document(EXAMPLE).content
    assert errors_of(content) == []
    for place, typo in (
        (content["profiles"]["fast"]["proposers"][0], "temprature"),
        (content["profiles"]["fast"], "aggregater"),
        (content["profiles"]["careful"]["prompts"], "reviw"),
        (content["providers"]["local"], "api_bse"),
        (content["providers"]["local"], "model"),
        (content, "profile"),
    ):
        place[typo] = "x"
        assert len(errors_of(content)) == 1, typo
        del place[typo]
    content["profiles"]["fast"]["timeout_s"] = "os.environ/TIMEOUT"
    assert errors_of(content) == []
    content["profiles"]["fast"]["timeout_s"] = "soon"
    assert errors_of(content) == ["$.profiles.fast"]


@pytest.mark.parametrize(
    "rubric",
    [
        ["correct", "clear"],
        {"correct": "Is it true?"},
        {"criteria": ["correct"], "scale": [1, 5]},
        {"criteria": {"correct": "Is it true?"}},
    ],
)
def test_a_file_may_write_a_rubric_in_each_of_its_forms(write: Writer, rubric: Any) -> None:
    content = {"profiles": {"p": {"strategy": "council", "chairman": "openai/a", "rubric": rubric}}}
    assert errors_of(content) == []
    lab.load_profiles(write(json.dumps(content)))
    profile = lab.profile("p")
    assert isinstance(profile, lab.Council)
    assert profile.rubric == lab.Council(chairman="openai/a", rubric=rubric).rubric
    content["profiles"]["p"]["rubric"] = 3
    assert len(errors_of(content)) == 1


@pytest.mark.parametrize("strategy", [lab.MoA, lab.Council])
def test_the_schema_knows_every_option_that_can_be_written(
    strategy: type[lab.MoA] | type[lab.Council],
) -> None:
    known = lab.profiles_schema()["$defs"][strategy.__name__]["properties"].keys()
    assert known == {*strategy.model_fields, "strategy"} - {"tool_executor"}


def test_the_command_line_checks_a_file_and_lists_its_profiles(
    example: Example,
) -> None:
    done = run("profiles", str(EXAMPLE))
    assert done.returncode == 0, done.stderr
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if "│" in line
    ]
    assert rows == [
        ["fast", "moa", "openai/qwen, openai/qwen, openai/writer"],
        ["careful", "council", "composite/profile/fast, judge, composite/profile/fast"],
    ]


def test_the_command_line_says_what_is_wrong_with_a_file(write: Writer) -> None:
    done = run("profiles", str(write("profiles:\n  p: {strategy: mao}\n")))
    assert done.returncode == 2
    assert "line 2, profiles.p.strategy" in done.stderr
    assert run("profiles").returncode == 2


def test_the_command_line_prints_the_schema() -> None:
    assert json.loads(run("profiles", "--schema").stdout) == lab.profiles_schema()
