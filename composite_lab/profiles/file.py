"""Reading a profiles file: bundles of endpoint and key, and the strategies that use them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from composite_lab.errors import ConfigError
from composite_lab.profiles.clients import Clients
from composite_lab.profiles.document import Document, KeyPath
from composite_lab.profiles.references import check_seat
from composite_lab.seats import Frozen, Seat, describe, unknown_name
from composite_lab.strategies.base import Strategy
from composite_lab.strategies.council import Council
from composite_lab.strategies.moa import MoA
from composite_lab.strategies.rubric import Rubric, names_criteria

STRATEGIES: dict[str, type[Strategy]] = {MoA.kind: MoA, Council.kind: Council}
Configuration = TypeVar("Configuration", bound=Frozen)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SECTIONS = ("providers", "clients", "profiles")
NOT_IN_BUNDLES = ("model", "name")
BUNDLE_FIELDS = tuple(name for name in Seat.model_fields if name not in NOT_IN_BUNDLES)


def read_profiles(
    file: Path, *, beneath: Mapping[str, Strategy], above: Mapping[str, Strategy]
) -> tuple[dict[str, Strategy], Clients | None]:
    """The strategies in a YAML file, by name, and what it says of clients, if it does.

    Its profiles may refer to each other and to those `beneath` and `above`; a name that is also
    `above` means the one there. Raises `ConfigError` that names file, line and key path of every fault.
    """
    document = Document(file)
    document.check()
    sections = _sections(document)
    reader = Reader.with_providers(document, sections["providers"])
    said: Any = document.content
    clients = reader.build(Clients, sections["clients"], ("clients",)) if "clients" in said else None
    return reader.profiles(sections["profiles"], beneath=beneath, above=above), clients


def unfit_name(name: object) -> str:
    """The sentence about a name that `NAME` does not match."""
    return (
        f"{name!r} cannot be a profile's name: use letters, digits, '.', '_' and '-', first a letter or digit"
    )


def option_names(model: type[Frozen]) -> list[str]:
    """The options that can be written in a file; an object of the program, a function, cannot."""
    return [field.alias or name for name, field in model.model_fields.items() if not field.exclude]


def model_in(annotation: Any) -> type[Frozen] | None:
    """The class of configuration in a field's annotation: of a list of Seats it is Seat."""
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        return annotation
    return next(filter(None, map(model_in, get_args(annotation))), None)


def seats_in(strategy: Strategy) -> Iterator[tuple[KeyPath, Seat]]:
    """Every seat that a strategy states, with its place: `("proposers", 1)`."""
    for name, value in strategy:
        for index, seat in enumerate(value if isinstance(value, list | tuple) else [value]):
            if isinstance(seat, Seat):
                yield ((name,) if seat is value else (name, index)), seat


@dataclass(frozen=True)
class Reader:
    """Reads strategies and seats in a document. What is wrong with them becomes the document's faults."""

    document: Document
    bundles: dict[str, dict[str, Any]]

    @classmethod
    def with_providers(cls, document: Document, given: Mapping[str, Any]) -> Reader:
        """A reader that knows the bundles under `providers`. Raises `ConfigError` when one is faulty."""
        bundles = {name: _bundle(document, name, bundle) for name, bundle in given.items()}
        document.check()
        return cls(document, bundles)

    def profiles(
        self, given: Mapping[str, Any], *, beneath: Mapping[str, Strategy], above: Mapping[str, Strategy]
    ) -> dict[str, Strategy]:
        """What stands under `profiles`, as `read_profiles` gives it. Raises `ConfigError`."""
        read = {name: self._profile(name, options) for name, options in given.items()}
        self.document.check()
        profiles = {name: strategy for name, strategy in read.items() if strategy is not None}
        known = {**beneath, **profiles, **above}
        for name, strategy in profiles.items():
            for path, seat in seats_in(strategy):
                try:
                    check_seat(seat, known, (name,))
                except ConfigError as error:
                    self.document.fault(("profiles", name, *path), str(error))
        self.document.check()
        return profiles

    def _profile(self, name: str, given: Any) -> Strategy | None:
        if not NAME.fullmatch(name):
            self.document.fault(("profiles", name), unfit_name(name))
        return self.strategy(given, ("profiles", name))

    def strategy(self, given: Any, path: KeyPath) -> Strategy | None:
        """The strategy at a place, None when there is a fault in it."""
        if not isinstance(given, dict):
            self.document.fault(path, "must be a mapping with `strategy` and its options")
            return None
        kind = given.get("strategy")
        if not isinstance(kind, str) or kind not in STRATEGIES:
            known = " or ".join(STRATEGIES)
            told = unknown_name(kind, STRATEGIES, "strategy") if isinstance(kind, str) else f"use {known}"
            self.document.fault((*path, "strategy"), told)
            return None
        own = {option: value for option, value in given.items() if option != "strategy"}
        return self.build(STRATEGIES[kind], own, path)

    def build(self, model: type[Configuration], given: dict[str, Any], path: KeyPath) -> Configuration | None:
        """What a class of configuration makes of the options at a place, None when there is a fault."""
        options = self.options(model, given, path)
        try:
            return model(**options)
        except ConfigError as error:
            for where, sentence in _faults(error):
                self.document.fault((*path, *where), sentence)
        return None

    def options(self, model: type[Frozen], given: dict[str, Any], path: KeyPath) -> dict[str, Any]:
        """The options as the class takes them: unknown ones told and left out, bundles put in."""
        known = [*option_names(model), *(["provider"] if model is Seat else [])]
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        kept: dict[str, Any] = {}
        for name, value in given.items():
            if name in known:
                field = fields.get(name)
                below = model_in(field.annotation) if field else None
                kept[name] = self._nested(below, value, (*path, name)) if below else value
            elif name in fields:
                self.document.fault((*path, name), "can only be given in code, with register_profile")
            else:
                self.document.fault((*path, name), unknown_name(name, known))
        if "provider" not in kept:
            return kept
        return self._bundle_named(kept.pop("provider"), (*path, "provider")) | kept

    def _nested(self, model: type[Frozen], value: Any, path: KeyPath) -> Any:
        if isinstance(value, list):
            return [self._nested(model, item, (*path, index)) for index, item in enumerate(value)]
        if not isinstance(value, dict) or (model is Rubric and names_criteria(value)):
            return value
        return self.options(model, value, path)

    def _bundle_named(self, name: Any, path: KeyPath) -> dict[str, Any]:
        if isinstance(name, str) and name in self.bundles:
            return self.bundles[name]
        if not isinstance(name, str):
            self.document.fault(path, "must be the name of a bundle under `providers`")
        elif not self.bundles:
            self.document.fault(path, f"there is no provider {name!r}: the file has no `providers`")
        else:
            self.document.fault(path, unknown_name(name, self.bundles, "provider"))
        return {}


def _sections(document: Document) -> dict[str, dict[str, Any]]:
    content: Any = document.content
    if not isinstance(content, dict):
        document.fault((), "must be a mapping with `profiles` and, if you like, `providers` and `clients`")
        document.check()
    for name in content:
        if name not in SECTIONS:
            document.fault((name,), unknown_name(name, SECTIONS, "section"))
    if not content.get("profiles"):
        document.fault(("profiles",), "holds no profile: write `profiles: {fast: {strategy: moa, …}}`")
    for name in SECTIONS:
        if not isinstance(content.get(name) or {}, dict):
            document.fault((name,), "must be a mapping from names to their settings")
    document.check()
    return {name: content.get(name) or {} for name in SECTIONS}


def _bundle(document: Document, name: str, given: Any) -> dict[str, Any]:
    path: KeyPath = ("providers", name)
    if not isinstance(given, dict):  # not repeated: somebody may have put the key itself here
        document.fault(path, "must be a mapping, for example {api_base: …, api_key: os.environ/NAME}")
        return {}
    kept = {option: value for option, value in given.items() if option in BUNDLE_FIELDS}
    for option in given.keys() - kept.keys():
        document.fault((*path, option), unknown_name(option, BUNDLE_FIELDS))
    try:
        Seat(model="any/model", **kept)
    except ConfigError as error:
        for where, sentence in _faults(error):
            if where:  # what is wrong with all together is the seat's to say: it may state the rest
                document.fault((*path, *where), sentence)
    return kept


def _faults(error: ConfigError) -> Iterator[tuple[KeyPath, str]]:
    """The place and the sentence of each fault in options that were refused."""
    refused = error.__context__  # Frozen says it in its own words, and pydantic's stay behind them
    if not isinstance(refused, ValidationError):
        yield (), str(error)
        return
    for fault in refused.errors():
        below = fault.get("ctx", {}).get("error")
        if isinstance(below, ConfigError):
            for where, sentence in _faults(below):
                yield (*fault["loc"], *where), sentence
        else:
            yield fault["loc"], describe(fault)
