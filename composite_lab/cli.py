"""The command line: parse arguments, call the library, print."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from composite_lab import serving, terminal
from composite_lab.errors import CompositeError, ConfigError
from composite_lab.profiles import load_profiles, profile, profiles_schema
from composite_lab.provider import trace_of
from composite_lab.seats import Seat
from composite_lab.strategies.base import Strategy
from composite_lab.strategies.council import Council
from composite_lab.strategies.moa import MoA
from composite_lab.trace.events import CallFinished, Finished, StageStarted, TextDelta
from composite_lab.trace.model import Result, Trace
from composite_lab.trace.sink import load_traces, save_traces

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
out = Console(soft_wrap=False)
err = Console(stderr=True)

DEMO_QUESTION = "change-at-the-till-3"
DEMO_PRICES: dict[str, Any] = {"input_cost_per_token": 0.15e-6, "output_cost_per_token": 0.60e-6}
# Simulated models: each name says how often it is right. The prices are invented.
DEMO_SEATS = {
    "ada": "accuracy=0.9+latency=0.25",
    "ben": "accuracy=0.6+latency=0.35",
    "cleo": "accuracy=0.7+latency=0.3",
}
DEMO_FINAL = "dora+accuracy=0.8+latency=0.2"

SeatNames = Annotated[list[str] | None, typer.Option(metavar="MODEL", help="May be given several times.")]


@app.command()
def demo() -> None:
    """Ask one question through MoA and Council, on simulated models: no key, no network."""
    from composite_lab.testing import FakeServer, load_questions

    question = next(q for q in load_questions() if q.id == DEMO_QUESTION)
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
                **DEMO_PRICES,
            )

        seats = [seat(name, behaviour) for name, behaviour in DEMO_SEATS.items()]
        name, _, behaviour = DEMO_FINAL.partition("+")
        final = seat(name, behaviour)
        for strategy in (MoA(aggregator=final, proposers=seats), Council(chairman=final, members=seats)):
            out.rule(f"[bold]{type(strategy).__name__}")
            _show(strategy.run(question.prompt))


@app.command()
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
        "council": {"chairman": chairman, "members": member, "reviewers": reviewer},
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
            out.print_json(_as_json(runner.run(messages, **given)))
        else:
            _stream(runner, messages, given)
    except ConfigError as error:
        _fail(error, code=2)
    except Exception as error:
        _fail(error, code=1)


@app.command()
def trace(
    file: Annotated[Path, typer.Argument(help="A file that `save_traces` or `ask --save` wrote.")],
    id_: Annotated[str, typer.Option("--id", metavar="PREFIX", help="Only traces whose id begins so.")] = "",
    text: Annotated[bool, typer.Option("--text", help="Also the answers of every stage.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="The calls of all traces as one CSV table.")] = False,
) -> None:
    """Show saved traces."""
    try:
        chosen = [trace for trace in load_traces(file) if trace.trace_id.startswith(id_)]
    except (ConfigError, OSError) as error:
        _fail(error, code=2)
    if not chosen:
        _fail(
            ConfigError(f"{file} holds no trace" + (f" whose id begins with {id_!r}" if id_ else "")), code=2
        )
    if csv:
        for number, one in enumerate(chosen):
            sys.stdout.write(one.to_dataframe().to_csv(index=False, header=number == 0))
        return
    for one in chosen:
        out.rule(f"{one.trace_id} · {one.started_at:%Y-%m-%d %H:%M:%S} UTC")
        if text:
            out.print(*terminal.stages(one, limit=10_000), sep="\n")
        _show_end(one, one.text or one.error_message or "")


@app.command()
def profiles(
    file: Annotated[Path | None, typer.Argument(help="A YAML file of profiles; see the README.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of such files.")] = False,
) -> None:
    """Check a file of profiles and list them: name, strategy, seats."""
    import json

    if schema:
        sys.stdout.write(json.dumps(profiles_schema(), indent=2) + "\n")
        return
    if file is None:
        _fail(ConfigError("give the FILE to check, or --schema for the JSON schema of such files"), code=2)
    table = Table("profile", "strategy", "seats")
    try:
        for name in load_profiles(file):
            strategy = profile(name)
            table.add_row(name, strategy.kind, escape(", ".join(map(str, strategy.all_seats()))))
    except ConfigError as error:
        _fail(error, code=2)
    out.print(table)


@app.command()
def serve(
    profiles: Annotated[Path, typer.Option(metavar="FILE", help="A YAML file of profiles.")],
    host: Annotated[str, typer.Option(help="The loopback unless you say otherwise.")] = "127.0.0.1",
    port: Annotated[int, typer.Option()] = 4000,
    any_model: Annotated[
        bool, typer.Option(help="Also serve composite/moa/<any model> and the like.")
    ] = False,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", help="What clients may set: endpoints, limits.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the proxy's configuration here.")
    ] = None,
) -> None:
    """Serve the profiles of a file to any OpenAI client, through LiteLLM's proxy."""
    try:
        with TemporaryDirectory() as folder:
            path = config or Path(folder) / "proxy.yaml"
            names = serving.write_config(path, profiles, any_model=any_model)
            key = os.environ.get(serving.KEY_VARIABLE)
            out.print(f"Serving {', '.join(names)} at http://{host}:{port}")
            if key is None:
                key = serving.new_master_key()
                out.print(f"Master key (made for this run, shown once): {key}", soft_wrap=True)
            proxy = serving.start_proxy(
                path, profiles, host=host, port=port, master_key=key, allow=allow or ()
            )
            code = _wait(proxy)
    except (ConfigError, OSError) as error:
        _fail(error, code=2)
    raise typer.Exit(code)


@app.command("fake-server")
def fake_server(
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    verbose: Annotated[bool, typer.Option(help="A line on standard error for each request.")] = False,
) -> None:
    """Serve fake OpenAI models; prints the URL. Every answer is simulated."""
    from composite_lab.testing import fake_openai

    fake_openai.main(["--host", host, "--port", str(port), *(["--verbose"] if verbose else [])])


def main() -> None:
    """The entry point of `composite-lab`."""
    app()


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
                sys.stdout.write(text)
                sys.stdout.flush()
            case Finished(result=result):
                sys.stdout.write("\n")
                err.print(terminal.calls_table(result.trace))
                err.print(terminal.headline(result.trace))


def _wait(process: subprocess.Popen[bytes]) -> int:
    # A signal for us is one for the proxy; a terminal's Ctrl-C reaches it anyway.
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def _show(result: Result) -> None:
    out.print(*terminal.stages(result.trace), sep="\n")
    _show_end(result.trace, result.text)


def _show_end(trace: Trace, text: str) -> None:
    out.print("[bold]Answer[/bold]")
    out.print(terminal.answer(text))
    out.print(terminal.calls_table(trace))
    out.print(terminal.headline(trace))


def _as_json(result: Result) -> str:
    import json

    totals = {"text": result.text, "message": result.message, "usage": result.usage.model_dump(),
              "cost_usd": result.cost_usd, "trace": result.trace.model_dump(mode="json")}  # fmt: skip
    return json.dumps(totals)


def _fail(error: Exception, *, code: int) -> NoReturn:
    name = "" if isinstance(error, CompositeError) else f"{type(error).__name__}: "
    err.print(f"[red]{escape(name + str(error))}[/red]")
    with suppress(ConfigError):  # it has no trace when nothing was called
        err.print(terminal.calls_table(trace_of(error)))
    raise typer.Exit(code)


if __name__ == "__main__":
    main()
