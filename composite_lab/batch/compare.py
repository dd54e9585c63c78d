"""compare: strategies on the same prompts. What is in the store is not paid for again."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from composite_lab.batch.comparison import Comparison
from composite_lab.batch.estimate import Forecast, forecast
from composite_lab.batch.experiment import Experiment
from composite_lab.loop import run_sync

P = ParamSpec("P")
T = TypeVar("T")


def _of_experiment(prepare: Callable[P, Experiment]) -> Callable[[Callable[[Experiment], T]], Callable[P, T]]:
    """Give a function of an experiment the options that an experiment is made with."""

    def take(function: Callable[[Experiment], T]) -> Callable[P, T]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return function(prepare(*args, **kwargs))

        call.__signature__ = inspect.signature(prepare).replace(  # type: ignore[attr-defined]
            return_annotation=function.__annotations__["return"]
        )
        return call

    return take


@_of_experiment(Experiment.of)
def compare(prepared: Experiment) -> Comparison:
    """Ask every strategy every prompt, score the answers, and return a `Comparison`.

    `strategies` are models, Seats, runners or names of profiles, each under the name that frames show.
    `prompts` are strings, message lists, a DataFrame, or a JSONL, CSV or Parquet file with `prompt` or
    `messages`, and `id`, `target` and further columns. `scorer` is a name ("exact_match",
    "numeric_match", …), a scorer, a function `(text, target, row)`, or a `PairwiseJudge`, which sets each
    strategy against the `baseline`, by default the first. `params` go to the final calls.

    With a `store` (a path) every answer is kept as it comes: after a crash, with one more strategy or
    with another chairman, the same call pays only for what is new. `max_cost_usd` caps what all answers
    behind the comparison cost together, those of earlier sessions included. `max_concurrency` bounds the
    calls under way, over all workers.

    `engine` says where runs are carried out: "asyncio", in this process; "processes" or
    `Processes(workers=2)`, in processes of this machine; a Dask scheduler's address, a
    `dask.distributed.Client`, or "dask" for the current one, on its workers. Workers need composite_lab and
    what LiteLLM reads from the environment; keys of Seats, tool executors and profiles are sent to them,
    LiteLLM's callbacks and cache are not. Scores are given here, and judges called from here, with
    `max_concurrency` calls of their own. Workers pass `max_cost_usd` by the calls under way and those of
    half a second.

    A run that fails is a row. Raises `ConfigError` before anything is paid for, and `StoreError` when
    answers can no longer be kept, `EngineError` when workers do not start or their scheduler is gone; an
    error or an interrupt carries the `comparison` so far.
    """
    try:
        run_sync(prepared.carry_out())
    except BaseException as error:
        error.comparison = prepared.comparison  # type: ignore[attr-defined]
        raise
    return prepared.comparison


@_of_experiment(Experiment.of)
def acompare(prepared: Experiment) -> Awaitable[Comparison]:
    """The same as `compare`, to be awaited."""
    return prepared.carry_out()


@_of_experiment(Experiment.of)
def estimate(prepared: Experiment) -> Forecast:
    """How many calls and tokens `compare` with the same options would take, and what they would cost.

    Nobody is called. What the store has already is counted as free.
    """
    return run_sync(forecast(prepared))
