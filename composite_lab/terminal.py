"""Traces on a terminal, as rich tables. Pure functions of the trace."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from composite_lab.notebook.text import score
from composite_lab.notebook.verdict_view import verdict_text
from composite_lab.strategies.ranking import relabel, rule_of, scores_apart
from composite_lab.trace.call import Call, Standing
from composite_lab.trace.model import Trace
from composite_lab.trace.summary import excerpt, harmless

STYLES = {"ok": "green", "degraded": "yellow", "error": "red", "timeout": "red", "cancelled": "yellow"}


def calls_table(trace: Trace) -> Table:
    """A row per attempt: who, how it ended, tokens in and out, cost, start and latency in seconds."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1))
    for heading in ("call", "model", "status"):
        table.add_column(heading, overflow="fold")
    for heading in ("in", "out", "USD", "start s", "took s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for call in trace.calls:
        table.add_row(
            _seat(call),
            Text(call.name),
            Text(call.error_type or call.status, style=STYLES[call.status]),
            _number(call.prompt_tokens, "d"),
            _number(call.completion_tokens, "d"),
            _number(call.cost_usd, ".6f"),
            _number(call.start_offset_s, ".2f"),
            _number(call.latency_s, ".2f"),
        )
    return table


def stages(trace: Trace, limit: int = 400) -> Iterator[RenderableType]:
    """Every stage's answers, each cut to `limit` characters, and the standings of a Council.

    Reviews are told in the labels of the standings, not in those that each reviewer saw.
    """
    shown: tuple[str, int] | None = None
    names = {call_id: ballot.names for ballot in trace.ballots for call_id in ballot.call_ids}
    for call in trace.calls:
        if call.parent_call_id is not None or call.stage in ("aggregation", "synthesis"):
            continue
        if (call.stage, call.round) != shown:
            shown = (call.stage, call.round)
            yield Text(
                f"{call.stage.capitalize()}{f', round {call.round + 1}' if call.round else ''}", style="bold"
            )
        yield Padding(
            _answer(call, relabel(call.text or "", names.get(call.call_id, {})), limit), (0, 0, 0, 2)
        )
    if trace.standings:
        yield Text("Standings", style="bold")
        for standing in trace.standings:
            told = ", ".join(_standing(standing, trace))
            yield Text(f"  {standing.place}. {standing.label} (member {standing.member + 1}): {told}")


def answer(text: str) -> RenderableType:
    """The final answer, indented like those of the stages."""
    return Padding(Text(text), (0, 0, 0, 2))


def headline(trace: Trace) -> Text:
    """One line: the strategy, how it ended, and its totals; on a second one the verdict, if there is one."""
    totals = Text(str(trace.summary()), style=STYLES[trace.status])
    verdict = verdict_text(trace)
    return Text("\n").join([totals, Text(verdict, style="bold")]) if verdict else totals


def _standing(standing: Standing, trace: Trace) -> Iterator[str]:
    """The numbers behind a place: the share of rivals beaten, and what the council's own rule makes of it."""
    yield "not ranked" if standing.borda is None else f"beat {standing.borda:.0%} of its rivals"
    rule, weighted = rule_of(trace.config), bool(trace.config.get("reviewer_weights"))
    if standing.score is not None and scores_apart(rule, weighted=weighted):
        yield f"{harmless(rule)}{' (reviewers weighted)' if weighted else ''} {score(standing.score)}"


def _answer(call: Call, text: str, limit: int) -> Text:
    head = (f"{call.role} {call.seat + 1} · {call.name}: ", "dim")
    if call.status != "ok":
        return Text.assemble(
            head, (call.error_type or call.status, STYLES[call.status]), f" {call.error_message or ''}"
        )
    return Text.assemble(head, excerpt(text, limit))


def _seat(call: Call) -> Text:
    parts = [f"{call.role} {call.seat + 1}"]
    if call.round:
        parts.append(f"round {call.round + 1}")
    if call.sample:
        parts.append(f"sample {call.sample + 1}")
    if call.attempt:
        parts.append(f"attempt {call.attempt + 1}")
    return Text(", ".join(parts), style="" if call.parent_call_id is None else "dim")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
