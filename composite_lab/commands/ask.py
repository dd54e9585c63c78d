"""`composite-lab ask`: one question, asked of real models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from composite_lab import terminal
from composite_lab.commands.console import err, fail, print_json, write
from composite_lab.errors import ConfigError
from composite_lab.strategies.base import Strategy
from composite_lab.strategies.council import Council
from composite_lab.strategies.moa import MoA
from composite_lab.trace.events import CallFinished, Finished, StageStarted, TextDelta
from composite_lab.trace.model import Result
from composite_lab.trace.sink import save_traces

SeatNames = Annotated[list[str] | None, typer.Option(metavar="MODEL", help="May be given several times.")]


def ask(
    question: Annotated[
        str | None, typer.Argument(help="Without it the question is read from standard input.")
    ] = None,
    strategy: Annotated[str, typer.Option(help="moa or council.")] = "moa",
    aggregator: Annotated[
        str | None, typer.Option(metavar="MODEL", help="MoA: who writes the answer.")
    ] = None,
    proposer: SeatNames = None,
    layers: Annotated[int | None, typer.Option(help="MoA: rounds of proposals.")] = None,
    samples: Annotated[int | None, typer.Option(help="MoA: answers from each proposer.")] = None,
    chairman: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Council: who writes the answer.")
    ] = None,
    member: SeatNames = None,
    reviewer: SeatNames = None,
    rubric: Annotated[
        list[str] | None,
        typer.Option(metavar="CRITERION", help="Council: score answers by it. May be given several times."),
    ] = None,
    verdict: Annotated[
        list[str] | None,
        typer.Option(metavar="OPTION", help="Council: choose it or another; give two or more."),
    ] = None,
    system: Annotated[str | None, typer.Option(help="A system prompt.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of the final call.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Of the final call.")] = None,
    timeout_s: Annotated[float | None, typer.Option(help="Seconds that the run may take.")] = None,
    max_cost_usd: Annotated[float | None, typer.Option(help="USD that the run may cost.")] = None,
    api_base: Annotated[str | None, typer.Option(help="Endpoint of the final model's provider.")] = None,
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="Append the trace to this file.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print answer, usage and trace as JSON.")] = False,
) -> None:
    """Ask real models. Keys come from the environment, as LiteLLM reads them (OPENAI_API_KEY, …)."""
    options: dict[str, dict[str, Any]] = {
        "moa": {"aggregator": aggregator, "proposers": proposer, "layers": layers, "samples": samples},
        "council": {
            "chairman": chairman,
            "members": member,
            "reviewers": reviewer,
            "rubric": rubric,
            "verdict": verdict,
        },
    }
    params = {"temperature": temperature, "max_tokens": max_tokens, "api_base": api_base}
    limits = {"timeout_s": timeout_s, "max_cost_usd": max_cost_usd}
    try:
        runner = _strategy(strategy, options, limits)
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": _question(question)})
        save_traces(save)
        given: dict[str, Any] = {name: value for name, value in params.items() if value is not None}
        if json_:
            print_json(_as_json(runner.run(messages, **given)))
        else:
            _stream(runner, messages, given)
    except ConfigError as error:
        fail(error, code=2)
    except Exception as error:
        fail(error, code=1)


def _strategy(name: str, options: dict[str, dict[str, Any]], limits: dict[str, Any]) -> Strategy:
    kinds: dict[str, type[Strategy]] = {"moa": MoA, "council": Council}
    if name not in kinds:
        raise ConfigError(f"unknown strategy {name!r}: use --strategy moa or --strategy council")
    foreign = [
        option for other in options if other != name for option, value in options[other].items() if value
    ]
    if foreign:
        raise ConfigError(f"--{foreign[0].rstrip('s')} does not belong to --strategy {name}")
    final = kinds[name].final_role
    if not options[name][final]:
        raise ConfigError(f"--strategy {name} needs --{final} MODEL, for example --{final} openai/gpt-4o")
    given = {option: value for option, value in (options[name] | limits).items() if value is not None}
    return kinds[name](**given)


def _question(argument: str | None) -> str:
    if argument is not None:
        return argument
    if sys.stdin.isatty():
        err.print("[dim]Your question, ended by Ctrl-D:[/dim]")
    return sys.stdin.read().strip()


def _stream(runner: Strategy, messages: list[dict[str, Any]], params: dict[str, Any]) -> None:
    for event in runner.stream(messages, **params):
        match event:
            case StageStarted(stage=stage, calls=calls):
                err.print(f"[dim]{stage}: {calls} {'call' if calls == 1 else 'calls'}[/dim]")
            case CallFinished(call=call) if call.status != "ok":
                err.print(f"[yellow]  {escape(call.name)}: {call.error_type or call.status}[/yellow]")
            case TextDelta(text=text):
                write(text)
            case Finished(result=result):
                write("\n")
                err.print(terminal.calls_table(result.trace))
                err.print(terminal.headline(result.trace))


def _as_json(result: Result) -> dict[str, Any]:
    return {"text": result.text, "message": result.message, "usage": result.usage.model_dump(),
              "cost_usd": result.cost_usd, "trace": result.trace.model_dump(mode="json")}  # fmt: skip
