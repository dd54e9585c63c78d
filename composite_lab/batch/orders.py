"""Orders: what travels between a comparison and the workers that carry out its runs."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from composite_lab.batch.plan import Plan, Task
from composite_lab.batch.prompts import Prompt
from composite_lab.batch.rows import KeptAnswer, KeptRun
from composite_lab.errors import ConfigError
from composite_lab.profiles import profile, profile_names
from composite_lab.strategies.base import Strategy

Unit = list[Task]
"""All runs of one prompt and repeat. They stay together, because they share calls."""


@dataclass(frozen=True)
class Terms:
    """What a worker may do at the moment: how many calls at once, for how much (USD; None: no cap).

    `total_usd` is what the comparison has counted so far, as far as it has been told.
    """

    places: int
    total_usd: float
    max_cost_usd: float | None


@dataclass(frozen=True)
class Order:
    """A unit on its way to a worker, with the answers to its prompt that are in the store.

    `work` is the same in every order of a comparison: its `Work`, pickled. `counted` are the keys of the
    answers whose money the comparison has counted already.
    """

    comparison: str
    work: bytes
    terms: Terms
    errands: list[Errand]
    answers: list[KeptAnswer]
    counted: list[str]


@dataclass(frozen=True)
class Errand:
    """A task without what the worker has from `Work`."""

    name: str
    prompt: Prompt
    repeat: int
    key: str

    def task(self, work: Work) -> Task:
        """The whole task. The worker's store is empty, so it is never reused there."""
        return Task(
            self.name, work.strategies[self.name], self.prompt, self.repeat, self.key, False, work.params
        )


@dataclass(frozen=True)
class Work:
    """What all orders of a comparison have in common."""

    strategies: dict[str, Strategy]
    params: dict[str, Any]
    profiles: dict[str, Strategy]


@dataclass(frozen=True)
class Handed:
    """What a worker hands over, each thing once: answers it paid for, keys of the answers it counted."""

    answers: list[KeptAnswer] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Delivery:
    """How the runs of an order ended, in the order of its errands."""

    runs: list[KeptRun]
    handed: Handed


def units_of(plan: Plan) -> Iterator[Unit]:
    """The tasks of a plan, unit by unit. Prompts that say the same are in one unit."""
    first: dict[str, int] = {}
    for position, prompt in enumerate(plan.prompts):
        first.setdefault(prompt.scope, position)
    together = replace(plan, prompts=sorted(plan.prompts, key=lambda prompt: first[prompt.scope]))
    for _, tasks in groupby(together.tasks(), key=lambda task: (task.repeat, task.prompt.scope)):
        yield list(tasks)


def errand_of(task: Task) -> Errand:
    """What a worker has to know of a task; targets and further columns stay here."""
    return Errand(task.name, Prompt(task.prompt.id, task.prompt.messages), task.repeat, task.key)


def pack(plan: Plan) -> bytes:
    """The `Work` of a plan, pickled. Raises `ConfigError` that names what cannot be sent to a worker."""
    for name, strategy in plan.strategies.items():
        _pickled(strategy, f"strategy {name!r}")
    _pickled(plan.params, "params")
    named = any(seat.profile for strategy in plan.strategies.values() for seat in strategy.all_seats())
    profiles = {name: profile(name) for name in profile_names()} if named else {}
    for name, strategy in profiles.items():
        _pickled(strategy, f"profile {name!r}")
    return _pickled(Work(plan.strategies, plan.params, profiles), "the comparison")


def _pickled(thing: Any, what: str) -> bytes:
    # By value what was defined in a notebook or a script, which workers cannot import.
    import cloudpickle

    try:
        packed: bytes = cloudpickle.dumps(thing, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # whatever an object's own way of being pickled raises
        raise ConfigError(
            f"{what} cannot be sent to workers: {error}. What a tool_executor needs has to be made inside of "
            'it; engine="asyncio" sends nothing'
        ) from error
    return packed
