"""What MoA and Council share: options, the four ways to run, stages of concurrent calls, the trace."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, ClassVar, Literal, final

from pydantic import Field

from composite_lab.errors import ConfigError, EmptyAnswer, QuorumError, RunTimeout
from composite_lab.gateway import CallFailed, Gateway, Place, check_final_params, provider_of, recordable
from composite_lab.loop import iterate_sync, run_sync
from composite_lab.redaction import redact_error
from composite_lab.replies import Reply, read_message
from composite_lab.seats import Frozen, Seat
from composite_lab.strategies.conversation import Message, read_conversation
from composite_lab.trace import sink
from composite_lab.trace.call import Ballot, Call, Standing
from composite_lab.trace.events import Event, Finished, Observer, StageFinished, StageStarted
from composite_lab.trace.model import Result, Trace, in_stable_order
from composite_lab.trace.summary import stage_text

Question = str | Sequence[Any]
VERSION = version("composite-lab")


@dataclass(frozen=True)
class Job:
    """A call that a stage wants made: who is asked what."""

    seat: Seat
    messages: list[Message]
    index: int
    sample: int = 0


@dataclass(frozen=True)
class Answer:
    """What a strategy ends with: the final message, and LiteLLM's response behind it."""

    message: dict[str, Any]
    response: Any


class Strategy(Frozen):
    """Options that every strategy has. An instance is the whole configuration and the runner.

    `timeout_s` bounds a run and `max_cost_usd` its price in USD; `straggler_grace_s` is how many
    seconds a stage waits for the rest once it has enough answers; `retries` how often a failed call
    is repeated, unless its Seat says otherwise; `max_concurrency` how many calls are under way at
    once. With `on_final_failure="best"` a failed final call is answered by the best answer there is.
    """

    kind: ClassVar[str]
    final_stage: ClassVar[str]
    final_role: ClassVar[str]

    timeout_s: float | None = Field(None, gt=0)
    max_cost_usd: float | None = Field(None, ge=0)
    straggler_grace_s: float | None = Field(None, ge=0)
    max_concurrency: int = Field(64, ge=1)
    retries: int = Field(2, ge=0)
    on_final_failure: Literal["raise", "best"] = "raise"

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

    def without_secrets(self) -> dict[str, Any]:
        """The configuration as JSON, with stars in place of keys."""
        return self.model_dump(mode="json", exclude_none=True, fallback=recordable)

    @final
    def run(self, messages: Question, *, on_event: Observer | None = None, **params: Any) -> Result:
        """Ask, and wait for the Result. For scripts, threads and notebook cells alike.

        `messages` is a question or a conversation; `params` (`temperature`, `max_tokens`, `tools`, …) go
        to the final call. `on_event` is told what happens as it happens. Raises `ConfigError` before
        anything is paid for; `QuorumError`, `BudgetExceeded`, `RunTimeout` or the provider's own
        error later, each with the `trace` so far.
        """
        return run_sync(self.arun(messages, on_event=on_event, **params))

    @final
    async def arun(self, messages: Question, *, on_event: Observer | None = None, **params: Any) -> Result:
        """The same as `run`, to be awaited."""
        return await self._execute(messages, params, on_event or _ignore, stream=False)

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
        # A task of its own: its timeouts and task groups must not change tasks between two events.
        work = asyncio.create_task(self._execute(messages, params, events.put_nowait, stream=True))
        work.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            await work
        finally:
            work.cancel()
            with suppress(BaseException):
                await work

    async def _execute(
        self, messages: Question, params: dict[str, Any], emit: Observer, *, stream: bool
    ) -> Result:
        conversation = read_conversation(messages)
        strategy, params, secrets = _share_endpoint(self, params)
        check_final_params(params, type(self).model_fields)
        gateway = Gateway(
            self.kind,
            strategy.all_seats(),
            emit=emit,
            max_concurrency=self.max_concurrency,
            retries=self.retries,
            max_cost_usd=self.max_cost_usd,
            secrets=secrets,
        )
        run = Run(strategy, gateway, conversation, params, emit, stream)
        try:
            async with asyncio.timeout(self.timeout_s) as limit:
                answer = await strategy.answer(run)
        except asyncio.CancelledError as error:
            run.finish(error=error)
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
        trace = run.finish(answer=answer)
        result = Result(
            text=answer.message.get("content") or "",
            message=answer.message,
            trace=trace,
            response=answer.response,
        )
        emit(Finished(result))
        return result


@dataclass
class Run:
    """One run under way: what it was asked, and what has come of it so far."""

    strategy: Strategy
    gateway: Gateway
    conversation: list[Message]
    params: dict[str, Any]
    emit: Observer
    stream: bool
    ballots: list[Ballot] = field(default_factory=list)
    standings: list[Standing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    degraded: bool = False
    reasoning: list[str] = field(default_factory=list)

    async def stage(
        self, stage: str, role: str, jobs: Sequence[Job], *, quorum: int, round_: int = 0
    ) -> list[Reply | None]:
        """The replies to all jobs in their order, made concurrently; None where a seat gave none.

        Goes on without stragglers once `quorum` replies are in and `straggler_grace_s` is over. Raises
        `QuorumError` when fewer came.
        """
        self.emit(StageStarted(stage, round_, len(jobs)))
        grace = self.strategy.straggler_grace_s
        outcomes: dict[asyncio.Task[Reply | CallFailed], int] = {}
        async with asyncio.TaskGroup() as group:
            for position, job in enumerate(jobs):
                draw = sum(earlier.seat == job.seat for earlier in jobs[:position])
                place = Place(stage, role, round_, job.index, job.sample, draw)
                outcomes[group.create_task(self._ask(job, place))] = position
            pending = set(outcomes)
            deadline: float | None = None
            clock = asyncio.get_running_loop().time
            while pending:
                left = None if deadline is None else max(0.0, deadline - clock())
                done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                for task in pending if deadline is not None and not done else ():
                    task.cancel()
                enough = sum(_is_reply(task) for task in outcomes) >= quorum
                if enough and deadline is None and grace is not None:
                    deadline = clock() + grace
        settled = [None if task.cancelled() else task.result() for task in outcomes]
        replies = [outcome if isinstance(outcome, Reply) else None for outcome in settled]
        calls = in_stable_order([c for c in self.gateway.calls if (c.stage, c.round) == (stage, round_)])
        self.say(stage, round_, calls)
        answered = len(replies) - replies.count(None)
        if answered < quorum:
            failures = [outcome for outcome in settled if isinstance(outcome, CallFailed)]
            raise QuorumError(
                f"{answered} of {len(jobs)} {role}s answered and {quorum} {'is' if quorum == 1 else 'are'} "
                f"needed: {'; '.join(map(str, failures))}",
                [failure.cause for failure in failures],
            )
        return replies

    async def _ask(self, job: Job, place: Place) -> Reply | CallFailed:
        try:
            reply = await self.gateway.call(job.seat, job.messages, place)
        except CallFailed as failure:
            return failure
        if not reply.text.strip():
            return CallFailed(reply.call, EmptyAnswer(f"{job.seat} answered without any text"))
        return reply

    def say(self, stage: str, round_: int, calls: Sequence[Call], notes: Sequence[str] = ()) -> None:
        """Add a stage's section to `reasoning_content` and tell the observer."""
        title = stage.capitalize() if round_ == 0 else f"{stage.capitalize()}, round {round_ + 1}"
        section = stage_text(title, calls, notes)
        self.reasoning.append(section)
        self.emit(StageFinished(stage, round_, section))

    async def conclude(self, messages: list[Message], fallback: str | None) -> Answer:
        """The final call with the caller's own parameters, streamed when somebody listens.

        When it fails for good and the strategy says so, `fallback` is the answer.
        """
        strategy = self.strategy
        place = Place(strategy.final_stage, strategy.final_role)
        self.emit(StageStarted(place.stage, place.round, 1))
        try:
            reply = await self.gateway.call(
                strategy.final_seat, messages, place, self.params, stream=self.stream
            )
        except CallFailed as failure:
            if strategy.on_final_failure == "raise" or fallback is None:
                raise
            self.degrade(
                f"the {strategy.final_role} failed ({failure.call.error_type}): the best answer stands in"
            )
            return Answer({"role": "assistant", "content": fallback}, None)
        return Answer(read_message(reply.response), reply.response)

    def degrade(self, note: str) -> None:
        """Say that the answer is made in a lesser way than the strategy promises."""
        self.degraded = True
        self.notes.append(note)

    def failure(self, error: Exception) -> Exception:
        """The error that the caller gets, with the trace on it."""
        redact_error(error, self.gateway._secrets)
        trace = self.finish(error=error)
        if self.gateway.calls or not isinstance(error, ConfigError):
            error.trace = trace  # type: ignore[attr-defined]  # a provider's error carries it too
        return error

    def finish(self, *, answer: Answer | None = None, error: BaseException | None = None) -> Trace:
        """The trace of the run as it stands, saved if a sink is on."""
        cancelled = isinstance(error, asyncio.CancelledError)
        message = answer.message if answer else {}
        own_reasoning = message.get("reasoning_content")
        reasoning = "".join(self.reasoning)
        if own_reasoning:
            reasoning += f"{reasoning_heading(self.strategy)}{own_reasoning}"
        calls = self.gateway.calls
        self.gateway.hand_calls_up(calls)
        trace = Trace(
            trace_id=self.gateway.trace_id,
            strategy=self.strategy.kind,
            model=f"composite/{self.strategy.kind}/{self.strategy.final_seat.model}",
            status="cancelled" if cancelled else "error" if error else "degraded" if self.degraded else "ok",
            error_type=type(error).__name__ if error else None,
            error_message=self.gateway.redacted(str(error)) if error else None,
            started_at=self.gateway.started_at,
            latency_s=self.gateway.elapsed_s(),
            version=VERSION,
            config=self.strategy.without_secrets(),
            messages=self.conversation,
            text=message.get("content"),
            reasoning=reasoning.strip(),
            calls=in_stable_order(calls),
            ballots=self.ballots,
            standings=self.standings,
            notes=self.notes,
        )
        if not self.gateway.is_nested:  # an outer run's trace holds this one's calls
            sink.record(trace)
        return trace


def reasoning_heading(strategy: Strategy) -> str:
    """What stands above the final model's own reasoning in `reasoning_content`."""
    return f"## Reasoning of the {strategy.final_role}, {strategy.final_seat}\n\n"


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
        return strategy, params, []
    provider = provider_of(strategy.final_seat.plain_model)

    def share(seat: Seat) -> Seat:
        own = seat.api_key is not None or seat.api_base is not None
        if own or provider_of(seat.plain_model) != provider:
            return seat
        return Seat.model_validate(seat.model_copy(update=endpoint).model_dump() | endpoint)

    secrets = [endpoint["api_key"]] if "api_key" in endpoint else []
    return strategy.with_seats(share), params, secrets


def _is_reply(task: asyncio.Task[Reply | CallFailed]) -> bool:
    return (
        task.done() and not task.cancelled() and task.exception() is None and isinstance(task.result(), Reply)
    )


def _ignore(event: Event) -> None:
    """The observer of a run that nobody watches."""
