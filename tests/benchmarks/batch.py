"""Comparisons whose calls are answered at once: what two worker processes take, against one process."""

from __future__ import annotations

import asyncio
from typing import Any

from .pairs import Pair, interleaved_async, timed_async

PROMPTS = 60
SEATS = 4


def two_processes(url: str, rounds: int) -> list[Pair]:
    """Wall time of a comparison on two worker processes that are up, against the same on asyncio.

    The scheduler, the store and the stub need CPU as well: on two cores two workers cannot take half.
    """
    import composite_lab as lab
    from composite_lab.batch.compare import acompare
    from composite_lab.batch.local_cluster import local_workers

    def seat(name: str) -> lab.Seat:
        return lab.Seat(model=f"openai/{name}-0", api_base=url, api_key="sk-stub")

    strategies = {
        "single": seat("final"),
        "moa": lab.MoA(
            aggregator=seat("final"), proposers=[seat(f"seat{number}") for number in range(SEATS)]
        ),
    }
    prompts = [f"What is {number} times {number}?" for number in range(PROMPTS)]

    async def main() -> list[Pair]:
        async with local_workers(2) as address:

            def compared(engine: Any) -> Any:
                async def run() -> None:
                    done = await acompare(strategies, prompts, engine=engine, progress=False)
                    assert set(done.to_dataframe()["status"]) == {"ok"}
                    done.store.close()

                return timed_async(run)

            return await interleaved_async(compared(address), compared("asyncio"), rounds)

    return asyncio.run(main())
