"""One chat request from its arrival to its answer, with the faults on the way."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response, request

from composite_lab.testing import streams, wire
from composite_lab.testing.answers import choices
from composite_lab.testing.behaviour import without_faults
from composite_lab.testing.connection import ClientLeft, ConnectionCut, Line
from composite_lab.testing.conversation import ChatCall, canonical
from composite_lab.testing.draws import fraction, pick, tag
from composite_lab.testing.ledger import Entry, Ledger
from composite_lab.testing.mutation import mutated
from composite_lab.testing.names import BehaviourError, parse_model
from composite_lab.testing.strictness import check_strictness
from composite_lab.testing.wire import Rejection

# How long the `hang` of fail_rate lasts before the connection is closed.
LIMITED_HANG_S = 2.0

_JSON = "application/json"
_FIELD_TYPES = {"tools": list, "response_format": dict, "stream_options": dict}


@dataclass
class Exchange:
    """A recorded chat request on its way to an answer."""

    entry: Entry
    line: Line
    body: object
    model: str
    header: str

    @classmethod
    def begin(cls, ledger: Ledger) -> Exchange:
        """Record the current Flask request and return its exchange."""
        try:
            body = json.loads(request.get_data())
        except ValueError:
            body = None
        model = body.get("model") if isinstance(body, dict) else None
        name = model if isinstance(model, str) else ""
        header = request.headers.get("X-Fake-Behaviour", "")
        headers = {name.lower(): value for name, value in request.headers.items()}
        entry = ledger.open(
            {"model": name, "path": request.path, "headers": headers, "body": body},
            behaviour_key=f"{name} {header}",
            body_key=tag(canonical(body), length=32),
        )
        return cls(entry, Line(request.environ["werkzeug.socket"]), body, name, header)

    def response(self) -> Response:
        """Return the answer, or raise `ConnectionCut` if there is to be none."""
        try:
            return self._answer()
        except Rejection as rejection:
            self.entry.close("error", rejection.status)
            return error_response(rejection)
        except ClientLeft:
            self.entry.close("client_disconnected", None)
            raise
        except ConnectionCut:
            self.entry.close("dropped", None)
            raise
        except Exception as error:
            # A body nobody thought of: the client is told, since nobody reads this process's stderr.
            self.entry.close("error", 500)
            return error_response(Rejection(500, f"The fake server cannot handle this request: {error!r}"))

    def _answer(self) -> Response:
        call = self._read()
        self._meet_faults(call)
        behaviour = call.behaviour
        if call.body.get("stream"):
            events = streams.events(call, choices(call))
            return Response(self._stream(call, events), mimetype="text/event-stream")
        body = b'{"id": "chatcmpl-malformed", "choices": [' if behaviour.malformed else b""
        body = body or wire.completion(call, choices(call))
        if behaviour.mutate is not None:
            body = mutated(json.loads(body), behaviour.mutate)
        self.line.wait(0)
        if behaviour.truncate:
            self.entry.close("dropped", 200)
            headers = {"Content-Length": str(len(body)), "Connection": "close"}
            short = Response(body[: len(body) // 2], mimetype=_JSON)
            short.headers.update(headers)
            return short
        # Closed before the last byte leaves: the client's next request must not find this one in flight.
        self.entry.close("answered", 200, _tokens(call))
        return Response(body, mimetype=_JSON)

    def _read(self) -> ChatCall:
        try:
            name, behaviour = parse_model(self.model, self.header)
        except BehaviourError as error:
            raise Rejection(400, str(error), param=error.option) from None
        if behaviour.times is not None and self.entry.turn >= behaviour.times:
            behaviour = without_faults(behaviour)
        call = ChatCall(self.model, name, behaviour, _checked(self.body))
        if name.startswith("unknown-"):
            text = f"The model `{self.model}` does not exist: its name begins with `unknown-`."
            raise Rejection(404, text, param="model")
        if behaviour.require_key is not None:
            _check_key(behaviour.require_key, self.entry.request["headers"].get("authorization", ""))
        if behaviour.no_tools and _has_tools(call):
            raise Rejection(
                400, f"The model `{name}` does not support tools (option no_tools).", param="tools"
            )
        check_strictness(call)
        return call

    def _meet_faults(self, call: ChatCall) -> None:
        asked = call.behaviour
        self.line.wait(asked.latency)
        if asked.hang:
            self.line.wait(math.inf)
        if asked.drop:
            raise ConnectionCut("option drop")
        status = asked.status
        if asked.fail_rate:
            draw = (canonical(call.body), self.entry.repeat, asked.fail_seed)
            if fraction("fails", *draw) < asked.fail_rate:
                kind = pick(asked.fail_kinds, "kind", *draw)
                if kind == "hang":
                    self.line.wait(LIMITED_HANG_S)
                if kind in {"hang", "drop"}:
                    raise ConnectionCut(f"option fail_rate: {kind}")
                status = status or int(kind)
        if status is not None:
            after = asked.retry_after if status == 429 else None
            why = "Incorrect API key provided: " if status == 401 else ""
            raise Rejection(
                status, f"{why}The fake model `{call.name}` was told to answer {status}.", retry_after=after
            )

    def _stream(self, call: ChatCall, events: list[bytes]) -> Iterator[bytes]:
        asked = call.behaviour
        if asked.malformed:
            events = [b'data: {"id": "chatcmpl-malformed", "choices": [\n\n', streams.DONE]
        last = len(events) // 2 if asked.truncate else len(events) - 1
        try:
            for i, event in enumerate(events[: last + 1]):
                self.line.wait(asked.chunk_latency if i else 0.0)
                if i == last:
                    outcome = ("dropped", 0) if asked.truncate else ("answered", _tokens(call))
                    self.entry.close(outcome[0], 200, outcome[1])
                yield event
        finally:
            # Reached with the entry open only if the client left.
            self.entry.close("client_disconnected", 200)
        if asked.truncate:
            raise ConnectionCut("option truncate")


def error_response(rejection: Rejection) -> Response:
    """Return the error as an HTTP answer."""
    answer = Response(json.dumps(rejection.body), rejection.status, mimetype=_JSON)
    answer.headers.update(rejection.headers)
    return answer


def _checked(body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Rejection(400, "The body must be a JSON object with `model` and `messages`.")
    if not body.get("model") or not isinstance(body["model"], str):
        raise Rejection(
            400, f"`model` must be a non-empty string; given: {body.get('model')!r}.", param="model"
        )
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Rejection(400, f"`messages` must be a non-empty list; given: {messages!r}.", param="messages")
    for i, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise Rejection(400, f"`messages[{i}]` must be an object with a role.", param="messages")
    for name, kind in _FIELD_TYPES.items():
        if body.get(name) is not None and not isinstance(body[name], kind):
            raise Rejection(400, f"`{name}` must be a {kind.__name__}; given: {body[name]!r}.", param=name)
    _check_tools(body)
    count = body.get("n")
    if count is not None and not (isinstance(count, int) and 1 <= count <= 128):
        raise Rejection(400, f"`n` must be a whole number from 1 to 128; given: {count!r}.", param="n")
    return body


def _check_tools(body: Mapping[str, Any]) -> None:
    names = []
    for i, tool in enumerate(body.get("tools") or ()):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise Rejection(400, f"`tools[{i}].function.name` is missing; given: {tool!r}.", param="tools")
        names.append(function["name"])
    wanted = body.get("tool_choice") or "auto"
    if isinstance(wanted, dict):
        function = wanted.get("function")
        if not isinstance(function, dict) or function.get("name") not in names:
            raise Rejection(
                400, f"`tool_choice` must name one of {names}; given: {wanted!r}.", param="tool_choice"
            )
    elif wanted not in {"auto", "none", "required"}:
        text = f"`tool_choice` must be auto, none, required or a function; given: {wanted!r}."
        raise Rejection(400, text, param="tool_choice")


def _check_key(key: str, authorization: str) -> None:
    if not authorization:
        raise Rejection(401, "You did not provide an API key; send `Authorization: Bearer KEY`.")
    if authorization != f"Bearer {key}":
        # Clients tell this refusal by its words; that servers repeat the key is why traces redact it.
        raise Rejection(401, f"Incorrect API key provided: {authorization.removeprefix('Bearer ')}.")


def _has_tools(call: ChatCall) -> bool:
    spoken_of = any(message["role"] == "tool" or message.get("tool_calls") for message in call.messages)
    return bool(call.body.get("tools")) or spoken_of


def _tokens(call: ChatCall) -> int:
    spent = wire.usage(call.behaviour)
    return int(spent["total_tokens"]) if spent else 0
