"""The strategies that are measured, and the same LiteLLM calls written by hand."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from itertools import groupby
from time import perf_counter
from typing import Any

import litellm

import composite_lab as lab
from composite_lab.strategies.base import Strategy

QUESTION = "Why is the sky dark at night?"
SEATS = 4


class Workload:
    """One strategy on the stub, and its calls as somebody without composite_lab would write them.

    The calls by hand have the messages of a run of the strategy, gathered stage by stage.
    """

    def __init__(self, kind: str, url: str, latency_ms: int) -> None:
        self.endpoint: dict[str, Any] = {"api_base": url, "api_key": "sk-stub"}
        self.final = f"openai/final-{latency_ms}"
        self.others = [f"openai/seat{number}-{latency_ms}" for number in range(SEATS)]
        self.strategy = STRATEGIES[kind](self)
        self.stages: list[list[dict[str, Any]]] = []

    def seat(self, model: str) -> lab.Seat:
        return lab.Seat(model=model, **self.endpoint)

    async def capture(self) -> None:
        """Run once and take the calls of that run for those by hand."""
        result = await self.strategy.arun(QUESTION)
        assert result.trace.status == "ok", result.trace.notes
        self.stages = [
            [{"model": call.request_model, "messages": call.messages} for call in calls]
            for _, calls in groupby(result.trace.calls, key=lambda call: call.stage)
        ]
        # A first call's client and caches belong to neither side.
        await self.by_hand()

    async def ours(self) -> None:
        await self.strategy.arun(QUESTION)

    def ours_sync(self) -> None:
        self.strategy.run(QUESTION)

    async def by_hand(self) -> None:
        for calls in self.stages:
            await asyncio.gather(*(litellm.acompletion(**call, **self.endpoint) for call in calls))

    async def by_hand_as_sent(self) -> None:
        """The same with the arguments that tell a sub-call's run, stage and role to LiteLLM's callbacks."""
        for calls in self.stages:
            await asyncio.gather(*(litellm.acompletion(**call, **self.endpoint, **_told()) for call in calls))

    async def first_token(self) -> float:
        """Seconds until `astream` gives the first piece of the answer."""
        start, first = perf_counter(), None
        async for event in self.strategy.astream(QUESTION):
            if first is None and isinstance(event, lab.TextDelta):
                first = perf_counter() - start
        assert first is not None
        return first

    async def first_token_through_litellm(self) -> float:
        """Seconds until a composite called through LiteLLM gives the first piece of the answer."""
        return await self._first_token(
            model=f"composite/moa/{self.final}",
            messages=[{"role": "user", "content": QUESTION}],
            proposers=self.others,
        )

    async def first_token_by_hand(self) -> float:
        """Seconds until the streamed last call gives the first piece, after all others by hand."""
        start = perf_counter()
        *before, (last,) = self.stages
        for calls in before:
            await asyncio.gather(*(litellm.acompletion(**call, **self.endpoint) for call in calls))
        return perf_counter() - start + await self._first_token(**last)

    async def _first_token(self, **call: Any) -> float:
        start, first = perf_counter(), None
        async for chunk in await litellm.acompletion(**call, **self.endpoint, stream=True):
            if first is None and chunk.choices[0].delta.content:
                first = perf_counter() - start
        assert first is not None
        return first


def _told() -> dict[str, Any]:
    names = ("composite_trace_id", "composite_call_id", "composite_strategy", "composite_stage")
    told = {
        **dict.fromkeys(names, "as long as most of them"),
        "composite_role": "proposer",
        "composite_seat": 0,
    }
    ids = {"litellm_call_id": str(uuid.uuid4()), "litellm_trace_id": "as long as most of them"}
    return {"num_retries": 0, "max_retries": 0, **ids, "metadata": told}


def _moa(work: Workload) -> Strategy:
    return lab.MoA(aggregator=work.seat(work.final), proposers=[work.seat(model) for model in work.others])


def _council(work: Workload) -> Strategy:
    return lab.Council(chairman=work.seat(work.final), members=[work.seat(model) for model in work.others])


STRATEGIES: dict[str, Callable[[Workload], Strategy]] = {"moa": _moa, "council": _council}
