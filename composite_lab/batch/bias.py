"""What sways the reviewers of a Council besides the answers: estimates over the ballots of many runs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from composite_lab.batch.ballot_pairs import (
    BallotPairs,
    Codes,
    Coefficient,
    Floats,
    ballot_pairs,
    coefficients,
    effective_runs,
)
from composite_lab.batch.stats import ALPHA
from composite_lab.errors import ConfigError

ENOUGH_RUNS = 20  # with fewer, a verdict would rest on a handful of questions
KEYS = ["trace_id", "reviewer", "candidate"]
COLUMNS = [
    *KEYS, "shown_position", "rank", "is_self", "answer_tokens", "reviewer_model", "answer_model", "status",
]  # fmt: skip


class _Effect(NamedTuple):
    """How an effect is called, counted and told."""

    unit: str
    positive: str
    negative: str
    subject: str
    absent: str
    remark: str = ""


EFFECTS = {
    "self_preference": _Effect(
        unit="share of equal rivals beaten, above one half: own answer against those of others",
        positive="reviewers favour their own answer",
        negative="reviewers rank their own answer lower",
        subject="self-preference",
        absent="no valid ballot ranks the reviewer's own answer",
    ),
    "position": _Effect(
        unit="share of equal rivals beaten, above one half: per position shown later",
        positive="answers shown later are favoured",
        negative="answers shown earlier are favoured",
        subject="effect of the position",
        absent="no valid ballot ranks two answers in known positions",
    ),
    "length": _Effect(
        unit="share of equal rivals beaten, above one half: per doubling of the answer's tokens",
        positive="longer answers are ranked higher",
        negative="longer answers are ranked lower",
        subject="effect of length",
        absent="no valid ballot ranks two answers of different, known length",
        remark="; length is not told from quality, so this alone shows no bias",
    ),
    "family": _Effect(
        unit="share of equal rivals beaten, above one half: answer of the own model family against others",
        positive="reviewers favour answers of their own model family",
        negative="reviewers rank answers of their own model family lower",
        subject="preference for the own model family",
        absent="no valid ballot ranks an answer of the reviewer's model family and one of another",
    ),
}
_PLACE = {effect: place for place, effect in enumerate(EFFECTS)}
_COMPARED = ["position", "self_preference", "family"]  # a collinear later one gives way to an earlier
_KIN = {"o": "gpt", "chatgpt": "gpt"}  # o3 and chatgpt-4o are of one maker and one line with gpt-4o


def bias(frame: pd.DataFrame, *, families: Mapping[str, str] | None = None) -> pd.DataFrame:
    """A row per effect of `EFFECTS` on the reviewers' rankings, with its 95 % interval and a verdict.

    `frame` has a row per run, reviewer and candidate with `COLUMNS`: the ballots of many traces, one
    below the other. `families` maps models to families; a model it lacks has that of `model_family`.

    The unit is the share of rivals beaten, above one half, where the rivals are equal but for the effect:
    0.1 is six wins to four. Estimates are of a linear model of paired comparisons with effects of order
    (Davidson and Beaver 1977), clustered by run. Self-preference, position and family compare reviewers
    of the same two answers (an effect for each pair in each run; on complete ballots that is the same as
    one for each answer and ballot), so the quality of answers does not matter; the taste of these very
    reviewers is part of them. Where too few reviewers share a pair, position is estimated over all
    ballots, for a Council's order is random. Length is the same for all reviewers and hence estimated
    over all ballots, where it also stands for quality. Self-preference is what goes beyond the family's,
    unless there is too little to tell the two apart.

    Only `valid` and `repaired` ballots count, and on them only what is ranked. `n_ballots` and `n_runs`
    count those that tell something of the effect. Below the worth of `ENOUGH_RUNS` equal runs, and where
    an effect is not identified, the numbers are NA and `verdict` says why. Runs are taken as independent
    and p-values are not adjusted for being several. Raises `ConfigError` for a frame that lacks columns
    or keys or has a row twice, and for `families` that name no model of the frame.
    """
    pairs = _pairs(_checked(frame), families)
    compared = _fits(pairs, _COMPARED, BallotPairs.within)
    rows = []
    for effect in EFFECTS:
        if effect == "length":
            rows.append(_row(effect, pairs, _as_they_are, _fits(pairs, ["length", *_COMPARED], _as_they_are)))
        elif effect == "position" and effect not in compared:
            found = _fits(pairs, ["position"], _as_they_are)
            remark = "; reviewers share too few pairs of answers, so this relies on a random order"
            rows.append(_row(effect, pairs, _as_they_are, found, remark))
        else:
            told_apart = effect != "self_preference" or "family" in compared or not _varies(pairs, "family")
            remark = "" if told_apart else "; what they give their model family is part of it"
            rows.append(_row(effect, pairs, BallotPairs.within, compared, remark))
    dtypes = {
        "effect": "string", "estimate": "Float64", "low": "Float64", "high": "Float64", "p_value": "Float64",
        "n_ballots": "Int64", "n_runs": "Int64", "unit": "string", "verdict": "string",
    }  # fmt: skip
    return pd.DataFrame(rows, columns=list(dtypes)).astype(dtypes)


def model_family(model: str) -> str:
    """The family of a model by its name: the letters that it begins with, without providers.

    `openai/gpt-4o-mini` is of `gpt`, `bedrock/anthropic.claude-haiku-4-5` of `claude`.
    """
    name = model.rsplit("/", 1)[-1].lower()
    stem = re.match(r"(?:[a-z-]+\.)*([a-z]+)", name)
    return _KIN.get(stem[1], stem[1]) if stem else name


def _checked(frame: pd.DataFrame) -> pd.DataFrame:
    """The ranked rows of usable ballots."""
    if not isinstance(frame, pd.DataFrame):
        raise ConfigError(f"frame must be a DataFrame of ballots, not {type(frame).__name__}")
    if missing := [column for column in COLUMNS if column not in frame.columns]:
        raise ConfigError(
            f"the frame of ballots lacks {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}. "
            "pd.concat(trace.ballots_df() for trace in traces) has all that is needed"
        )
    for key in KEYS:
        if unknown := int(frame[key].isna().sum()):
            raise ConfigError(f"{key} must be known in every row, but is missing in {unknown}")
    if (twice := frame.duplicated(KEYS)).any():
        run, reviewer, candidate = frame.loc[twice.to_numpy(), KEYS].iloc[0]
        raise ConfigError(
            f"each trace may be in the frame once, but {int(twice.sum())} rows repeat another's keys, "
            f"the first of them trace {run}, reviewer {reviewer}, candidate {candidate}"
        )
    ranked = frame["status"].isin(["valid", "repaired"]).astype(bool) & frame["rank"].notna()
    return frame.loc[ranked.to_numpy(), COLUMNS]


def _pairs(ballots: pd.DataFrame, families: Mapping[str, str] | None) -> BallotPairs:
    tokens = _floats(ballots, "answer_tokens")
    doublings = np.log2(np.where(tokens > 0, tokens, np.nan))
    covariates = {
        "self_preference": _floats(ballots, "is_self"),
        "position": _floats(ballots, "shown_position"),
        "length": doublings,
        "family": _same_family(ballots, families),
    }
    runs, reviewers, candidates = (_codes(ballots[key]) for key in KEYS)
    columns = np.column_stack([covariates[effect] for effect in EFFECTS])
    return ballot_pairs(runs, reviewers, candidates, _floats(ballots, "rank"), columns)


def _codes(keys: pd.Series[Any]) -> Codes:
    return pd.factorize(keys, sort=True)[0].astype(np.intp)


def _floats(ballots: pd.DataFrame, column: str) -> Floats:
    try:
        return ballots[column].to_numpy(dtype=np.float64, na_value=math.nan)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{column} must hold numbers or NA: {error}") from error


def _same_family(ballots: pd.DataFrame, families: Mapping[str, str] | None) -> Floats:
    """1 where reviewer's and answer's model are of one family, 0 where not, NaN where one is unknown."""
    if not isinstance(families, Mapping | None):
        raise ConfigError(f"families must map models to families, not be a {type(families).__name__}")
    both = pd.concat([ballots["reviewer_model"], ballots["answer_model"]], ignore_index=True)
    codes, found = pd.factorize(both)
    models = [str(model) for model in found]
    if families and models and families.keys().isdisjoint(models):
        raise ConfigError(
            f"families must name models as the frame does ({', '.join(sorted(models))}), "
            f"not only {', '.join(map(str, families))}"
        )
    names = [(families or {}).get(model, model_family(model)) for model in models]
    of = pd.factorize(np.array([*names, ""], dtype=object))[0]
    reviewers, answers = codes.reshape(2, -1)  # -1, an unknown model, leads to the last of `of`
    known = (reviewers >= 0) & (answers >= 0)
    return np.where(known, of[reviewers] == of[answers], np.nan)


_Change = Callable[[BallotPairs], BallotPairs]


def _as_they_are(pairs: BallotPairs) -> BallotPairs:
    """Without effects of pairs: an even chance is all that is taken off."""
    return BallotPairs(pairs.won - 0.5, pairs.differences, pairs.runs, pairs.ballots, pairs.contests)


def _fits(
    pairs: BallotPairs, effects: Sequence[str], change: _Change
) -> dict[str, tuple[Coefficient, int, int]]:
    """The effects that can be told, each with the numbers of its ballots and runs.

    An effect is taken in only if all that are in can then still be told from each other.
    """
    chosen: list[str] = []
    fitted = None
    for effect in effects:
        tried = [*chosen, effect]
        changed = change(pairs.known([_PLACE[one] for one in tried]))
        if (effective_runs(changed) >= ENOUGH_RUNS).all():
            chosen, fitted = tried, changed
    if fitted is None:
        return {}
    found = coefficients(fitted)
    return {effect: (found[at], *fitted.telling(at)) for at, effect in enumerate(chosen)}


def _varies(pairs: BallotPairs, effect: str) -> bool:
    return bool(pairs.known([_PLACE[effect]]).differences.any())


def _row(
    effect: str,
    pairs: BallotPairs,
    change: _Change,
    fits: Mapping[str, tuple[Coefficient, int, int]],
    remark: str = "",
) -> dict[str, Any]:
    unit = EFFECTS[effect].unit
    if effect in fits:
        found, n_ballots, n_runs = fits[effect]
        numbers = {name: None if math.isnan(value) else value for name, value in found._asdict().items()}
        text = _verdict(EFFECTS[effect], found) + EFFECTS[effect].remark + remark
    else:
        own = change(pairs.known([_PLACE[effect]]))
        n_ballots, n_runs = own.telling(0)
        numbers, text = {}, _refusal(effect, pairs, own)
    return {
        "effect": effect,
        **numbers,
        "n_ballots": n_ballots,
        "n_runs": n_runs,
        "unit": unit,
        "verdict": text,
    }


def _verdict(effect: _Effect, found: Coefficient) -> str:
    estimate, low, high, p_value = found
    between = "the same in every run" if math.isnan(low) else f"95 % interval {low:.3g} to {high:.3g}"
    if p_value < ALPHA:
        return f"{effect.positive if estimate > 0 else effect.negative} by {abs(estimate):.3g} ({between})"
    return f"no {effect.subject} shown ({between})"


def _refusal(effect: str, pairs: BallotPairs, own: BallotPairs) -> str:
    """Why an effect cannot be told: absent, the same for all reviewers, too few runs, or collinear."""
    if not _varies(pairs, effect):
        return f"not identified: {EFFECTS[effect].absent}"
    if not own.differences.any():
        return "not identified: no two reviewers of the same two answers differ in it"
    if (worth := float(effective_runs(own)[0])) < ENOUGH_RUNS:
        return f"too few runs to tell (worth about {math.floor(worth)} equal ones, {ENOUGH_RUNS} are needed)"
    return "not identified: it goes together with self-preference or position in nearly every run"
