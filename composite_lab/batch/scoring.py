"""Scorers by rule or by a function of the user's, and what may be written for one."""

from __future__ import annotations

import inspect
import math
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, Field, model_validator

from composite_lab.batch.judges import PairwiseJudge, Preference, RubricJudge
from composite_lab.batch.numerals import last_number, on_one_scale
from composite_lab.batch.scores import ABSTAINED, Ask, Row, Score, Scorer, read_json, short
from composite_lab.errors import ConfigError
from composite_lab.seats import unknown_name
from composite_lab.strategies.verdict import stated_choice

__all__ = [
    "ABSTAINED",
    "SCORERS",
    "Ask",
    "Contains",
    "ExactMatch",
    "FunctionScorer",
    "JsonSchema",
    "NumericMatch",
    "PairwiseJudge",
    "Preference",
    "Regex",
    "RubricJudge",
    "Score",
    "Scorer",
    "as_scorer",
]


class _Rule(Scorer):
    """A scorer that needs no model. Called like a function it gives the score at once."""

    @abstractmethod
    def __call__(self, text: str, /, *target_and_row: Any) -> Score | bool:
        """The score of an answer. Raises `ValueError` when the target cannot be compared with."""

    async def _measure(self, text: str, target: Any, row: Row, *_: Any) -> Any:
        return self(text, target, row)


class ExactMatch(_Rule):
    """1 when the answer is the target, or one of a list of targets, else 0.

    Of an answer that closes with a verdict line, as a Council's with `verdict` does, the choice alone may be
    the target as well.
    """

    kind: ClassVar[str] = "exact_match"
    ignore_case: bool = True
    strip: bool = True
    ignore_punctuation: bool = False

    def __call__(self, text: str, target: Any = None, *_: Any) -> bool:
        said = {self._plain(text), self._plain(stated_choice(text) or text)}
        return not said.isdisjoint(map(self._plain, _accepted(target)))

    def _plain(self, text: str) -> str:
        text = re.sub(r"[^\w\s]", "", text) if self.ignore_punctuation else text
        text = text.strip() if self.strip else text
        return text.casefold() if self.ignore_case else text


class NumericMatch(_Rule):
    """1 when the number that the answer ends with is the target, give or take `tolerance`, else 0.

    The last `\\boxed{…}` and the last "answer: …", "verdict: …" or "#### …" go before the last number
    anywhere. Commas, apostrophes and narrow spaces separate thousands, the point decimals; 1.5e3,
    1.5*10^3, 3/4 and 75% are numbers, and 75% equals both 75 and 0.75 where the other side has no percent
    sign.
    """

    kind: ClassVar[str] = "numeric_match"
    tolerance: float = Field(default=0.0, ge=0)
    relative_tolerance: float = Field(default=1e-9, ge=0)

    def __call__(self, text: str, target: Any = None, *_: Any) -> Score | bool:
        wanted = [found for accepted in _accepted(target) if (found := last_number(accepted))]
        if not wanted:
            raise ValueError(f"the target {target!r} has no number")
        if not (found := last_number(text)):
            return Score(0.0, "no number in the answer")
        return any(self._equal(*pair) for want in wanted for pair in on_one_scale(found, want))

    def _equal(self, found: float, wanted: float) -> bool:
        return math.isclose(found, wanted, rel_tol=self.relative_tolerance, abs_tol=self.tolerance)


class Contains(_Rule):
    """1 when the target, or one of a list of targets, stands somewhere in the answer, else 0."""

    kind: ClassVar[str] = "contains"
    ignore_case: bool = True
    whole_words: bool = False

    def __call__(self, text: str, target: Any = None, *_: Any) -> bool:
        edges = (r"(?<!\w)", r"(?!\w)") if self.whole_words else ("", "")
        flags = re.IGNORECASE if self.ignore_case else 0
        return any(re.search(re.escape(each).join(edges), text, flags) for each in _accepted(target))


class Regex(_Rule):
    """1 when the pattern is found in the answer, else 0; the target does not matter."""

    kind: ClassVar[str] = "regex"
    pattern: str
    ignore_case: bool = False

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern is no regular expression: {error}") from None
        return self

    def __call__(self, text: str, *_: Any) -> bool:
        return re.search(self.pattern, text, re.IGNORECASE if self.ignore_case else 0) is not None


class JsonSchema(_Rule):
    """1 when the answer, or its last fenced block, is JSON that the schema allows, else 0 and why."""

    model_config = ConfigDict(populate_by_name=True)
    kind: ClassVar[str] = "json_schema"
    schema_: dict[str, Any] = Field(alias="schema")  # pydantic keeps the plain name for itself

    @model_validator(mode="after")
    def _is_a_schema(self) -> Self:
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for

        try:
            validator_for(self.schema_).check_schema(self.schema_)
        except SchemaError as error:
            raise ValueError(f"schema is no JSON schema: {error.message}") from None
        return self

    def __call__(self, text: str, *_: Any) -> Score:
        from jsonschema.exceptions import best_match
        from jsonschema.validators import validator_for
        from referencing import Registry

        try:
            answer = read_json(text)
        except ValueError as fault:
            return Score(0.0, str(fault))
        validator = validator_for(self.schema_)(
            self.schema_, registry=Registry()
        )  # that fetches no references
        wrong = best_match(validator.iter_errors(answer))
        return Score(1.0) if wrong is None else Score(0.0, short(f"{wrong.json_path}: {wrong.message}"))


class FunctionScorer(Scorer):
    """A function `(text, target, row)` of the user's, plain or async, as a scorer.

    It returns a number, a bool or, to abstain, None or NaN. A plain one runs on the loop's thread.
    """

    kind: ClassVar[str] = "function"
    function: Callable[..., Any] = Field(exclude=True)

    def identity(self) -> dict[str, Any]:
        """The function's name. Not its code: do not keep its scores over an edit."""
        named = self.function if hasattr(self.function, "__qualname__") else type(self.function)
        return {"scorer": self.kind, "function": f"{named.__module__}.{named.__qualname__}"}

    async def _measure(self, text: str, target: Any, row: Row, *_: Any) -> Any:
        found = self.function(text, target, row)
        return await found if inspect.isawaitable(found) else found


SCORERS: dict[str, type[Scorer]] = {
    scorer.kind: scorer for scorer in (ExactMatch, NumericMatch, Contains, Regex, JsonSchema, RubricJudge)
}
"""Scorers by the name that `as_scorer` knows them by."""


def as_scorer(what: Any) -> Scorer:
    """A scorer from what a caller may write for one.

    That is a scorer or its class, a name ("exact_match"), a mapping of a name and options
    (`{"scorer": "numeric_match", "tolerance": 0.5}`), or a function `(text, target, row)`, plain or async.
    Raises `ConfigError` on anything else.
    """
    if isinstance(what, Scorer):
        return what
    if isinstance(what, str | Mapping):
        options = {"scorer": what} if isinstance(what, str) else dict(what)
        name = options.pop("scorer", None)
        if name not in SCORERS:
            raise ConfigError(unknown_name(str(name), SCORERS, "scorer"))
        return SCORERS[name](**options)
    if isinstance(what, type) and issubclass(what, Scorer):
        return what()
    if isinstance(what, PairwiseJudge):
        raise ConfigError("a PairwiseJudge compares two answers and scores none: use a RubricJudge")
    if not callable(what):
        raise ConfigError(f"a scorer is a name, a scorer or a function (text, target, row), not {what!r}")
    try:
        inspect.signature(what).bind("", None, {})
    except TypeError as error:
        raise ConfigError(f"a scorer is called as (text, target, row), and {what!r}: {error}") from None
    except ValueError:  # a builtin that does not tell
        pass
    return FunctionScorer(function=what)


def _accepted(target: Any) -> list[str]:
    accepted = list(target) if isinstance(target, list | tuple | set | frozenset) else [target]
    if not accepted or None in accepted:
        raise ValueError("there is no target to compare with")
    return [str(each) for each in accepted]
