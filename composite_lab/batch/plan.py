"""Plan: which strategy is asked which prompt how often, checked before anything is paid for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from composite_lab.batch.prompts import Prompt, Prompts, read_prompts
from composite_lab.errors import ConfigError
from composite_lab.gateway import provider_of, recordable
from composite_lab.gateway.memory import KEY_VERSION, digest
from composite_lab.gateway.models import check_price
from composite_lab.profiles import profile, profile_names
from composite_lab.seats import COMPOSITE_PREFIX, Seat, unknown_name
from composite_lab.strategies.base import Strategy
from composite_lab.strategies.single import Single

LIMITS = {"timeout_s", "max_cost_usd", "max_concurrency", "retries", "call_timeout_s", "max_reply_chars"}
"""Options that bound a run and do not change what it answers."""

StrategyLike = Strategy | Seat | str | Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """One run: a strategy, a prompt, which repeat. `key` names it in the store.

    A task that is not `reusable` depends on what no key can hold, a tool's results or a profile's content:
    it is carried out each time, from the answers in the store.
    """

    name: str
    strategy: Strategy
    prompt: Prompt
    repeat: int
    key: str
    reusable: bool
    params: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """The whole of a comparison. Its tasks come prompt by prompt, so that strategies can share calls."""

    strategies: dict[str, Strategy]
    prompts: list[Prompt]
    repeats: int
    params: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        strategies: Mapping[str, StrategyLike],
        prompts: Prompts,
        repeats: int = 1,
        params: Mapping[str, Any] | None = None,
        *,
        capped: bool = False,
    ) -> Plan:
        """A plan whose every run could be asked. Raises `ConfigError` for one that could not.

        With `capped` every model must have a price.
        """
        if not isinstance(strategies, Mapping) or not strategies:
            raise ConfigError('strategies are given by name: {"single": "openai/gpt-4o", "moa": MoA(…)}')
        if repeats < 1:
            raise ConfigError(f"repeats must be at least 1, not {repeats}")
        named: dict[str, Strategy] = {}
        for name, given in strategies.items():
            try:
                named[str(name)] = strategy_of(given)
            except ConfigError as error:
                raise ConfigError(f"strategy {name!r}: {error}") from None
        plan = cls(named, read_prompts(prompts), repeats, dict(params or {}))
        for name, strategy in plan.strategies.items():
            try:
                strategy.check(plan.prompts[0].messages, **plan.params)
                for seat in strategy.all_seats() if capped else ():
                    if seat.plain_model is not None:
                        check_price(seat)
            except ConfigError as error:
                raise ConfigError(f"strategy {name!r}: {error}") from None
        return plan

    def __len__(self) -> int:
        return len(self.strategies) * len(self.prompts) * self.repeats

    def tasks(self) -> Iterator[Task]:
        """Every run of the plan."""
        identities = {name: _identity(strategy, self.params) for name, strategy in self.strategies.items()}
        for repeat in range(self.repeats):
            for prompt in self.prompts:
                for name, strategy in self.strategies.items():
                    key = digest([KEY_VERSION, identities[name], prompt.messages, repeat])
                    yield Task(name, strategy, prompt, repeat, key, _is_closed(strategy), self.params)


def strategy_of(given: StrategyLike) -> Strategy:
    """What a caller means: a model alone, or the profile of that name. Raises `ConfigError`."""
    if isinstance(given, Strategy):
        return given
    if isinstance(given, str):
        known = profile_names()
        if given in known:
            return profile(given)
        if "/" not in given:
            told = unknown_name(given, known, "profile") if known else f"{given!r} is no model"
            raise ConfigError(f"{told} (models are written <provider>/<model>, for example openai/gpt-4o)")
    elif not isinstance(given, Seat | Mapping):
        raise ConfigError(
            "a strategy is a model, a Seat, a MoA, a Council or the name of a profile, "
            f"not {type(given).__name__}"
        )
    single = Single(model=given)
    if not single.final_seat.model.startswith(COMPOSITE_PREFIX):
        provider_of(single.final_seat.model)
    return single


def _identity(strategy: Strategy, params: Mapping[str, Any]) -> str:
    config = {name: value for name, value in strategy.without_secrets().items() if name not in LIMITS}
    return digest([strategy.kind, config, recordable(dict(params))])


def _is_closed(strategy: Strategy) -> bool:
    """True when a run's configuration and messages say all that its answer depends on."""
    return strategy.tool_executor is None and all(seat.profile is None for seat in strategy.all_seats())
