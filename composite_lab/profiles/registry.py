"""The profiles of this process: registered in code, or loaded from files."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from composite_lab.errors import ConfigError
from composite_lab.profiles.clients import Clients
from composite_lab.profiles.file import NAME, read_profiles, unfit_name
from composite_lab.profiles.references import ENVIRONMENT_VARIABLE, check_seat, lookup
from composite_lab.strategies.base import CHECKS, Strategy

ProfileReader = Callable[..., dict[str, Strategy]]
"""Reads profiles that may refer to those `beneath` and `above`, which it is given by these names."""
FileReader = Callable[..., tuple[dict[str, Strategy], Clients | None]]
"""The same, and what is said of clients."""


def register_profile(name: str, strategy: Strategy) -> None:
    """Give a strategy a name: it is then the model `composite/profile/<name>`.

    Replaces what had that name; what a file says under it stays unused. Raises `ConfigError` on a name
    or an object that cannot be a profile. Profiles that it refers to may be registered later.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(unfit_name(name))
    if not isinstance(strategy, Strategy):
        raise ConfigError(f"a profile is a strategy, MoA(…) or Council(…), not {type(strategy).__name__}")
    _registry.add({name: strategy})


def load_profiles(path: str | os.PathLike[str]) -> list[str]:
    """Load the profiles of a YAML file, all or none, and get their names.

    They replace those of the same names from earlier files. Raises `ConfigError` with file, line and
    key path of each fault.
    """
    return _registry.load(partial(read_profiles, Path(path).expanduser()))


def add_profiles(read: ProfileReader) -> list[str]:
    """Load the profiles that `read(beneath=…, above=…)` gives, as those of a file, and get their names."""
    return _registry.load(lambda **known: (read(**known), None))


def profile(name: str) -> Strategy:
    """The strategy of that name, with all profiles it refers to in order.

    The first lookup loads the file that `COMPOSITE_LAB_PROFILES` names. Raises `ConfigError` when there
    is no such profile, or it refers to an unknown one, to itself, or nests too deep.
    """
    known = _registry.known()
    strategy = lookup(name, known)
    for seat in strategy.all_seats():
        check_seat(seat, known, (name,))
    return strategy


def profile_names() -> list[str]:
    """The names of all profiles, sorted. Raises `ConfigError` as `profile` does for the file."""
    return sorted(_registry.known())


def client_rules() -> Clients:
    """What the files say of a proxy's clients; of several the last one that says something."""
    _registry.known()
    return _registry.clients


@dataclass
class _Registry:
    lock: threading.RLock = field(default_factory=threading.RLock)
    from_code: dict[str, Strategy] = field(default_factory=dict)
    from_files: dict[str, Strategy] = field(default_factory=dict)
    default_file: str = ""
    clients: Clients = field(default_factory=Clients)

    def add(self, strategies: Mapping[str, Strategy]) -> None:
        with self.lock:
            self.from_code.update(strategies)

    def load(self, read: FileReader) -> list[str]:
        with self.lock:
            self._load_default()
            return self._take(read)

    def known(self) -> dict[str, Strategy]:
        with self.lock:
            self._load_default()
            return self.from_files | self.from_code

    def _take(self, read: FileReader) -> list[str]:
        profiles, clients = read(beneath=self.from_files, above=self.from_code)
        self.from_files.update(profiles)
        self.clients = clients or self.clients
        return list(profiles)

    def _load_default(self) -> None:
        named = os.environ.get(ENVIRONMENT_VARIABLE, "")
        if not named or named == self.default_file:
            return
        try:
            self._take(partial(read_profiles, Path(named).expanduser()))
        except ConfigError as error:
            raise ConfigError(f"{ENVIRONMENT_VARIABLE} names a file that cannot be used: {error}") from None
        self.default_file = named


_registry = _Registry()


def _check_references(strategy: Strategy) -> None:
    """Raise `ConfigError` before a run if one of its seats is a profile that cannot work."""
    seats = [seat for seat in strategy.all_seats() if seat.profile is not None]
    known = _registry.known() if seats else {}
    for seat in seats:
        check_seat(seat, known)


CHECKS.append(_check_references)
