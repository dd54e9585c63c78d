"""Files that are refused: whole, with file, line and key path, and without a key in the sentence."""

from __future__ import annotations

import pytest

import composite_lab as lab
from composite_lab.testing import FakeServer
from tests.profiles.conftest import Writer

SECRET = "sk-very-secret-5d41"
SOUND = "  sound: {strategy: moa, aggregator: openai/a}\n"
REFUSED = {
    "unknown option of a seat": (
        "profiles:\n  p:\n    strategy: moa\n    aggregator: openai/a\n    proposers:\n      - openai/b\n"
        "      - model: openai/c\n        temprature: 1\n",
        r"line 8, profiles\.p\.proposers\[1\]\.temprature: unknown option 'temprature': "
        r"did you mean 'temperature'",
    ),
    "unknown option of a strategy": (
        "profiles:\n  p:\n    strategy: moa\n    agregator: openai/a\n",
        r"line 4, profiles\.p\.agregator: unknown option 'agregator': did you mean 'aggregator'",
    ),
    "unknown prompt": (
        "profiles:\n  p:\n    strategy: moa\n    aggregator: openai/a\n    prompts: {agregate: x}\n",
        r"line 5, profiles\.p\.prompts\.agregate: unknown option 'agregate': did you mean 'aggregate'",
    ),
    "unknown section": ("profile:\n  p: {}\n", r"line 1, profile: unknown section .*did you mean 'profiles'"),
    "unknown field of a bundle": (
        "providers:\n  l: {api_bse: x}\nprofiles:\n" + SOUND,
        r"line 2, providers\.l\.api_bse: unknown option 'api_bse': did you mean 'api_base'",
    ),
    "model in a bundle": (
        "providers:\n  l: {model: openai/a}\nprofiles:\n" + SOUND,
        r"line 2, providers\.l\.model: unknown option 'model'",
    ),
    "wrong value in a bundle": (
        "providers:\n  l:\n    timeout_s: -1\nprofiles:\n" + SOUND,
        r"line 3, providers\.l\.timeout_s: .*greater than 0 \(given: -1\)",
    ),
    "half a price": (
        "providers:\n  l: {input_cost_per_token: 0.1}\nprofiles:\n  p:\n    strategy: moa\n"
        "    aggregator: {model: openai/a, provider: l}\n",
        r"line 6, profiles\.p\.aggregator: input_cost_per_token and output_cost_per_token go together",
    ),
    "wrong value in a seat": (
        "profiles:\n  p:\n    strategy: moa\n    aggregator:\n      model: openai/a\n      temperature: 9\n",
        r"line 6, profiles\.p\.aggregator\.temperature: .*less than or equal to 2 \(given: 9\)",
    ),
    "wrong type": (
        "profiles:\n  p:\n    strategy: moa\n    aggregator: openai/a\n    proposers: openai/b\n",
        r"line 5, profiles\.p\.proposers: .*Sequence.*given: 'openai/b'",
    ),
    "impossible together": (
        "profiles:\n  p: {strategy: moa, aggregator: openai/a, samples: 2, min_proposals: 5}\n",
        r"line 2, profiles\.p: min_proposals=5 can never be met",
    ),
    "no model": (
        "profiles:\n  p:\n    strategy: moa\n    aggregator: {temperature: 1}\n",
        r"line 4, profiles\.p\.aggregator\.model: Field required",
    ),
    "no final seat": (
        "profiles:\n  p: {strategy: moa}\n",
        r"line 2, profiles\.p\.aggregator: Field required",
    ),
    "no strategy": (
        "profiles:\n  p: {aggregator: a}\n",
        r"line 2, profiles\.p\.strategy: use moa or council",
    ),
    "unknown strategy": (
        "profiles:\n  p:\n    strategy: mao\n",
        r"line 3, profiles\.p\.strategy: unknown strategy 'mao': did you mean 'moa'",
    ),
    "unknown bundle": (
        "providers:\n  local: {}\nprofiles:\n  p:\n    strategy: moa\n"
        "    aggregator: {model: openai/a, provider: locl}\n",
        r"line 6, profiles\.p\.aggregator\.provider: unknown provider 'locl': did you mean 'local'",
    ),
    "no bundles": (
        "profiles:\n  p: {strategy: moa, aggregator: {model: openai/a, provider: local}}\n",
        r"aggregator\.provider: there is no provider 'local': the file has no `providers`",
    ),
    "only in code": (
        "profiles:\n  p: {strategy: moa, aggregator: openai/a, tool_executor: print}\n",
        r"line 2, profiles\.p\.tool_executor: can only be given in code",
    ),
    "unknown profile": (
        "profiles:\n" + SOUND + "  p:\n    strategy: council\n    chairman: openai/a\n    members:\n"
        "      - openai/m\n      - composite/profile/soound\n",
        r"line 8, profiles\.p\.members\[1\]: composite/profile/p refers to an unknown profile 'soound': "
        r"did you mean 'sound'\? Profiles come from register_profile",
    ),
    "circle": (
        "profiles:\n  a: {strategy: moa, aggregator: composite/profile/b}\n"
        "  b: {strategy: moa, aggregator: openai/x, proposers: [composite/moa/composite/profile/a]}\n",
        r"line 2, profiles\.a\.aggregator: .*in a circle: a -> b -> a; .*\n"
        r".*line 3, profiles\.b\.proposers\[0\]: .*b -> a -> b",
    ),
    "circle of one": (
        "profiles:\n  a: {strategy: moa, aggregator: composite/profile/a}\n",
        r"line 2, profiles\.a\.aggregator: .*in a circle: a -> a",
    ),
    "too deep": (
        "profiles:\n  a: {strategy: moa, aggregator: openai/x}\n"
        "  b: {strategy: moa, aggregator: composite/moa/composite/profile/a}\n"
        "  c: {strategy: moa, aggregator: composite/profile/b}\n",
        r"line 4, profiles\.c\.aggregator: .*nest 4 deep, and 3 is the most",
    ),
    "given twice": (
        "profiles:\n" + SOUND + "  p:\n    strategy: moa\n    aggregator: openai/a\n  p: {}\n",
        r"line 6, profiles\.p: is given twice, first on line 3",
    ),
    "bad name": (
        "profiles:\n  a b: {strategy: moa, aggregator: openai/a}\n",
        r"line 2, profiles\.a b: .*cannot be a profile's name",
    ),
    "number as a name": (
        "profiles:\n  4.1: {}\n",
        r"line 2, profiles\.4\.1: keys must be text: put '4\.1' in quotes",
    ),
    "missing variable": (
        "providers:\n  l:\n    api_key: os.environ/NOT_SET_ANYWHERE\nprofiles:\n" + SOUND,
        r"line 3, providers\.l\.api_key: the environment variable 'NOT_SET_ANYWHERE' is not set",
    ),
    "two faults": (
        "profiles:\n  p: {strategy: moa, aggregator: openai/a, layers: 0}\n  q: {strategy: council}\n",
        r"line 2, profiles\.p\.layers: .*\n.*line 3, profiles\.q\.chairman: Field required",
    ),
    "not YAML": ("profiles:\n  p: {strategy: moa\n", r"line 3: not valid YAML: "),
    "control character": ("profiles: \x07", "not valid YAML"),
    "two documents": ("profiles:\n" + SOUND + "---\n{}\n", "line 3: not valid YAML"),
    "object of Python": (
        "profiles:\n  p: !!python/object/apply:os.system [exit]\n",
        r"line 2, profiles\.p: has a tag: only plain",
    ),
    "circle of aliases": ("profiles: &p\n  a: *p\n", r"line 2, profiles\.a: contains itself"),
    "no number": ("profiles:\n  p: !!int many\n", r"line 2, profiles\.p: is marked as int and is none"),
    "a list": ("- fast\n", "line 1, the whole file: must be a mapping"),
    "nothing": ("", "line 1, the whole file: must be a mapping"),
    "no profiles": ("providers: {}\n", r"line 1, profiles: holds no profile"),
    "text as profiles": ("profiles: fast\n", r"line 1, profiles: must be a mapping from names"),
    "text as a profile": (
        "profiles:\n  p: fast\n",
        r"line 2, profiles\.p: must be a mapping with `strategy`",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_faulty_file_is_refused_whole_with_line_and_path(
    fake_openai: FakeServer, write: Writer, case: str
) -> None:
    text, says = REFUSED[case]
    file = write(text)
    before = lab.profile_names()
    with pytest.raises(lab.ConfigError, match=f"(?s)^{file}(, |: ).*{says}") as caught:
        lab.load_profiles(file)
    assert all(line.startswith(str(file)) for line in str(caught.value).splitlines())
    assert lab.profile_names() == before
    assert fake_openai.stats().total == 0


@pytest.mark.parametrize("path", ["/no/such/profiles.yaml", "/"])
def test_a_file_that_cannot_be_read_is_named(path: str) -> None:
    with pytest.raises(lab.ConfigError, match=f"^{path} cannot be read: .*; give the path of a YAML file"):
        lab.load_profiles(path)


@pytest.mark.parametrize("key", [SECRET, "os.environ/PROFILES_TEST_KEY"])
@pytest.mark.parametrize(
    "text",
    [
        "providers: {l: KEY}\nprofiles:\n" + SOUND,
        "providers: {l: {api_key: [KEY]}}\nprofiles:\n" + SOUND,
        "providers: {l: {api_kye: KEY}}\nprofiles:\n" + SOUND,
        "providers: {l: {extra_headers: KEY, credentials: {a: 1}}}\nprofiles:\n" + SOUND,
        "providers: {l: {api_key: KEY}}\nprofiles: {p: {strategy: moa, proposers: {api_key: KEY}}}\n",
        "profiles: {p: {strategy: moa, aggregator: {api_key: KEY}}}\n",
        "profiles: {p: {strategy: moa, aggregator: openai/a, proposers: [[{api_key: KEY}]]}}\n",
        "profiles: {p: {strategy: moa, aggregator: {model: openai/a, params: {api_key: KEY}}}}\n",
        "providers: {l: {api_key: *KEY}}\n",
        "providers: {l: {api_key: 'KEY}}\n",
        "providers: {l: {api_key: !KEY x}}\n",
    ],
)  # fmt: skip
def test_no_error_repeats_a_key(write: Writer, monkeypatch: pytest.MonkeyPatch, text: str, key: str) -> None:
    monkeypatch.setenv("PROFILES_TEST_KEY", SECRET)
    with pytest.raises(lab.ConfigError) as caught:
        lab.load_profiles(write(text.replace("KEY", key)))
    assert SECRET not in str(caught.value)


def test_a_variable_in_the_wrong_place_is_not_repeated(
    write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = f"{SECRET}\nof 'two' lines"
    monkeypatch.setenv("PROFILES_TEST_KEY", secret)
    option = "temperature: os.environ/PROFILES_TEST_KEY"
    text = f"profiles: {{p: {{strategy: moa, aggregator: {{model: openai/a, {option}}}}}}}"
    with pytest.raises(lab.ConfigError, match=r"aggregator\.temperature: .*\[redacted\]") as caught:
        lab.load_profiles(write(text))
    assert SECRET not in str(caught.value)
