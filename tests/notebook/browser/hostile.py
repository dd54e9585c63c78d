"""A trace in which every text that a model, a provider or a user could have written is an attack."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import composite_lab as lab
from composite_lab.trace.call import Ballot, BallotStatus, Call, Standing
from composite_lab.trace.model import Trace

MARKER = "window.pwned"
INJECTED = "injected"
"""The class of every element that an attack makes."""
STRANGER = "stranger.example"
LONG = 1_000_000
AT = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)


def attack(where: str) -> str:
    """A text that tries to run script, call home, look like a formula and hide; it names its place."""
    return (
        f"Text of {where}."
        f'<script class="{INJECTED}">{MARKER} = "{where}"; alert(1)</script>'
        f'<img class="{INJECTED}" src=x onerror="{MARKER} = \'{where}\'">'
        f'<svg class="{INJECTED}" onload="{MARKER} = 1"></svg>'
        f'<img class="{INJECTED}" src="https://{STRANGER}/{where.replace(" ", "-")}.png">'
        "</pre></details></td></table></style></textarea></select></div>"
        f'<b class="{INJECTED}">out of its box</b>'
        f'"\' onmouseover="{MARKER} = 2" autofocus onfocus="{MARKER} = 3" class="{INJECTED}"'
        f"<style>body {{ display: none }} @import 'https://{STRANGER}/{where.replace(' ', '-')}.css';</style>"
        f'<iframe class="{INJECTED}" srcdoc="<script>parent.pwned = 4</script>"></iframe>'
        f'<a class="{INJECTED}" href="javascript:{MARKER} = 5">read on</a> [read on](javascript:{MARKER}=6)'
        f"$\\frac{{1}}{{2}}$ $$x^2$$ \\(y\\) \\[z\\] \\begin{{align}}a\\end{{align}} "
        "\x1b[31mred\x1b[0m \x1b]8;;https://stranger.example\x07link\x1b]8;;\x07 \x00 "
        "\u202edesrever\u202c \u2066isolated\u2069 "
        f"{{{{ {MARKER} = 7 }}}} ${{{MARKER} = 8}} end of {where}."
    )


def call(stage: str, seat: int, text: str | None = None, **fields: Any) -> Call:
    """A call of a hostile model; its texts name its place, which is its `call_id`."""
    place = fields.setdefault("call_id", f"{stage} {seat}")
    wrote = {
        "text": attack(f"answer of {place}") if text is None else text,
        "reasoning": attack(f"reasoning of {place}"),
        "messages": [
            {"role": attack(f"role of {place}"), "content": attack(f"request of {place}")},
            {"role": "user", "content": [{"type": "text", "text": attack(f"part of {place}")}]},
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": f"https://{STRANGER}/i"}}],
            },
        ],
        "params": {attack(f"parameter of {place}"): attack(f"value of {place}")},
        "tool_calls": [
            {
                "id": attack(f"tool call id of {place}"),
                "type": "function",
                "function": {
                    "name": attack(f"tool of {place}"),
                    "arguments": attack(f"arguments of {place}"),
                },
            }
        ],
        "provider": attack(f"provider of {place}"),
        "response_model": attack(f"response model of {place}"),
        "finish_reason": attack(f"finish reason of {place}"),
        "role": attack(f"seat of {place}"),
        "request_model": attack(f"model of {place}"),
    }
    return Call(
        trace_id="t", strategy="council", stage=stage, seat=seat, started_at=AT,
        **{"status": "ok", "start_offset_s": 0.1 * seat, "latency_s": 0.5, **wrote, **fields},
    )  # fmt: skip


def ballot(reviewer: int, status: BallotStatus = "valid") -> Ballot:
    """A review of two answers under hostile labels."""
    labels = [attack(f"label {member} of reviewer {reviewer}") for member in (0, 1)]
    ranking = labels[::-1] if status == "valid" else None
    return Ballot(
        reviewer=reviewer, call_id=f"review {reviewer}", labels=labels, members=[0, 1], ranking=ranking,
        status=status,
    )  # fmt: skip


def trace() -> Trace:
    """The trace of a degraded Council: opinions, a stage of hostile name, reviews, tool calls, an answer."""
    error = {"error_type": attack("error type"), "error_message": attack("error message")}
    calls = [
        call("opinions", 0),
        call("opinions", 1, text="x" * LONG + "\u202e" + attack("the end of a long text")),
        call("opinions", 2, text="", status="error", **error),
        call("opinions", 2, attempt=1, call_id="opinions again", seat_name=attack("name of a seat")),
        call(attack("stage"), 0, call_id="strange 0"),
        call("review", 0),
        call("review", 1),
        call("tool", 0, tool_calls=[]),
        call("synthesis", 0),
    ]
    standings = [
        Standing(member=member, label=attack(f"standing {member}"), place=2 - member, borda=1.0 * member,
                 mean_rank=2.0 - member, ballots=1)
        for member in (0, 1)
    ]  # fmt: skip
    return Trace(
        trace_id=attack("trace id"), strategy=attack("strategy"), model=attack("model"), status="degraded",
        error_type=attack("error type of the trace"), error_message=attack("error message of the trace"),
        started_at=AT, latency_s=2.0, version=lab.__version__, config={attack("option"): attack("setting")},
        messages=[{"role": "user", "content": attack("question")}], text=attack("final answer"),
        reasoning=attack("reasoning of the trace"), calls=calls, ballots=[ballot(0), ballot(1, "invalid")],
        standings=standings, notes=[attack("note")],
    )  # fmt: skip
