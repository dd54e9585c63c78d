"""Comparisons in processes of their own, which a test kills: `experiment_script.py STORE URL PROMPTS`.

For each line on stdin it forks a child that carries out the comparison, and prints the child's pid and,
when that has ended, how. Forked, because importing LiteLLM twenty times would be most of the test.
"""

from __future__ import annotations

import os
import sys
import traceback

import composite_lab as lab


def strategies(url: str) -> dict[str, lab.MoA | lab.Council | lab.Seat]:
    """A single model, a MoA and a Council that share some of their calls. Prices in USD per token."""

    def seat(name: str) -> lab.Seat:
        return lab.Seat(
            model=f"openai/{name}", api_base=url, api_key="none-needed", timeout_s=60,
            input_cost_per_token=1e-6, output_cost_per_token=2e-6,
        )  # fmt: skip

    members = [seat("a"), seat("b"), seat("c")]
    return {
        "single": seat("a"),
        "moa": lab.MoA(aggregator=seat("final"), proposers=members),
        "council": lab.Council(chairman=seat("final"), members=members),
    }


def prompts(count: int) -> list[dict[str, object]]:
    """Questions with a target that some of the answers contain."""
    return [
        {"id": f"q{number}", "prompt": f"What is {number} times 3?", "target": str(number % 10)}
        for number in range(count)
    ]


def carry_out(store: str, url: str, count: int) -> None:
    """The comparison, in the child."""
    lab.compare(
        strategies(url), prompts(count), scorer="contains", store=store, max_concurrency=24, progress=False
    )


def main() -> None:
    """Fork a child for each line."""
    store, url, count = sys.argv[1:]
    assert lab.compare  # imported here, before the first fork
    print("ready", flush=True)
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                carry_out(store, url, int(count))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
