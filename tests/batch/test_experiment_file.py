"""Experiment files: what they say becomes the options of `compare`; each fault is told with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import composite_lab as lab
from composite_lab.batch.experiment_file import read_experiment
from composite_lab.strategies.single import Single
from composite_lab.testing import FakeServer

SECRET = "sk-very-secret-77aa"
SOUND = "strategies: {a: openai/a}\nprompts: ['Why?']\n"
REFUSED = {
    "no mapping": ("- a\n", r"line 1, the whole file: must be a mapping with `strategies` and `prompts`"),
    "no strategies": ("prompts: ['Why?']\n", r"line 1, strategies: Field required"),
    "empty strategies": ("strategies: {}\nprompts: ['Why?']\n", r"line 1, strategies: holds no strategy"),
    "no prompts": ("strategies: {a: openai/a}\n", r"line 1, prompts: Field required"),
    "unknown option": (
        SOUND + "repeat: 2\n",
        r"line 3, repeat: unknown option 'repeat': did you mean 'repeats'",
    ),
    "strategies as a list": (
        "strategies: [openai/a]\nprompts: [x]\n",
        r"line 1, strategies: must be a mapping",
    ),
    "a model without provider": (
        "strategies:\n  a: gpt\nprompts: [x]\n",
        # The second where other tests have registered profiles.
        r"line 2, strategies\.a: (?:'gpt' is no model|unknown profile 'gpt': known are .*) "
        r"\(models are written <provider>/<model>",
    ),
    "an unknown provider of LiteLLM's": (
        "strategies:\n  a: nosuch/gpt\nprompts: [x]\n",
        r"line 2, strategies\.a: LiteLLM knows no provider",
    ),
    "a misspelt profile": (
        "profiles:\n  panel: {strategy: moa, aggregator: openai/a}\nstrategies:\n  a: pannel\nprompts: [x]\n",
        r"line 4, strategies\.a: unknown profile 'pannel': did you mean 'panel'",
    ),
    "a fault in a profile": (
        "profiles:\n  p: {strategy: moa}\nstrategies: {a: p}\nprompts: [x]\n",
        r"line 2, profiles\.p\.aggregator: Field required",
    ),
    "a strategy that is a number": (
        "strategies: {a: 5}\nprompts: [x]\n",
        r"line 1, strategies\.a: must be a model",
    ),
    "a strategy without a kind": (
        "strategies:\n  a: {aggregator: openai/a}\nprompts: [x]\n",
        r"line 2, strategies\.a: must be a model, the name of a profile, or a mapping with `model`",
    ),
    "an unknown kind": (
        "strategies:\n  a: {strategy: mao}\nprompts: [x]\n",
        r"line 2, strategies\.a\.strategy: unknown strategy 'mao': did you mean 'moa'",
    ),
    "an unknown field of a seat": (
        "strategies:\n  a:\n    model: openai/a\n    temprature: 1\nprompts: [x]\n",
        r"line 4, strategies\.a\.temprature: unknown option 'temprature'",
    ),
    "a seat deep in a strategy": (
        "strategies:\n  a:\n    strategy: moa\n    aggregator: openai/a\n    proposers:\n      - openai/b\n"
        "      - nosuch/c\nprompts: [x]\n",
        r"line 7, strategies\.a\.proposers\[1\]: LiteLLM knows no provider",
    ),
    "a seat that is an unknown profile": (
        "strategies:\n  a:\n    strategy: moa\n    aggregator: composite/profile/nowhere\nprompts: [x]\n",
        r"line 4, strategies\.a\.aggregator: unknown profile 'nowhere'",
    ),
    "an unknown bundle": (
        "providers: {local: {}}\nstrategies: {a: {model: openai/a, provider: locl}}\nprompts: [x]\n",
        r"line 2, strategies\.a\.provider: unknown provider 'locl': did you mean 'local'",
    ),
    "a missing file of prompts": (
        "strategies: {a: openai/a}\nprompts: none.jsonl\n",
        r"line 2, prompts: '.*none\.jsonl' is no file of prompts",
    ),
    "a faulty prompt in a list": (
        "strategies: {a: openai/a}\nprompts:\n  - Why?\n  - {question: How}\n",
        r"line 4, prompts\[1\]: prompt 1 has neither `prompt` nor `messages`",
    ),
    "no prompt in a list": (
        "strategies: {a: openai/a}\nprompts: []\n",
        r"line 2, prompts: there are no prompts",
    ),
    "prompts of a wrong type": (
        "strategies: {a: openai/a}\nprompts: 5\n",
        r"line 2, prompts: must be the path",
    ),
    "an unknown scorer": (
        SOUND + "scorer: exact_mach\n",
        r"line 3, scorer: unknown scorer 'exact_mach': did you mean 'exact_match'",
    ),
    "an unknown scorer with options": (
        SOUND + "scorer:\n  scorer: exact_mach\n",
        r"line 4, scorer\.scorer: unknown scorer 'exact_mach'",
    ),
    "an unknown option of a scorer": (
        SOUND + "scorer:\n  scorer: numeric_match\n  tolerence: 1\n",
        r"line 5, scorer\.tolerence: unknown option 'tolerence': did you mean 'tolerance'",
    ),
    "a scorer that is no name": (
        SOUND + "scorer: 5\n",
        r"line 3, scorer: must be one of exact_match, .*pairwise_judge",
    ),
    "a judge without a rubric": (
        SOUND + "scorer: {scorer: rubric_judge, judge: openai/j}\n",
        r"line 3, scorer\.rubric: Field required",
    ),
    "a judge that nobody knows": (
        SOUND + "scorer:\n  scorer: pairwise_judge\n  judge: nosuch/j\n",
        r"line 5, scorer\.judge: LiteLLM knows no provider",
    ),
    "no JSON schema": (
        SOUND + "scorer: {scorer: json_schema, schema: {type: 5}}\n",
        r"line 3, scorer: .*is no JSON schema",
    ),
    "an unknown baseline": (SOUND + "baseline: b\n", r"line 3, baseline: unknown strategy 'b'"),
    "an unknown engine": (SOUND + "engine: threads\n", r"line 3, engine: engine is .*, not 'threads'"),
    "repeats that are no number": (
        SOUND + "repeats: two\n",
        r"line 3, repeats: .*valid integer.*given: 'two'",
    ),
    "no repeats": (SOUND + "repeats: 0\n", r"line 3, repeats: .*greater than or equal to 1"),
    "a negative cap": (SOUND + "max_cost_usd: -1\n", r"line 3, max_cost_usd: .*greater than or equal to 0"),
    "no places": (SOUND + "max_concurrency: 0\n", r"line 3, max_concurrency: "),
    "a cap without a price": (
        SOUND + "max_cost_usd: 1\n",
        r"line 1, strategies\.a: max_cost_usd needs to know what 'openai/a' costs",
    ),
    "a cap and a judge without a price": (
        "strategies: {a: openai/gpt-4o}\nprompts: [x]\nscorer: {scorer: pairwise_judge, judge: openai/j}\n"
        "max_cost_usd: 1\n",
        r"line 3, scorer\.judge: max_cost_usd needs to know",
    ),
    "an unknown parameter": (
        SOUND + "params:\n  temprature: 1\n",
        r"line 4, params\.temprature: unknown option 'temprature'",
    ),
    "a store in no folder": (SOUND + "store: nowhere/s.sqlite\n", r"line 3, store: .*there is no folder"),
    "a variable that is not set": (
        SOUND + "store: os.environ/NO_SUCH_VARIABLE\n",
        r"line 3, store: the environment variable 'NO_SUCH_VARIABLE'",
    ),
}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Writes an experiment file and gives its path."""

    def write_(text: str) -> Path:
        file = tmp_path / "experiment.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return write_


@pytest.mark.parametrize(("text", "says"), REFUSED.values(), ids=REFUSED)
def test_a_fault_is_told_with_file_line_and_key_path_and_nothing_is_called(
    write: Any, fake_openai: FakeServer, text: str, says: str
) -> None:
    file = write(text)
    with pytest.raises(lab.ConfigError, match=f"(?s)^{file}, {says}") as caught:
        read_experiment(file)
    assert all(line.startswith(f"{file}, line ") for line in str(caught.value).splitlines())
    assert fake_openai.stats().total == 0


def test_all_faults_of_the_values_are_told_at_once(write: Any) -> None:
    text = "strategies: {a: gpt, b: 5}\nprompts: none.csv\nscorer: nothing\nbaseline: z\nengine: threads\n"
    with pytest.raises(lab.ConfigError) as caught:
        read_experiment(write(text))
    told = str(caught.value)
    for place in ("strategies.a", "strategies.b", "prompts", "scorer", "baseline", "engine"):
        assert f" {place}: " in told


def test_a_file_becomes_the_options_of_compare(write: Any, tmp_path: Path) -> None:
    (tmp_path / "questions.csv").write_text("id,prompt,target\n007,Why?,because\n")
    options = read_experiment(
        write(
            "providers: {local: {api_base: 'http://127.0.0.1:9/v1', timeout_s: 7}}\n"
            "profiles: {of_this_test: {strategy: moa, aggregator: {model: openai/a, provider: local}}}\n"
            "strategies:\n"
            "  alone: openai/gpt-4o\n"
            "  seat: {model: openai/a, provider: local, temperature: 0.5}\n"
            "  panel: of_this_test\n"
            "  council: {strategy: council, chairman: openai/c, members: [composite/profile/of_this_test]}\n"
            "prompts: questions.csv\n"
            "scorer: {scorer: rubric_judge, judge: {model: openai/j, provider: local},\n"
            "  rubric: Kind, scale: [0, 9]}\n"
            "store: runs.sqlite\n"
            "repeats: 3\nmax_concurrency: 5\nbaseline: seat\nparams: {max_tokens: 9}\n"
        )
    )
    alone, seat, panel, council = options["strategies"].values()
    assert (type(alone), type(seat), type(panel), type(council)) == (Single, Single, lab.MoA, lab.Council)
    assert seat.final_seat == lab.Seat(
        model="openai/a", api_base="http://127.0.0.1:9/v1", timeout_s=7, temperature=0.5
    )
    assert panel == lab.profile("of_this_test")
    assert (options["prompts"][0].id, options["prompts"][0].target) == ("007", "because")
    assert options["scorer"].judge.timeout_s == 7
    assert options["scorer"].scale == (0, 9)
    assert options["store"].path == tmp_path / "runs.sqlite"
    plain = {"repeats": 3, "max_concurrency": 5, "baseline": "seat", "params": {"max_tokens": 9}}
    assert {name: options[name] for name in plain} == plain
    assert options["max_cost_usd"] is None


@pytest.mark.parametrize(
    ("scorer", "kind"),
    [
        ("exact_match", lab.ExactMatch),
        ("{scorer: regex, pattern: x}", lab.Regex),
        ("{scorer: json_schema, schema: {type: object}}", lab.JsonSchema),
        ("{scorer: pairwise_judge, judge: openai/j, criteria: Shorter.}", lab.PairwiseJudge),
    ],
)
def test_every_kind_of_scorer_can_be_written(write: Any, scorer: str, kind: type) -> None:
    assert isinstance(read_experiment(write(f"{SOUND}scorer: {scorer}\n"))["scorer"], kind)


def test_options_in_place_of_the_files_are_checked_like_it(write: Any, tmp_path: Path) -> None:
    file = write(SOUND + "repeats: 2\nmax_cost_usd: 5\nstore: in_file.sqlite\n")
    with pytest.raises(lab.ConfigError, match=r"line 1, strategies\.a: max_cost_usd needs to know"):
        read_experiment(write(SOUND), max_cost_usd=1.0)
    file.write_text("strategies: {a: openai/gpt-4o}\nprompts: [x]\nrepeats: 2\nstore: in_file.sqlite\n")
    options = read_experiment(file, repeats=4, store=str(tmp_path / "given.sqlite"))
    assert (options["repeats"], options["store"].path.name) == (4, "given.sqlite")
    assert not (tmp_path / "in_file.sqlite").exists()


@pytest.mark.parametrize("key", [SECRET, "os.environ/EXPERIMENT_TEST_KEY"])
@pytest.mark.parametrize(
    "text",
    [
        "providers: KEY\n" + SOUND,
        "strategies: {a: {model: openai/a, api_key: [KEY]}}\nprompts: [x]\n",
        "strategies: {a: openai/a}\nprompts: [x]\nscorer: {scorer: pairwise_judge, judge: {api_key: KEY}}\n",
        SOUND + "params: KEY\n",
    ],
)
def test_no_fault_repeats_a_key(write: Any, monkeypatch: pytest.MonkeyPatch, text: str, key: str) -> None:
    monkeypatch.setenv("EXPERIMENT_TEST_KEY", SECRET)
    with pytest.raises(lab.ConfigError) as caught:
        read_experiment(write(text.replace("KEY", key)))
    assert SECRET not in str(caught.value)
