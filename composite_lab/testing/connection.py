"""The connections of the fake server: kept alive, watched while an answer waits, cut on purpose."""

from __future__ import annotations

import io
import selectors
import socket
import sys
import time
from collections.abc import Iterable
from typing import Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

# select() fails above 1024 open files and poll() does not, but Windows has no poll().
_Selector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)

_LONGEST_NAP_S = 0.05


class ConnectionCut(ConnectionAbortedError):
    """The connection is to be closed now, whatever has been sent."""


class ClientLeft(ConnectionCut):
    """The client has closed its end of the connection."""


class Line:
    """The client's end of the connection, as far as a waiting handler can see it."""

    def __init__(self, raw: socket.socket) -> None:
        self._socket = raw

    def wait(self, seconds: float) -> None:
        """Wait, and raise `ClientLeft` as soon as the client hangs up."""
        deadline = time.monotonic() + seconds
        with _Selector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            while True:
                left = max(deadline - time.monotonic(), 0.0)
                if selector.select(min(left, 1.0)):
                    self._peek()
                    # Bytes of a next request are waiting: the socket stays readable, so napping
                    # is all that can be done until this request is answered.
                    time.sleep(min(left, _LONGEST_NAP_S))
                if left <= 0.0:
                    return

    def _peek(self) -> None:
        try:
            waiting = self._socket.recv(1, socket.MSG_PEEK)
        except OSError as error:
            raise ClientLeft("the connection was reset") from error
        if not waiting:
            raise ClientLeft("the client closed the connection")


class KeepAliveHandler(WSGIRequestHandler):
    """Serves a WSGI app over connections that stay open, which werkzeug's own handler does not.

    An app, or the body it returns, may raise `ConnectionCut` to have the connection closed.
    """

    protocol_version = "HTTP/1.1"
    # Head and body of an answer leave in one packet each; waiting to merge them costs 40 ms.
    disable_nagle_algorithm = True
    verbose = False

    def run_wsgi(self) -> None:
        """Read the request to its end, call the app and send what it answers."""
        if self.headers.get("Expect", "").strip().lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.environ = environ = self.make_environ()
        try:
            body = self._read_body(environ)
        except (ValueError, OSError):
            # Without knowing where this request ends, no next one can be read.
            self.close_connection = True
            self.send_error(400)
            return
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        try:
            self._answer(environ)
        except ConnectionCut:
            self.close_connection = True

    def _read_body(self, environ: dict[str, Any]) -> bytes:
        source = environ["wsgi.input"]
        if environ.get("wsgi.input_terminated"):
            chunked: bytes = source.read()
            return chunked
        size = int(environ.get("CONTENT_LENGTH") or 0)
        if size < 0:
            raise ValueError(f"Content-Length is {size}; it cannot be negative.")
        body: bytes = source.read(size)
        if len(body) < size:
            raise ConnectionAbortedError("The client left in the middle of its request.")
        return body

    def _answer(self, environ: dict[str, Any]) -> None:
        head: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _error: object = None) -> None:
            head[:] = [status, headers]

        pieces: Iterable[bytes] = self.server.app(environ, start_response)  # type: ignore[arg-type]
        try:
            self._send(head, pieces)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    def _send(self, head: list[Any], pieces: Iterable[bytes]) -> None:
        status, headers = head
        names = {name.lower(): value for name, value in headers}
        sized = "content-length" in names or self.command == "HEAD" or status[:3] in {"204", "304"}
        chunked = not sized and self.request_version >= "HTTP/1.1"
        if names.get("connection") == "close" or not (sized or chunked):
            self.close_connection = True
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        if "connection" not in names:
            lines.append(f"Connection: {'close' if self.close_connection else 'keep-alive'}")
        unsent = "\r\n".join([*lines, "\r\n"]).encode("latin-1")
        if self.verbose:
            sys.stderr.write(f"{self.command} {self.path} {status}\n")
        for piece in pieces:
            if piece:
                framed = b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece
                self.wfile.write(unsent + framed)
                unsent = b""
        end = b"0\r\n\r\n" if chunked else b""
        if unsent or end:
            self.wfile.write(unsent + end)

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing of requests and broken connections unless asked to."""
        if self.verbose:
            super().log(type, message, *args)


class KeepAliveServer(ThreadedWSGIServer):
    """Runs a WSGI app with one thread per connection."""

    # Tests open many connections in one moment.
    request_queue_size = 1024
    daemon_threads = True
