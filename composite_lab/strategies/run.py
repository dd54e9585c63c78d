"""Run: one run under way. Strategies ask it for stages of calls and for the final call."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from itertools import count
from typing import TYPE_CHECKING, Any

from composite_lab import tools
from composite_lab.errors import BudgetExceeded, ConfigError, EmptyAnswer, QuorumError, ToolLoopError
from composite_lab.gateway import CallFailed, Gateway, Place
from composite_lab.replies import Reply, read_message
from composite_lab.strategies.conversation import BETWEEN, Message, asked_on, without_tools
from composite_lab.strategies.reasoning import ReasoningContent
from composite_lab.strategies.replay import Recording
from composite_lab.strategies.stage import Job, causes, cut_stragglers, draws
from composite_lab.trace import sink
from composite_lab.trace.call import Ballot, Call, Canary, Standing, function_of
from composite_lab.trace.events import (
    Event,
    Failed,
    Observer,
    ReasoningDelta,
    StageStarted,
    TextDelta,
    ToolCallDelta,
)
from composite_lab.trace.model import Trace, in_stable_order
from composite_lab.trace.reasoning import Wording
from composite_lab.trace.summary import summarize
from composite_lab.trace.verdict import Verdict

if TYPE_CHECKING:
    from composite_lab.strategies.base import Strategy

VERSION = version("composite-lab")


@dataclass(frozen=True)
class Answer:
    """What a strategy ends with: the final message, and LiteLLM's response behind it."""

    message: dict[str, Any]
    response: Any

    @property
    def text(self) -> str:
        """The message's text, empty when it only calls tools."""
        return str(self.message.get("content") or "")


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
    recording: Recording | None = None
    canary: Canary | None = None
    verdict: Verdict | None = None
    _final_round: int = 0
    _asked: list[Message] = field(default_factory=list)

    @cached_property
    def reasoning(self) -> ReasoningContent:
        """What is told as `reasoning_content`."""
        strategy = self.strategy
        role, name = strategy.final_role, str(strategy.final_seat)
        return ReasoningContent(strategy.reasoning, self.emit, streams=self.stream, role=role, name=name)

    @cached_property
    def toolless(self) -> list[Message]:
        """The conversation for those who are given no tools: everybody but the final model."""
        return without_tools(self.conversation)

    async def stage(
        self,
        stage: str,
        role: str,
        jobs: Sequence[Job],
        *,
        quorum: int,
        round_: int = 0,
        wording: Wording | None = None,
    ) -> list[Reply | None]:
        """The replies to all jobs in their order, made concurrently; None where a seat gave none.

        Goes on without stragglers once `quorum` replies are in and `straggler_grace_s` is over.
        `wording` gives the text of a call as `reasoning_content` tells it. Raises `QuorumError` when
        fewer than `quorum` came.
        """
        self.emit(StageStarted(stage, round_, len(jobs)))
        outcomes: list[asyncio.Task[Reply | CallFailed]] = []
        async with asyncio.TaskGroup() as group:  # at its end all calls have ended
            for job, draw in zip(jobs, draws(jobs), strict=True):
                place = Place(stage, role, round_, job.index, job.sample, draw)
                outcomes.append(group.create_task(self._ask(job, place)))
            if self.strategy.straggler_grace_s is not None:
                await cut_stragglers(outcomes, quorum, self.strategy.straggler_grace_s)
        settled = [None if task.cancelled() else task.result() for task in outcomes]
        replies = [outcome if isinstance(outcome, Reply) else None for outcome in settled]
        self._say(stage, round_, wording)
        answered = len(replies) - replies.count(None)
        failures = [outcome for outcome in settled if isinstance(outcome, CallFailed)]
        if answered < len(jobs):
            lost = len(jobs) - answered - len(failures)
            self.notes.append(
                f"{answered} of {len(jobs)} {role}s answered{f' in round {round_ + 1}' if round_ else ''}: "
                + "; ".join(
                    filter(
                        None, (causes(failures, in_brief=True), f"{lost} cut as stragglers" if lost else "")
                    )
                )
            )
        if answered < quorum:
            needed = f"{quorum} {'is' if quorum == 1 else 'are'} needed"
            raise QuorumError(
                f"{answered} of {len(jobs)} {role}s answered and {needed}: {causes(failures)}",
                [failure.cause for failure in failures],
            )
        return replies

    async def _ask(self, job: Job, place: Place) -> Reply | CallFailed:
        try:
            asked = job.seat, job.messages, place
            earlier = self.recording.recall(*asked) if self.recording else None
            if earlier is not None:
                reply = self.gateway.replay(*asked, earlier.call, earlier.cost_usd)
            else:
                reply = await self.gateway.call(*asked)
        except CallFailed as failure:
            return failure
        empty = reply.emptiness
        if empty is None and not reply.text.strip():
            empty = EmptyAnswer(f"{job.seat} answered without any text: it called tools instead")
        return reply if empty is None else CallFailed(reply.call, empty)

    def _say(self, stage: str, round_: int, wording: Wording | None = None) -> None:
        self.reasoning.tell_stage(stage, round_, self.gateway.calls, wording)

    def say_total(self) -> None:
        """Close `reasoning_content` with what the run took."""
        gateway = self.gateway
        kind, elapsed_s = self.strategy.kind, gateway.elapsed_s()
        total = summarize(gateway.trace_id, kind, "ok", gateway.calls, elapsed_s)
        self.reasoning.tell_total(total, gateway.calls)

    async def conclude(self, messages: list[Message], fallback: str | None) -> Answer:
        """The final call with the caller's own parameters, streamed when somebody listens.

        With a `tool_executor` its tool calls are carried out and it is asked again, until it answers.
        When it fails for good or answers nothing and the strategy says so, `fallback` is the answer.
        """
        role = self.strategy.final_role
        stand_in = fallback if self.strategy.on_final_failure == "best" else None
        try:
            reply, message, self._asked = await self._converse(messages, stream=self.stream)
        except CallFailed as failure:
            if stand_in is None:
                raise
            return self._stand_in(stand_in, f"the {role} failed ({failure.call.error_type})")
        if (empty := reply.emptiness) is not None:
            if stand_in is not None:
                return self._stand_in(stand_in, f"the {role} gave no answer ({empty})")
            self.degrade(f"the {role} gave no answer: {empty}")
        return Answer(message, reply.response)

    def _stand_in(self, fallback: str, why: str) -> Answer:
        self.degrade(f"{why}: the best answer stands in")
        if self.stream:
            self.emit(TextDelta(fallback))
        return Answer({"role": "assistant", "content": fallback}, None)

    async def conclude_again(self, answer: Answer, prompt: str) -> Answer:
        """The final model's answer with what it adds when it is asked on with `prompt`.

        It is shown what it was asked before, rounds of tools included. The addition goes out whole, behind
        the answer, once it is there: so a stream and the answer's content are the same text.
        """
        try:
            reply, _, _ = await self._converse(asked_on(self._asked, answer.text, prompt), stream=False)
        except (CallFailed, BudgetExceeded, ToolLoopError) as fault:  # what is there is paid for
            why = fault.call.error_type if isinstance(fault, CallFailed) else type(fault).__name__
            self.degrade(f"asked again, the {self.strategy.final_role} failed ({why})")
            return answer
        if not reply.text.strip():
            return answer
        if self.stream:
            self.emit(TextDelta(f"{BETWEEN}{reply.text}"))
        reply.response.choices[0].message.content = f"{answer.text}{BETWEEN}{reply.text}"
        return Answer(read_message(reply.response), reply.response)

    async def _converse(
        self, messages: list[Message], *, stream: bool
    ) -> tuple[Reply, Message, list[Message]]:
        """The final model's last reply, its message, and all that it was shown for it."""
        strategy, params = self.strategy, self.params
        for round_ in count():
            place = Place(strategy.final_stage, strategy.final_role, self._final_round)
            self._final_round += 1
            self.emit(StageStarted(place.stage, place.round, 1))
            held: list[Event] = []
            reply = await self._ask_final(messages, params, place, held if stream else None)
            message = read_message(reply.response)
            calls = message.get("tool_calls")
            if not calls or strategy.tool_executor is None:
                return reply, message, messages
            if round_ == strategy.max_tool_iterations:
                if strategy.on_tool_limit == "last":
                    rounds = "1 round" if round_ == 1 else f"{round_} rounds"
                    self.degrade(f"the {strategy.final_role} still asked for tools after {rounds}")
                    for event in held:
                        self.emit(event)
                    return reply, message, messages
                limit = f"max_tool_iterations={round_}"
                rounds = "round" if round_ == 1 else "rounds"
                raise ToolLoopError(f"the {strategy.final_role} still asked for tools after {limit} {rounds}")
            self.emit(StageStarted(tools.STAGE, place.round, len(calls)))
            results = await tools.run_round(self.gateway, strategy.tool_executor, calls, place.round)
            self._say(tools.STAGE, place.round, _tool_text)
            messages = [*messages, message, *results]
            if params.get("tool_choice") not in (None, "auto", "none"):
                params = params | {"tool_choice": "auto"}  # forced once; for ever would be a loop
        raise AssertionError("the loop returns or raises")

    async def _ask_final(
        self, messages: list[Message], params: dict[str, Any], place: Place, held: list[Event] | None
    ) -> Reply:
        """One call of the final model, with its section and its own reasoning in `reasoning_content`.

        Its pieces are told as they come if `held` is given, which takes what has to wait.
        """
        listener = None if held is None else self._listener(held)
        try:
            reply = await self.gateway.call(
                self.strategy.final_seat, messages, place, params, stream=listener
            )
        except CallFailed:
            self._say(place.stage, place.round)
            raise
        if listener is None and reply.call.reasoning:
            self.reasoning.think(reply.call.reasoning)
        self._say(place.stage, place.round)
        for note in reply.notes:
            self.degrade(note)
        return reply

    def _listener(self, held: list[Event]) -> Observer:
        """Who hears the pieces of the final answer. Tool calls that are carried out here are held back."""
        holds_calls = self.strategy.tool_executor is not None

        def listen(event: Event) -> None:
            if holds_calls and isinstance(event, ToolCallDelta):
                held.append(event)
            elif isinstance(event, ReasoningDelta) and event.choice == 0:
                self.reasoning.think(event.text)
            else:
                self.emit(event)

        return listen

    def degrade(self, note: str) -> None:
        """Say that the answer is made in a lesser way than the strategy promises."""
        self.degraded = True
        self.notes.append(note)

    def failure(self, error: Exception) -> Exception:
        """The error that the caller gets, with the trace on it."""
        self.gateway.redact_error(error)
        trace = self.finish(error=error)
        if self.gateway.calls or not isinstance(error, ConfigError):
            error.trace = trace  # type: ignore[attr-defined]  # a provider's error carries it too
        self.emit(Failed(error, trace))
        return error

    def finish(self, *, answer: Answer | None = None, error: BaseException | None = None) -> Trace:
        """The trace of the run as it stands, saved if a sink is on."""
        cancelled = isinstance(error, asyncio.CancelledError)
        message = answer.message if answer else {}
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
            reasoning=self.reasoning.text,
            calls=in_stable_order(calls),
            ballots=self.ballots,
            standings=self.standings,
            canary=self.canary,
            verdict=self.verdict,
            notes=[*self.notes, *([self.recording.note] if self.recording else [])],
        )
        if self.gateway.is_recorded:
            try:
                sink.record(trace)
            except (OSError, ValueError) as fault:  # the answer is paid for: a full disk must not take it
                warnings.warn(f"the trace was not saved: {type(fault).__name__}: {fault}", stacklevel=2)
        return trace


def _tool_text(call: Call) -> str:
    return f"{function_of(call.tool_calls[0])[1]} → {call.text}"
