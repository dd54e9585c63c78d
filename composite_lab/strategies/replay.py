"""Replay: what a trace recorded answers for the calls that are asked again in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from composite_lab.errors import ConfigError
from composite_lab.gateway import Place, recordable
from composite_lab.gateway.models import FINAL_PARAMS
from composite_lab.seats import Seat
from composite_lab.strategies.conversation import Message
from composite_lab.trace.call import Call
from composite_lab.trace.model import Trace, by_parent
from composite_lab.trace.summary import total_cost

STARS = "**********"
"""What stands in a configuration in place of a secret."""


@dataclass(frozen=True)
class Recorded:
    """A call of an earlier run and what it cost with the calls below it (USD)."""

    call: Call
    cost_usd: float | None


class Recording:
    """The calls of an earlier run, found by where they stood and what was asked."""

    def __init__(self, trace: Trace) -> None:
        self.trace_id = trace.trace_id
        self.used = 0
        below = by_parent(trace.calls)
        self._last = {
            (call.stage, call.round, call.seat, call.sample): Recorded(call, _paid_for(call, below))
            for call in below.get(None, [])
        }

    def recall(self, seat: Seat, messages: list[Message], place: Place) -> Recorded | None:
        """The last attempt at the same place, if it asked the same model the same in the same way."""
        found = self._last.get((place.stage, place.round, place.seat, place.sample))
        if found is None or found.call.status == "cancelled":
            return None
        asked = (seat.model, messages, recordable(seat.call_params(place.sample)))
        if asked != (found.call.request_model, found.call.messages, found.call.params):
            return None
        self.used += 1
        return found

    @property
    def note(self) -> str:
        """What a trace says of it."""
        return f"replayed from trace {self.trace_id}: {self.used} of its calls were taken as they are"


def replayed_options(
    kind: str, final: tuple[str, str], trace: Trace, changes: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of the replaying strategy, and the parameters of its final call.

    `final` is the stage and the role of the final call; of `changes`, those among `options` replace what
    the trace tells of the strategy, the others are parameters. Raises `ConfigError` for a trace of another
    strategy, one that never came to its final call, and a parameter that a trace cannot hold.
    """
    stage, role = final
    if trace.strategy != kind:
        raise ConfigError(f"the trace is of the strategy {trace.strategy!r}: {kind!r} cannot replay it")
    top = [call for call in trace.calls if call.parent_call_id is None]
    last = next((call for call in top if call.stage == stage), None)
    if last is None or not any(call.status == "ok" and call.stage != stage for call in top):
        raise ConfigError(
            f"the trace {trace.trace_id!r} has too little to replay: its run ended as {trace.status!r} with "
            f"{len(top)} calls, before its {role} was asked. Run the question again"
        )
    kept = _without_masks(trace.config)
    seat = Seat.model_validate(kept[role])
    own = seat.call_params()
    params = {
        name: value
        for name, value in last.params.items()
        if name in FINAL_PARAMS and (name not in own or own[name] != value)
    }
    given = {name: value for name, value in changes.items() if name not in options}
    if isinstance(params.get("response_format"), str) and "response_format" not in given:
        raise ConfigError(
            f"the trace holds only the name of its response_format ({params['response_format']}): "
            "give response_format=… again"
        )
    replaced = {name: value for name, value in changes.items() if name in options}
    return kept | replaced, params | given


def _without_masks(value: Any) -> Any:
    """A configuration without its masked secrets: keys come from the environment or are given again."""
    if isinstance(value, dict):
        return {name: _without_masks(item) for name, item in value.items() if item != STARS}
    if isinstance(value, list):
        return [_without_masks(item) for item in value]
    return value


def _paid_for(call: Call, below: Mapping[str | None, list[Call]]) -> float | None:
    """What was paid for a call when it was: with the calls below it, and before any earlier replay."""
    pending, paid = [call], []
    while pending:
        one = pending.pop()
        pending += below.get(one.call_id, [])
        cost = one.original_cost_usd if one.cost_source == "cache" else one.cost_usd
        paid.append(one.model_copy(update={"cost_usd": cost}))
    return total_cost(paid)
