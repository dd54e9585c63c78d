"""`composite-lab demo`: both strategies on simulated models."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from composite_lab import terminal
from composite_lab.commands.console import out, show_answer
from composite_lab.seats import Seat
from composite_lab.strategies.council import Council
from composite_lab.strategies.moa import MoA

QUESTION = "change-at-the-till-3"
PRICES: dict[str, Any] = {"input_cost_per_token": 0.15e-6, "output_cost_per_token": 0.60e-6}
# Simulated models: each name says how often it is right. The prices are invented.
SEATS = {
    "ada": "accuracy=0.9+latency=0.25",
    "ben": "accuracy=0.6+latency=0.35",
    "cleo": "accuracy=0.7+latency=0.3",
}
FINAL = "dora+accuracy=0.8+latency=0.2"


def demo() -> None:
    """Ask one question through MoA and Council, on simulated models: no key, no network."""
    from composite_lab.testing import FakeServer, load_questions

    question = next(q for q in load_questions() if q.id == QUESTION)
    out.print(f"[bold]Question[/bold]  {escape(question.prompt)}   [dim](right: {question.target})[/dim]")
    out.print(
        "[dim]A fake server on this machine simulates the models; accuracies and prices are invented.[/dim]"
    )
    with FakeServer.start() as server:

        def seat(name: str, behaviour: str) -> Seat:
            model = f"openai/{name}+{behaviour}"
            return Seat(
                model=model,
                name=name,
                api_base=server.base_url,
                api_key="none-needed",
                **PRICES,
            )

        seats = [seat(name, behaviour) for name, behaviour in SEATS.items()]
        name, _, behaviour = FINAL.partition("+")
        final = seat(name, behaviour)
        for strategy in (MoA(aggregator=final, proposers=seats), Council(chairman=final, members=seats)):
            out.rule(f"[bold]{type(strategy).__name__}")
            result = strategy.run(question.prompt)
            out.print(*terminal.stages(result.trace), sep="\n")
            show_answer(result.trace, result.text)
