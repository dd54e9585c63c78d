"""Tool calls as servers send them: in pieces, without an id, with one id or one index for several calls."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

_CALL = ("id", "type", "index", "function", "custom")


@dataclass
class StreamedCall:
    """A tool call as far as it has come."""

    position: int
    given_id: str
    id: str
    type: str
    name: str
    arguments: str = ""
    fields: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The call as OpenAI writes it, with the fields that one provider adds."""
        what = {"name": self.name, "input" if self.type == "custom" else "arguments": self.arguments}
        return {**self.fields, "id": self.id, "type": self.type, self.type: what}


@dataclass(frozen=True)
class CallPiece:
    """A piece of a tool call: `begins` tells that a new call begins with it."""

    call: StreamedCall
    begins: bool
    arguments: str
    fields: dict[str, Any]


class StreamedCalls:
    """The tool calls of one streamed answer.

    Servers tell calls apart by index, by id, or by neither: then a name begins a call if the one before it
    is whole. Some repeat id and name with every piece (llama.cpp), so that with an id that came before only
    a whole call is another one. `make_id` gives an id to the call at a position whose own is empty or taken.
    """

    def __init__(self, make_id: Callable[[int], str]) -> None:
        self.calls: list[StreamedCall] = []
        self._make_id = make_id
        self._at: dict[int, StreamedCall] = {}

    def add(self, piece: Any) -> CallPiece:
        """Take a piece, as LiteLLM has read it."""
        dumped = piece if isinstance(piece, dict) else piece.model_dump()
        kind = "custom" if dumped.get("custom") else "function"
        what = dumped.get(kind) or {}
        name, given_id = what.get("name") or "", dumped.get("id") or ""
        arguments = what.get("input" if kind == "custom" else "arguments") or ""
        fields = {name: value for name, value in dumped.items() if name not in _CALL and value is not None}
        index = dumped.get("index") or 0
        call = self._at.get(index)
        begins = call is None or _is_another(call, given_id, name, arguments)
        if call is None or begins:
            call = self._begin(given_id, kind, name)
            self._at[index] = call
        call.arguments += arguments
        call.fields |= fields
        return CallPiece(call, begins, arguments, fields)

    def _begin(self, given_id: str, kind: str, name: str) -> StreamedCall:
        position = len(self.calls)
        taken = {call.id for call in self.calls}
        good = given_id if given_id and given_id not in taken else self._make_id(position)
        call = StreamedCall(position, given_id, good, kind, name)
        self.calls.append(call)
        return call


def mend_ids(tool_calls: Iterable[Any], make_id: Callable[[int], str]) -> None:
    """Give an id to each call of a whole answer whose own is empty or taken."""
    taken: set[str] = set()
    for position, call in enumerate(tool_calls):
        if not isinstance(call.id, str) or not call.id or call.id in taken:
            call.id = make_id(position)
        taken.add(call.id)


def id_maker(messages: Sequence[Any], choice: int) -> Callable[[int], str]:
    """Ids that are the same whenever the same was asked, and others for every other conversation.

    Nine letters and digits, which is what the strictest server (Mistral's) takes.
    """

    def make_id(position: int) -> str:
        asked = json.dumps([messages, choice, position], sort_keys=True, default=str)
        return f"c{hashlib.sha256(asked.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"

    return make_id


def _is_another(call: StreamedCall, given_id: str, name: str, arguments: str) -> bool:
    if given_id and call.given_id and given_id != call.given_id:
        return True
    if not name:
        return False
    if name != call.name:
        return True
    return _is_whole(call.arguments) and (not given_id or _is_whole(arguments))


def _is_whole(arguments: str) -> bool:
    """Whether arguments are JSON already, so that nothing can follow."""
    try:
        json.loads(arguments)
    except ValueError:
        return False
    return True
