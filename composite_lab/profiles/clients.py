"""What clients of a proxy may have: the limits in one table, and what an owner's file says instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import Field, model_validator

from composite_lab.seats import Frozen, unknown_name

CAPS: dict[str, float] = {
    "timeout_s": 3600,
    "max_cost_usd": 10,
    "straggler_grace_s": 3600,
    "call_timeout_s": 3600,
    "max_reply_chars": 10_000_000,
    "max_concurrency": 64,
    "retries": 5,
    "layers": 4,
    "samples": 8,
    "proposers": 8,
    "members": 8,
    "reviewers": 8,
    "repairs": 3,
    "canary": 1,
    "max_tool_iterations": 10,
    "verdict": 32,
    "rubric": 16,
    "calls": 64,
    "n": 8,
    "max_tokens": 32_768,
    "prompt_chars": 20_000,
}
"""The most that a client may ask for where neither the profile nor the strategy sets a limit.

Of `proposers`, `members`, `reviewers`, `verdict` and `rubric` it is their number; `calls` are those that a
run is planned to make, retries and repairs left out; `max_tokens` bounds a final call's or seat's tokens
in every spelling, those for thinking included; `prompt_chars` are the characters of a prompt of the client's.
"""


class Clients(Frozen):
    """What the section `clients` of a profiles file says: `limits` in place of those in `CAPS`, a profile's
    own included; `models` that their seats may have besides the profile's; `parameters` of the final call
    that they may send besides OpenAI's.
    """

    limits: Mapping[str, float] = Field(default_factory=dict)
    models: Sequence[str] = ()
    parameters: Sequence[str] = ()

    @model_validator(mode="after")
    def _known_limits(self) -> Self:
        for name, limit in self.limits.items():
            if name not in CAPS:
                raise ValueError(unknown_name(name, CAPS, "limit"))
            if not limit >= 0:
                raise ValueError(f"limits[{name!r}] must be a number that is not negative, not {limit}")
        return self
