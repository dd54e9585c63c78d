"""Draws council.svg for the README: a Council on simulated models, as the terminal shows it."""

from __future__ import annotations

import re
from pathlib import Path

from rich.console import Console

from composite_lab import Council, Seat, terminal
from composite_lab.testing import FakeServer, load_questions

PICTURE = Path(__file__).with_name("council.svg")
PRICES = {"input_cost_per_token": 0.15e-6, "output_cost_per_token": 0.60e-6}
MODELS = {
    "ada": "accuracy=0.9+latency=0.25",
    "ben": "accuracy=0.6+latency=0.45",
    "cleo": "accuracy=0.7+latency=0.3",
}


def main() -> None:
    """Run the Council and write the picture."""
    question = next(question for question in load_questions() if question.id == "change-at-the-till-3")
    with FakeServer.start() as server:
        seats = [
            Seat(model=f"openai/{name}+{how}", name=name, api_base=server.base_url, api_key="none", **PRICES)
            for name, how in MODELS.items()
        ]
        council = Council(chairman=seats[0], members=seats)
        council.run("Hello")  # the first calls of a process also load LiteLLM's client
        result = council.run(question.prompt)
    console = Console(record=True, width=100, file=None, force_terminal=True)
    console.print(f'>>> [bold]council.run([/]"{question.prompt}"[bold])[/]', highlight=False)
    console.print(*list(terminal.stages(result.trace, limit=300)), sep="\n")
    console.print("[bold]Answer[/]", terminal.answer(result.text), sep="\n")
    console.print(terminal.calls_table(result.trace))
    console.print(terminal.headline(result.trace))
    picture = console.export_svg(title="composite_lab")
    # The picture stands alone: no font is fetched for it.
    PICTURE.write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL))


if __name__ == "__main__":
    main()
