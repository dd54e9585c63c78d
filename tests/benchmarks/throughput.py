"""Comparisons of many calls: against the same calls by hand, and against themselves once all is kept."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from time import perf_counter

from .pairs import Pair, interleaved_async, timed_async

LATENCY_MS = 50
CONCURRENCY = 200
SEATS = 4


def throughput(calls: int, url: str, rounds: int) -> list[Pair]:
    """A comparison of one model on many prompts against a gather with a semaphore."""
    import litellm

    import composite_lab as lab

    model, endpoint = f"openai/model-{LATENCY_MS}", {"api_base": url, "api_key": "sk-stub"}
    prompts = [f"What is {number} times {number}?" for number in range(calls)]

    async def ours() -> None:
        done = await lab.acompare(
            {"model": lab.Seat(model=model, **endpoint)}, prompts, max_concurrency=CONCURRENCY, progress=False
        )
        assert done.calls_paid == calls
        done.store.close()

    async def by_hand() -> None:
        places = asyncio.Semaphore(CONCURRENCY)

        async def one(prompt: str) -> str:
            async with places:
                response = await litellm.acompletion(
                    model=model, messages=[{"role": "user", "content": prompt}], **endpoint
                )
                return str(response.choices[0].message.content)

        await asyncio.gather(*map(one, prompts))

    async def main() -> list[Pair]:
        return await interleaved_async(timed_async(ours), timed_async(by_hand), rounds)

    return asyncio.run(main())


def kept(runs: int, url: str, rounds: int) -> list[Pair]:
    """A comparison of runs of 4 + 1 calls carried out again from its store against the first time."""
    import composite_lab as lab

    def seat(name: str) -> lab.Seat:
        return lab.Seat(model=f"openai/{name}-{LATENCY_MS}", api_base=url, api_key="sk-stub")

    proposers = [seat(f"seat{number}") for number in range(SEATS)]
    strategies = {"moa": lab.MoA(aggregator=seat("final"), proposers=proposers)}
    prompts = [f"What is {number} times {number}?" for number in range(runs)]

    def seconds(store: Path) -> float:
        start = perf_counter()
        done = lab.compare(strategies, prompts, store=store, max_concurrency=CONCURRENCY, progress=False)
        assert set(done.to_dataframe().status) == {"ok"}
        done.store.close()
        return perf_counter() - start

    pairs = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            first = seconds(Path(folder, "store"))
            pairs.append((seconds(Path(folder, "store")), first))
    return pairs
