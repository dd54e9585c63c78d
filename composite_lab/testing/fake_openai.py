"""A server that speaks OpenAI's chat completions, answers without a model and fails on request.

What it answers is a function of the request alone; how it behaves stands in the model's name
(`fake-a+latency=0.3+status=429`, see `behaviour.Behaviour`) or in the header `X-Fake-Behaviour`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from composite_lab.testing.behaviour import options_table
from composite_lab.testing.connection import KeepAliveHandler, KeepAliveServer
from composite_lab.testing.exchange import Exchange, error_response
from composite_lab.testing.ledger import Ledger
from composite_lab.testing.wire import CREATED, Rejection

MODELS = ("fake-a", "fake-b", "fake-c", "sim-a+accuracy=0.7", "sim-b+accuracy=0.7", "sim-c+accuracy=0.7")


def create_app() -> Flask:
    """Return the WSGI app; it must be served by `KeepAliveServer`, whose connections it can cut."""
    app = Flask("composite_lab.fake_openai")
    # Cut connections and mistakes reach the request handler instead of becoming pages.
    app.config["PROPAGATE_EXCEPTIONS"] = True
    ledger = Ledger()

    @app.post("/v1/chat/completions")
    @app.post("/chat/completions")
    def chat() -> Response:
        return Exchange.begin(ledger).response()

    @app.get("/v1/models")
    @app.get("/models")
    def models() -> Response:
        rows = [{"id": m, "object": "model", "created": CREATED, "owned_by": "fake"} for m in MODELS]
        return _json({"object": "list", "data": rows})

    @app.get("/_requests")
    def requests() -> Response:
        return _json({"requests": ledger.requests()})

    @app.get("/_stats")
    def stats() -> Response:
        return _json(ledger.stats())

    @app.post("/_reset")
    def reset() -> Response:
        ledger.reset()
        return _json({})

    @app.errorhandler(HTTPException)
    def page_error(error: HTTPException) -> Response:
        status = error.code or 500
        return error_response(Rejection(status, f"{request.method} {request.path}: {error.description}"))

    return app


def serve(host: str, port: int, on_ready: Callable[[str], None], *, verbose: bool = False) -> None:
    """Serve until SIGTERM or SIGINT (or `stop_serving`), having passed the base URL to `on_ready`."""
    stopped = threading.Event()
    _stops.append(stopped)
    handler = type("Handler", (KeepAliveHandler,), {"verbose": verbose})
    server = KeepAliveServer(host, port, create_app(), handler)
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    shown = f"[{host}]" if ":" in host else host
    on_ready(f"http://{shown}:{server.port}/v1")
    try:
        # Windows delivers signals only between waits.
        while not stopped.wait(0.5):
            pass
    finally:
        _stops.remove(stopped)
        server.shutdown()


def stop_serving() -> None:
    """End every `serve` of this process."""
    for stopped in list(_stops):
        stopped.set()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server from the command line: the first line of output is its base URL."""
    parser = argparse.ArgumentParser(
        prog="python -m composite_lab.testing.fake_openai",
        description="A fake OpenAI-compatible server; the behaviour stands in the model's name.",
        epilog=options_table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--verbose", action="store_true", help="write one line per request to stderr")
    parser.add_argument("--exit-with-parent", action="store_true", help="exit when standard input ends")
    chosen = parser.parse_args(argv)
    if chosen.exit_with_parent:
        threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    serve(chosen.host, chosen.port, _announce, verbose=chosen.verbose)
    return 0


_stops: list[threading.Event] = []


def _announce(base_url: str) -> None:
    sys.stdout.write(f"{base_url}\n")
    sys.stdout.flush()


def _stop_at_end_of_input() -> None:
    # os.read, because a thread inside sys.stdin.read() makes the interpreter abort at exit.
    while os.read(0, 4096):
        pass
    stop_serving()


def _json(value: object) -> Response:
    return Response(json.dumps(value), mimetype="application/json")


if __name__ == "__main__":
    sys.exit(main())
