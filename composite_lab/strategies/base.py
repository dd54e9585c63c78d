"""What every strategy has: its options, and the four ways to run it."""

from __future__ import annotations

import asyncio
import warnings
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Literal, final

from pydantic import Field, PlainValidator

from composite_lab.errors import ConfigError, RunTimeout
from composite_lab.gateway import (
    CallFailed,
    Gateway,
    check_final_params,
    check_taken,
    provider_of,
    recordable,
)
from composite_lab.gateway.gateway import CALL_TIMEOUT_S, MAX_REPLY_CHARS
from composite_lab.loop import RUN, iterate_sync, run_sync
from composite_lab.seats import Frozen, Seat, secrets_in, user_info
from composite_lab.strategies.conversation import read_conversation
from composite_lab.strategies.handle import RunHandle
from composite_lab.strategies.replay import Recording, replayed_options
from composite_lab.strategies.run import Answer, Run
from composite_lab.tools import ToolExecutor, check_executor
from composite_lab.trace.events import Event, Failed, Finished, Observer
from composite_lab.trace.model import Result, Trace
from composite_lab.trace.reasoning import Detail

Question = str | Sequence[Any]
TOOL_OPTIONS = ("tool_executor", "max_tool_iterations", "on_tool_limit")
"""Options that `run` takes, too, because an executor often belongs to one question."""
CHECKS: list[Callable[[Strategy], None]] = []
"""What raises `ConfigError` before a run's first call. Rooms above add what only they can know."""
WATCHERS: list[Callable[[Strategy], Observer | None]] = []
"""Who wants to watch what is asked with `run`, and how. Rooms above add themselves; none may harm a run."""


class Strategy(Frozen):
    """Options that every strategy has. An instance is the whole configuration and the runner.

    `timeout_s` bounds a run and `max_cost_usd` its price in USD; `straggler_grace_s` is how many
    seconds a stage waits for the rest once it has enough answers; `call_timeout_s` bounds each call by the
    clock, unless its Seat has a `timeout_s`, and `max_reply_chars` what it may answer: text, thoughts and
    tool calls in characters, since a server may send for ever; `retries` how often a failed call
    is repeated, unless its Seat says otherwise; `max_concurrency` how many calls are under way at
    once. With `on_final_failure="best"` a final call that fails, or answers nothing, is answered by the best
    answer there is. `reasoning` is how much of the stages `reasoning_content` tells: the beginnings of
    their texts in a few thousand characters (`compact`), whole texts (`full`), or nothing (`none`).

    With a `tool_executor` (see `composite_lab.tools`) the final model's tool calls are carried out and it
    is asked again, at most `max_tool_iterations` times; then `ToolLoopError` is raised or, with
    `on_tool_limit="last"`, its last message returned. Without one, tool calls are the answer.
    """

    kind: ClassVar[str]
    final_stage: ClassVar[str]
    final_role: ClassVar[str]

    timeout_s: float | None = Field(default=None, gt=0)
    max_cost_usd: float | None = Field(default=None, ge=0)
    straggler_grace_s: float | None = Field(default=None, ge=0)
    call_timeout_s: float | None = Field(default=CALL_TIMEOUT_S, gt=0)
    max_reply_chars: int | None = Field(default=MAX_REPLY_CHARS, ge=1)
    max_concurrency: int = Field(default=64, ge=1)
    retries: int = Field(default=2, ge=0)
    on_final_failure: Literal["raise", "best"] = "raise"
    reasoning: Detail = "compact"
    tool_executor: Annotated[ToolExecutor | None, PlainValidator(check_executor)] = Field(
        default=None, exclude=True, repr=False
    )
    max_tool_iterations: int = Field(default=5, ge=0)
    on_tool_limit: Literal["raise", "last"] = "raise"

    @property
    @abstractmethod
    def final_seat(self) -> Seat:
        """The seat that gives the answer."""

    @abstractmethod
    def all_seats(self) -> list[Seat]:
        """Every seat, the final one last."""

    @abstractmethod
    def with_seats(self, change: Any) -> Strategy:
        """The same strategy with `change` applied to every seat."""

    @abstractmethod
    async def answer(self, run: Run) -> Answer:
        """The strategy itself."""

    def check_params(self, params: dict[str, Any]) -> None:
        """Raise `ConfigError` for parameters of the final call that do not go with the options."""
        if self.tool_executor is not None and (params.get("n") or 1) > 1:
            raise ConfigError(
                f"n={params['n']} does not go with a tool_executor: ask for one answer at a time"
            )

    def without_secrets(self) -> dict[str, Any]:
        """The configuration as JSON, with stars in place of keys."""
        return self.model_dump(mode="json", exclude_none=True, fallback=recordable)

    @final
    def run(self, messages: Question, *, on_event: Observer | None = None, **params: Any) -> Result:
        """Ask, and wait for the Result. For scripts, threads and notebook cells alike.

        `messages` is a question or a conversation; `params` (`temperature`, `max_tokens`, `tools`, …, and
        what LiteLLM would hand to the provider) go to the final call, `metadata` to the events of LiteLLM's
        callbacks for every call. `on_event` is told what happens as it happens. Raises `ConfigError` before
        anything is paid for; `QuorumError`, `BudgetExceeded`, `RunTimeout` or the provider's own
        error later, each with the `trace` so far.
        """
        ended: list[Failed] = []
        watching = watchers(self)

        def tell(event: Event) -> None:
            if isinstance(event, Failed):
                ended.append(event)
            for observer in watching:
                observer(event)
            if on_event is not None:
                on_event(event)

        try:
            return run_sync(self.arun(messages, on_event=tell, **params))
        except (KeyboardInterrupt, asyncio.CancelledError) as interrupt:
            if ended:  # what was paid for stays readable after an interrupt, too
                interrupt.trace = ended[-1].trace  # type: ignore[union-attr]
            raise

    @final
    async def arun(self, messages: Question, *, on_event: Observer | None = None, **params: Any) -> Result:
        """The same as `run`, to be awaited."""
        return await self._execute(self._prepare(messages, params, on_event or _ignore))

    @final
    def start(self, messages: Question, *, on_event: Observer | None = None, **params: Any) -> RunHandle:
        """Ask, and go on at once: the run goes on in the background. See `RunHandle`.

        It runs on a thread of its own, so it advances while a cell is busy; so do plain tools, also
        those marked with `on_loop_thread`. Raises `ConfigError` at once, all else from `result()`.
        """
        handle = RunHandle(self)
        run = self._prepare(messages, params, handle.tell)
        if on_event is not None:
            handle.observe(on_event)
        handle.begin(self._execute(run), run.conversation)
        return handle

    @final
    def check(self, messages: Question, **params: Any) -> None:
        """Raise `ConfigError` if `run` could not ask this; calls nobody."""
        self._prepare(messages, params, _ignore)

    @final
    def stream(self, messages: Question, **params: Any) -> Iterator[Event]:
        """Ask, and get events as they happen: stages, calls, pieces of the answer, last `Finished`.

        Closing the iterator cancels what is under way. Raises as `run` does.
        """
        return iterate_sync(self.astream(messages, **params))

    @final
    async def astream(self, messages: Question, **params: Any) -> AsyncGenerator[Event, None]:
        """The same as `stream`, for `async for`."""
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        run = self._prepare(messages, params, events.put_nowait, stream=True)
        # A task of its own: its timeouts and task groups must not change tasks between two events.
        work = asyncio.create_task(self._execute(run), name=RUN)
        work.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            await work
        finally:
            work.cancel()
            with suppress(BaseException):
                await work

    @final
    @classmethod
    def replay(cls, trace: Trace, *, on_event: Observer | None = None, **changes: Any) -> Result:
        """Run a recorded run again with `changes` (options, or parameters of the final call).

        The final call is made again, and every other one whose request changed; the rest is taken from
        the trace and costs nothing. Calls are told apart by place, model, messages and parameters. Keys
        are not in a trace: they come from the environment, or with a Seat that is given again. Raises
        `ConfigError` for a trace of another strategy or one that has too little, else as `run` does.
        """
        return run_sync(cls.areplay(trace, on_event=on_event, **changes))

    @final
    @classmethod
    async def areplay(cls, trace: Trace, *, on_event: Observer | None = None, **changes: Any) -> Result:
        """The same as `replay`, to be awaited."""
        final_call = cls.final_stage, cls.final_role
        options, params = replayed_options(cls.kind, final_call, trace, changes, cls.model_fields)
        strategy = cls(**options)
        run = strategy._prepare(trace.messages, params, on_event or _ignore)
        run.recording = Recording(trace)
        return await strategy._execute(run)

    def _prepare(
        self, messages: Question, params: dict[str, Any], emit: Observer, *, stream: bool = False
    ) -> Run:
        """All that can be checked before anything is paid for. Raises `ConfigError`."""
        conversation = read_conversation(messages)
        own = {name: value for name, value in params.items() if name in TOOL_OPTIONS}
        params = {name: value for name, value in params.items() if name not in own}
        configured = type(self)(**(dict(self) | own)) if own else self
        configured.check_params(params)
        strategy, params, secrets = _share_endpoint(configured, params)
        metadata = params.pop("metadata", None)
        if not isinstance(metadata, dict | None):
            raise ConfigError(f"metadata must be a dict for LiteLLM's callbacks, not {metadata!r}")
        check_final_params(params, type(self).model_fields, _options_of_others(type(self)))
        for check in CHECKS:
            check(strategy)
        check_taken(strategy.final_seat, params)
        gateway = Gateway(
            self.kind,
            strategy.all_seats(),
            emit=emit,
            max_concurrency=self.max_concurrency,
            retries=self.retries,
            max_cost_usd=self.max_cost_usd,
            secrets=secrets,
            metadata=metadata,
            call_timeout_s=self.call_timeout_s,
            max_reply_chars=self.max_reply_chars,
        )
        return Run(strategy, gateway, conversation, params, emit, stream)

    async def _execute(self, run: Run) -> Result:
        try:
            async with asyncio.timeout(self.timeout_s) as limit:
                answer = await run.strategy.answer(run)
        except asyncio.CancelledError as error:
            run.emit(Failed(error, run.finish(error=error)))
            raise
        except TimeoutError as error:
            if not limit.expired():
                raise run.failure(error) from None
            late = RunTimeout(f"the run took longer than timeout_s={self.timeout_s}")
            raise run.failure(late) from None
        except CallFailed as failure:
            raise run.failure(failure.cause) from None
        except ExceptionGroup as group:  # of a stage: what stopped it first
            raise run.failure(group.exceptions[0]) from None
        except Exception as error:
            raise run.failure(error) from error.__cause__
        run.say_total()
        trace = run.finish(answer=answer)
        result = Result(
            text=answer.message.get("content") or "",
            message=answer.message,
            trace=trace,
            response=answer.response,
        )
        run.emit(Finished(result))
        return result


def _options_of_others(kind: type[Strategy]) -> set[str]:
    """The options that other strategies have and this one has not."""
    return {name for other in Strategy.__subclasses__() for name in other.model_fields} - {*kind.model_fields}


def watchers(strategy: Strategy) -> list[Observer]:
    """The observers of those who want to watch a run of this strategy. A fault of theirs is a warning."""
    return [_harmless(observer) for watch in WATCHERS if (observer := watch(strategy)) is not None]


def _harmless(observer: Observer) -> Observer:
    def tell(event: Event) -> None:
        try:
            observer(event)
        except Exception as fault:  # a display that breaks must not take a paid answer with it
            warnings.warn(f"a run is not shown: {type(fault).__name__}: {fault}", stacklevel=2)

    return tell


def _share_endpoint(strategy: Strategy, params: dict[str, Any]) -> tuple[Strategy, dict[str, Any], list[str]]:
    """Hand the caller's endpoint and key to the seats of the final model's provider, and to no other.

    A seat that states a key or an endpoint of its own keeps to these: neither a key goes to a foreign
    endpoint, nor the other way round.
    """
    params = dict(params)
    if "base_url" in params:
        params["api_base"] = params.pop("base_url")
    endpoint = {name: params.pop(name, None) for name in ("api_key", "api_base", "api_version")}
    endpoint = {name: value for name, value in endpoint.items() if value is not None}
    if not endpoint:
        return strategy, params, secrets_in(params)
    provider = _bottom(strategy.final_seat)

    def share(seat: Seat) -> Seat:
        own = seat.api_key is not None or seat.api_base is not None
        if own or _bottom(seat) != provider:
            return seat
        return Seat.model_validate(seat.model_copy(update=endpoint).model_dump() | endpoint)

    secrets = [*secrets_in(params), *secrets_in(endpoint), *user_info(str(endpoint.get("api_base", "")))]
    return strategy.with_seats(share), params, secrets


def _bottom(seat: Seat) -> str:
    """The provider of a seat's model; a profile, whose models are not known here, stands for itself."""
    return provider_of(seat.plain_model) if seat.plain_model is not None else seat.model


def _ignore(event: Event) -> None:
    """The observer of a run that nobody watches."""
