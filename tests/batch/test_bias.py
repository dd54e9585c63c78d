"""Bias of reviewers: what simulated councils of known bias show, against plain regressions, and refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import t as student

from composite_lab.batch.bias import COLUMNS, EFFECTS, ENOUGH_RUNS, bias, model_family
from composite_lab.errors import ConfigError

STUDIES = 500  # of 2,500 the rates are 0.945 to 0.960; of so few, their error is 0.01
RUNS = 60
MANY = 20_000
MODELS = np.array(["openai/gpt-4o", "azure/gpt-4o-mini", "anthropic/claude-a", "vertex_ai/claude-b"])
NONE = dict.fromkeys(EFFECTS, 0.0)
PLANTED = {"self_preference": 0.6, "position": -0.2, "length": 0.25, "family": 0.4}  # in units of utility


def councils(
    seed: int, runs: int, members: int = 4, *, own: bool = True, planted: dict[str, float] = NONE
) -> pd.DataFrame:
    """Ballots of councils whose reviewers rank by quality, noise (Plackett-Luce) and the planted effects."""
    rng = np.random.default_rng(seed)
    shape = (runs, members, members)  # run, reviewer, candidate
    run, reviewer, candidate = np.indices(shape)
    is_self = reviewer == candidate
    absent = is_self & (not own)
    family = np.array([model_family(model) for model in MODELS])
    tokens = np.ceil(np.exp2(rng.normal(8, 1, (runs, 1, members)))) + np.zeros(shape)
    position = _places(np.where(absent, 2.0, rng.random(shape)))
    quality = rng.normal(np.linspace(-0.5, 0.5, members), 1, (runs, 1, members))
    utility = (
        quality
        + rng.gumbel(size=shape)
        + planted["self_preference"] * is_self
        + planted["position"] * position
        + planted["length"] * np.log2(tokens)
        + planted["family"] * (family[reviewer] == family[candidate])
    )
    cells = {
        "trace_id": run,
        "reviewer": reviewer,
        "candidate": candidate,
        "shown_position": position,
        "rank": _places(np.where(absent, np.inf, -utility)) + 1,
        "is_self": is_self,
        "answer_tokens": tokens.astype(int),
        "reviewer_model": MODELS[reviewer],
        "answer_model": MODELS[candidate],
    }
    frame = pd.DataFrame({name: values[~absent] for name, values in cells.items()}).assign(status="valid")
    dtypes = {"rank": "Int64", "is_self": "boolean", "answer_tokens": "Int64", "status": "string"}
    return frame.astype(dtypes)


def _places(values: NDArray[np.float64]) -> NDArray[np.intp]:
    return values.argsort(axis=2).argsort(axis=2)


def found_in(frame: pd.DataFrame, **options: dict[str, str]) -> pd.DataFrame:
    return bias(frame, **options).set_index("effect")


def studies(seed: int, members: int, *, own: bool, planted: dict[str, float]) -> dict[str, pd.DataFrame]:
    """For each effect that the first study tells, a row per study."""
    frame = councils(seed, STUDIES * RUNS, members, own=own, planted=planted)
    rows = pd.concat(bias(one) for _, one in frame.groupby(frame["trace_id"] // RUNS))
    return {str(effect): one.dropna() for effect, one in rows.groupby("effect") if len(one.dropna())}


@pytest.mark.parametrize(
    ("members", "own", "told"),
    [(4, True, set(EFFECTS)), (3, False, {"position", "length"})],
    ids=["everybody ranks all", "nobody ranks its own"],
)
def test_intervals_cover_planted_effects_at_their_rate(members: int, own: bool, told: set[str]) -> None:
    truth = found_in(councils(1, MANY, members, own=own, planted=PLANTED))["estimate"]
    found = studies(2, members, own=own, planted=PLANTED)
    assert found.keys() == told
    for effect, rows in found.items():
        assert truth[effect] * PLANTED[effect] > 0
        covered = ((rows["low"] <= truth[effect]) & (truth[effect] <= rows["high"])).mean()
        assert 0.93 <= covered <= 0.97, effect
        assert len(rows) > 0.95 * STUDIES


def test_without_bias_the_rate_of_false_alarms_is_five_percent() -> None:
    found = studies(3, 4, own=True, planted=NONE)
    assert found.keys() == EFFECTS.keys()
    for effect, rows in found.items():
        assert 0.03 <= (rows["p_value"] < 0.05).mean() <= 0.07, effect
        excluded = (rows["low"] > 0) | (rows["high"] < 0)
        assert (excluded == (rows["p_value"] < 0.05)).all()
        assert (rows["verdict"].str.startswith("no ") == ~excluded).all()


def test_effects_planted_alone_do_not_show_as_others() -> None:
    for effect in EFFECTS:
        frame = councils(4, MANY // 4, planted={**NONE, effect: PLANTED[effect]})
        estimates = found_in(frame)["estimate"].astype(float)
        others = estimates.drop(effect).abs()
        assert others.max() < 0.012 < abs(estimates[effect])


def test_self_preference_is_told_in_words_and_in_shares_of_rivals_beaten() -> None:
    row = found_in(councils(5, 300, planted={**NONE, "self_preference": 1.5})).loc["self_preference"]
    assert row["verdict"].startswith(
        f"reviewers favour their own answer by {row['estimate']:.3g} (95 % interval"
    )
    assert row["unit"].startswith("share of equal rivals beaten, above one half")
    assert 0.1 < row["low"] < row["estimate"] < row["high"] < 0.4
    assert (row["n_ballots"], row["n_runs"]) == (1200, 300)


def test_length_is_said_not_to_be_told_from_quality() -> None:
    verdict = found_in(councils(7, 200, planted=PLANTED)).at["length", "verdict"]
    assert verdict.startswith("longer answers are ranked higher by")
    assert verdict.endswith("length is not told from quality, so this alone shows no bias")


def test_a_preference_of_all_reviewers_for_one_model_is_no_bias() -> None:
    frame = councils(6, 400)
    frame["rank"] = frame["rank"].mask(frame["candidate"].eq(0), 0)
    assert (found_in(frame).loc[["self_preference", "family"], "p_value"] > 0.05).all()


def test_on_complete_ballots_it_is_the_regression_with_effects_of_answers_jackknifed_by_run() -> None:
    frame = councils(8, 24, planted=PLANTED)
    left_out = [_by_dummies(frame[frame["trace_id"] != run]) for run in range(24)]
    estimates = _by_dummies(frame)
    errors = np.sqrt(((np.array(left_out) - estimates) ** 2).sum(axis=0) * 23 / 24)
    found = found_in(frame).loc[["self_preference", "position", "family"]]
    np.testing.assert_allclose(found["estimate"].astype(float), estimates)
    reach = (found["high"] - found["low"]).astype(float) / 2 / errors
    assert reach["self_preference"] == pytest.approx(student.ppf(0.975, 23), rel=0.02)
    assert (reach < student.ppf(0.975, 17)).all()


def _by_dummies(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Shares of rivals beaten on the effects, with a dummy for each answer of each run."""
    size = 4
    # Times (n - 1) / n: an answer that gains on every rival also pushes the mean of its ballot.
    gained = ((size - frame["rank"].astype(float)) / (size - 1) - 0.5) * (size - 1) / size
    family = frame["reviewer_model"].map(model_family) == frame["answer_model"].map(model_family)
    effects = pd.DataFrame(
        {
            "self": frame["is_self"].astype(float),
            "position": frame["shown_position"],
            "family": family.astype(float),
        }
    )
    ballots = frame["trace_id"] * size + frame["reviewer"]
    centred = effects - effects.groupby(ballots).transform("mean")
    dummies = pd.get_dummies(frame["trace_id"] * size + frame["candidate"], dtype=float)
    design = np.column_stack([centred, dummies])
    return np.linalg.lstsq(design, gained, rcond=None)[0][:3]


def test_the_order_of_rows_and_further_columns_change_nothing() -> None:
    frame = councils(9, 50, planted=PLANTED)
    mixed = frame.sample(frac=1, random_state=1).assign(place=1)[[*COLUMNS[::-1], "place"]]
    pd.testing.assert_frame_equal(bias(mixed), bias(frame))


def test_reviewers_of_equal_numbers_in_other_runs_are_others() -> None:
    frame = councils(10, 50, planted=PLANTED)
    apart = frame.assign(
        trace_id="run-" + frame["trace_id"].astype(str).str.zfill(2),
        reviewer=frame["reviewer"] + 10 * frame["trace_id"],
        candidate=frame["candidate"] + 10 * frame["trace_id"],
    )
    pd.testing.assert_frame_equal(bias(apart), bias(frame))


def test_invalid_ballots_and_missing_ranks_count_for_nothing() -> None:
    frame = councils(11, 60, planted=PLANTED)
    invalid = frame["reviewer"].eq(3) & (frame["trace_id"] < 40)
    unranked = frame["candidate"].eq(1) & frame["trace_id"].eq(50)
    left = bias(frame[~invalid & ~unranked])
    frame["status"] = frame["status"].mask(invalid, "invalid")
    frame["rank"] = frame["rank"].mask(unranked, pd.NA)
    pd.testing.assert_frame_equal(bias(frame), left)
    frame["rank"] = frame["rank"].mask(invalid, pd.NA)
    frame["status"] = frame["status"].mask(invalid, pd.NA)
    pd.testing.assert_frame_equal(bias(frame), left)
    assert left["n_ballots"].max() == 60 * 4 - 40


def test_unknown_models_and_tokens_leave_the_other_effects() -> None:
    frame = councils(12, 60, planted=PLANTED).assign(reviewer_model=pd.NA, answer_tokens=pd.NA)
    found = found_in(frame)
    assert found["estimate"].notna().to_dict() == {
        "self_preference": True, "position": True, "length": False, "family": False,
    }  # fmt: skip


def test_without_self_review_self_preference_is_refused_and_family_told() -> None:
    found = found_in(councils(13, 100, own=False, planted=PLANTED))
    refused = found.loc["self_preference"]
    assert refused["verdict"] == "not identified: no valid ballot ranks the reviewer's own answer"
    assert refused[["estimate", "low", "high", "p_value"]].isna().all()
    assert (refused["n_ballots"], refused["n_runs"]) == (0, 0)
    assert found.at["family", "verdict"].startswith("reviewers favour answers of their own model family")


def test_three_members_share_no_pair_so_position_relies_on_the_random_order() -> None:
    found = found_in(councils(14, 400, 3, own=False, planted={**NONE, "position": -0.6}))
    assert found.at["position", "verdict"].startswith("answers shown earlier are favoured")
    assert found.at["position", "verdict"].endswith("this relies on a random order")
    assert found.at["family", "verdict"].endswith("no two reviewers of the same two answers differ in it")


def test_few_runs_are_refused_however_strong_the_effect() -> None:
    found = found_in(councils(15, ENOUGH_RUNS - 1, planted={**NONE, "self_preference": 50.0}))
    assert found["verdict"].str.startswith("too few runs to tell").all()
    assert found[["estimate", "low", "high", "p_value"]].isna().all(axis=None)
    assert found.at["self_preference", "n_runs"] == ENOUGH_RUNS - 1


def test_a_few_telling_runs_among_many_are_too_few() -> None:
    frame = councils(16, 100)
    frame["is_self"] = frame["is_self"] & (frame["trace_id"] < 5)
    row = found_in(frame).loc["self_preference"]
    assert row["verdict"] == "too few runs to tell (worth about 5 equal ones, 20 are needed)"
    assert (row["n_runs"], row["n_ballots"]) == (5, 20)


def test_one_reviewer_a_family_leaves_self_preference_with_the_familys_part() -> None:
    frame = councils(17, 100, planted=PLANTED)
    families = {str(model): f"maker {number}" for number, model in enumerate(MODELS)}
    found = found_in(frame, families=families)
    assert found.at["family", "verdict"].startswith("not identified: it goes together with self-preference")
    assert found.at["self_preference", "verdict"].endswith("what they give their model family is part of it")


def test_families_may_be_given_and_default_to_the_name_of_the_model() -> None:
    frame = councils(18, 60, planted=PLANTED)
    one = dict.fromkeys(map(str, MODELS), "one")
    assert (
        found_in(frame, families=one).at["family", "verdict"] == f"not identified: {EFFECTS['family'].absent}"
    )
    pd.testing.assert_frame_equal(bias(frame, families={"azure/gpt-4o-mini": "gpt"}), bias(frame))


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("openai/gpt-4o-mini", "gpt"),
        ("azure/o3-mini", "gpt"),
        ("claude-haiku-4-5", "claude"),
        ("bedrock/us.anthropic.claude-haiku-4-5-v1:0", "claude"),
        ("openrouter/google/gemini-1.5-pro", "gemini"),
        ("ollama/Llama3.1:8b", "llama"),
        ("local/7", "7"),
    ],
)
def test_a_models_family_is_how_its_name_begins(model: str, family: str) -> None:
    assert model_family(model) == family


def test_reviewers_who_all_do_the_same_leave_no_interval() -> None:
    frame = councils(19, 30, 3, own=False)
    found = found_in(frame.assign(rank=frame["shown_position"] + 1)).loc["position"]
    assert found["estimate"] == -0.5
    assert found[["low", "high"]].isna().all()
    assert found["p_value"] < 1e-4
    assert found["verdict"].startswith("answers shown earlier are favoured by 0.5 (the same in every run)")


def test_no_ballots_are_four_refusals() -> None:
    found = bias(councils(20, 1).iloc[:0])
    assert found["verdict"].str.startswith("not identified").all()
    pd.testing.assert_series_equal(found.dtypes, bias(councils(20, 30)).dtypes)


def test_missing_columns_are_named() -> None:
    with pytest.raises(ConfigError, match=r"lacks is_self, answer_tokens; it has trace_id, reviewer"):
        bias(councils(21, 1).drop(columns=["is_self", "answer_tokens"]))


def test_what_is_no_frame_of_ballots_is_refused() -> None:
    frame = councils(22, 2)
    with pytest.raises(ConfigError, match="must be a DataFrame of ballots, not list"):
        bias([frame])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="each trace may be in the frame once, but 32 rows repeat"):
        bias(pd.concat([frame, frame]))
    with pytest.raises(ConfigError, match="reviewer must be known in every row, but is missing in 16"):
        bias(frame.assign(reviewer=frame["reviewer"].mask(frame["trace_id"].eq(0))))
    with pytest.raises(ConfigError, match="rank must hold numbers or NA"):
        bias(frame.assign(rank="first"))


def test_families_that_name_no_model_of_the_frame_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"families must name models as the frame does \(anthropic/cl"):
        bias(councils(23, 2), families={"gpt-4o": "gpt"})
    with pytest.raises(ConfigError, match="families must map models to families, not be a str"):
        bias(councils(23, 2), families="gpt")  # type: ignore[arg-type]


def test_a_ballot_that_was_asked_for_again_counts_like_any_other() -> None:
    frame = councils(5, RUNS, planted=PLANTED)
    repaired = frame.assign(status=frame["status"].mask(frame["reviewer"] == 1, "repaired"))
    pd.testing.assert_frame_equal(bias(repaired), bias(frame))
