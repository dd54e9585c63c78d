"""An experiment as a YAML file: what `compare` takes, with the profiles and providers it needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from composite_lab.batch.engines import engine_of
from composite_lab.batch.plan import strategy_of
from composite_lab.batch.prompts import Prompt, read_prompt, read_prompts
from composite_lab.batch.scoring import SCORERS, PairwiseJudge, RubricJudge, Scorer
from composite_lab.batch.store import Store
from composite_lab.errors import ConfigError, StoreError
from composite_lab.gateway.models import check_price
from composite_lab.profiles.document import Document, KeyPath
from composite_lab.profiles.file import Reader, seats_in
from composite_lab.profiles.registry import add_profiles
from composite_lab.seats import Frozen, Seat, unknown_name
from composite_lab.strategies.base import Strategy
from composite_lab.strategies.single import Single

JUDGES: dict[str, type[Scorer | PairwiseJudge]] = {**SCORERS, "pairwise_judge": PairwiseJudge}
"""Scorers by the names that a file may use."""
MAPPINGS = {
    "strategies": "a mapping from names to models, profiles or strategies",
    "providers": "a mapping from names to their settings",
    "profiles": "a mapping from names to strategies",
    "params": "a mapping from parameters of the final calls to values",
}
QUESTION = "?"
"""Stands for any prompt: whether a strategy can be asked does not depend on what it is asked."""


class Sections(Frozen):
    """What may stand in the file, besides what `MAPPINGS` says of the shape of some."""

    strategies: Any
    prompts: Any
    scorer: Any = None
    baseline: str | None = None
    params: Any = Field(default_factory=dict)
    repeats: int = Field(default=1, ge=1)
    store: str | None = None
    max_cost_usd: float | None = Field(default=None, ge=0)
    max_concurrency: int = Field(default=64, ge=1)
    engine: str = "asyncio"
    providers: Any = Field(default_factory=dict)
    profiles: Any = Field(default_factory=dict)


def read_experiment(file: Path, **instead: Any) -> dict[str, Any]:
    """The options that `compare` takes, from a YAML file; `instead` has those that replace the file's.

    Paths in the file are relative to it. Its profiles become those of this process. Raises `ConfigError`
    with file, line and key path of each fault, and `StoreError` for a store in `instead` that is no store.
    """
    document = Document(file)
    document.check()
    sections = _sections(document).model_copy(update=instead)
    reader = Reader.with_providers(document, sections.providers)
    if sections.profiles:
        add_profiles(lambda **known: reader.profiles(sections.profiles, **known))
    read = {name: _strategy(reader, name, given) for name, given in sections.strategies.items()}
    strategies = {name: strategy for name, strategy in read.items() if strategy is not None}
    scorer = _scorer(reader, sections.scorer)
    prompts = _prompts(document, sections.prompts)
    if sections.baseline is not None and sections.baseline not in sections.strategies:
        document.fault(("baseline",), unknown_name(sections.baseline, sections.strategies, "strategy"))
    try:
        engine = engine_of(sections.engine)
    except ConfigError as error:
        document.fault(("engine",), str(error))
    _check_models(document, strategies, scorer, capped=sections.max_cost_usd is not None)
    document.check()
    _check_asking(document, strategies, sections.params)
    document.check()
    return {
        "strategies": strategies,
        "prompts": prompts,
        "scorer": scorer,
        "store": _store(document, sections.store, instead),
        "engine": engine,
        **{name: getattr(sections, name) for name in ("baseline", "params", "repeats")},
        **{name: getattr(sections, name) for name in ("max_cost_usd", "max_concurrency")},
    }


def _sections(document: Document) -> Sections:
    content: Any = document.content
    if not isinstance(content, dict):
        document.fault((), "must be a mapping with `strategies` and `prompts`")
        document.check()
    given = {name: value for name, value in content.items() if value is not None}
    for name, shape in MAPPINGS.items():
        if not isinstance(given.get(name, {}), dict):  # not repeated: it may be a key
            document.fault((name,), f"must be {shape}")
    if given.get("strategies") == {}:
        document.fault(("strategies",), f"holds no strategy: it is {MAPPINGS['strategies']}")
    sections = Reader(document, {}).build(Sections, given, ())
    document.check()
    assert sections is not None
    return sections


def _strategy(reader: Reader, name: str, given: Any) -> Strategy | None:
    path: KeyPath = ("strategies", name)
    if isinstance(given, dict) and "strategy" in given:
        return reader.strategy(given, path)
    if isinstance(given, dict) and "model" in given:
        seat = reader.build(Seat, given, path)
        return None if seat is None else Single(model=seat)
    if not isinstance(given, str):
        forms = "a model, the name of a profile, or a mapping with `model` or with `strategy` and its options"
        reader.document.fault(path, f"must be {forms}")
        return None
    try:
        return strategy_of(given)
    except ConfigError as error:
        reader.document.fault(path, str(error))
        return None


def _scorer(reader: Reader, given: Any) -> Scorer | PairwiseJudge | None:
    if given is None:
        return None
    options = {"scorer": given} if isinstance(given, str) else given
    if not isinstance(options, dict) or not isinstance(options.get("scorer"), str):
        reader.document.fault(("scorer",), f"must be one of {', '.join(JUDGES)}, or {{scorer: …, options}}")
        return None
    if options["scorer"] not in JUDGES:
        reader.document.fault(("scorer", "scorer"), unknown_name(options["scorer"], JUDGES, "scorer"))
        return None
    own = {name: value for name, value in options.items() if name != "scorer"}
    return reader.build(JUDGES[options["scorer"]], own, ("scorer",))


def _prompts(document: Document, given: Any) -> list[Prompt]:
    read: list[Any] = []
    if isinstance(given, list):
        for position, row in enumerate(given):
            try:
                read.append(read_prompt(row, position))
            except ConfigError as error:
                document.fault(("prompts", position), str(error))
        if len(read) < len(given):
            return []
    elif not isinstance(given, str):
        document.fault(("prompts",), "must be the path of a .jsonl, .csv or .parquet file, or a list")
        return []
    try:
        return read_prompts(read if isinstance(given, list) else document.file.parent / given)
    except ConfigError as error:
        document.fault(("prompts",), str(error))
        return []


def _check_models(
    document: Document, strategies: Mapping[str, Strategy], scorer: Any, *, capped: bool
) -> None:
    """Note every seat that could not be called, and under a cap those without a price."""
    seats = [
        (("strategies", name, *place), seat)
        for name, strategy in strategies.items()
        for place, seat in seats_in(strategy)
    ]
    if isinstance(scorer, RubricJudge | PairwiseJudge) and isinstance(scorer.judge, Seat):
        seats.append((("scorer", "judge"), scorer.judge))
    for path, seat in seats:
        try:
            Single(model=seat).check(QUESTION)
            if capped and seat.plain_model is not None:
                check_price(seat)
        except ConfigError as error:
            document.fault(path, str(error))


def _check_asking(document: Document, strategies: Mapping[str, Strategy], params: dict[str, Any]) -> None:
    """Note every strategy that could not be asked, and every parameter that one does not take."""
    refused: dict[str, str] = {}
    for name, strategy in strategies.items():
        try:
            strategy.check(QUESTION)
        except ConfigError as error:
            document.fault(("strategies", name), str(error))
            continue
        for param, value in params.items():
            try:
                strategy.check(QUESTION, **{param: value})
            except ConfigError as error:
                refused.setdefault(param, str(error))
    for param, told in refused.items():
        document.fault(("params", param), told)


def _store(document: Document, given: str | None, instead: Mapping[str, Any]) -> Store | None:
    if given is None:
        return None
    if "store" in instead:
        return Store(given)
    try:
        return Store(document.file.parent / given)
    except StoreError as error:
        document.fault(("store",), str(error))
    document.check()
    return None
