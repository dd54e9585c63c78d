"""`composite-lab serve` and `fake-server`: the two servers, as processes in the foreground."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.markup import escape

from composite_lab import serving
from composite_lab.commands.console import fail, out
from composite_lab.errors import ConfigError
from composite_lab.provider.remote import MODELS


def serve(
    profiles: Annotated[Path, typer.Option(metavar="FILE", help="A YAML file of profiles.")],
    host: Annotated[str, typer.Option(help="The loopback unless you say otherwise.")] = "127.0.0.1",
    port: Annotated[int, typer.Option()] = 4000,
    any_model: Annotated[
        bool, typer.Option(help="Also serve composite/moa/<any model> and the like, and seats of any model.")
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="What clients may set: endpoints, limits, models."),
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
            out.print(f"Serving {escape(', '.join(names))} at http://{host}:{port}")
            if key is None:
                key = serving.new_master_key()
                out.print(f"Master key (made for this run, shown once): {key}", soft_wrap=True)
            proxy = serving.start_proxy(
                path,
                profiles,
                host=host,
                port=port,
                master_key=key,
                allow=[*(allow or ()), *([MODELS] if any_model else [])],
            )
            code = _wait(proxy)
    except (ConfigError, OSError) as error:
        fail(error, code=2)
    raise typer.Exit(code)


def fake_server(
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    verbose: Annotated[bool, typer.Option(help="A line on standard error for each request.")] = False,
) -> None:
    """Serve fake OpenAI models; prints the URL. Every answer is simulated."""
    from composite_lab.testing import fake_openai

    fake_openai.main(["--host", host, "--port", str(port), *(["--verbose"] if verbose else [])])


def _wait(process: subprocess.Popen[bytes]) -> int:
    # A signal for us is one for the proxy; a terminal's Ctrl-C reaches it anyway.
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue
