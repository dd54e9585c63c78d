"""A run as static HTML: no script, every text escaped, and never too large for a notebook.

Pure functions of what a run left behind. What the fragments look like is in `style.css`; they stand in
`document.document(…)`, which brings it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from composite_lab.notebook.ballots_page import ballots_page
from composite_lab.notebook.ballots_page import ballots_table as ballots
from composite_lab.notebook.call_card import call_card, call_title, messages_list, outcome, title_parts, who
from composite_lab.notebook.calls_table import (
    Stage,
    calls_table,
    selected,
    stages,
    status_mark,
    timeline,
)
from composite_lab.notebook.document import (
    SEPARATOR,
    Bounds,
    details,
    document,
    fitted,
    joined,
    name,
    row,
    style,
    table,
)
from composite_lab.notebook.strategy_page import configuration, strategy_line, strategy_page
from composite_lab.notebook.text import escaped, one_line, pre, seconds, tokens, usd
from composite_lab.notebook.verdict_view import verdict_line, votes_table
from composite_lab.trace.call import Call
from composite_lab.trace.model import Result, Trace
from composite_lab.trace.summary import Summary, critical_path

__all__ = [
    "ballots", "ballots_of", "ballots_page", "behind_labels", "call_card", "call_title", "calls_table",
    "document", "facts", "failures", "result_page", "stages", "strategy_line", "strategy_page", "style",
    "timeline", "trace_page", "votes_of",
]  # fmt: skip

NOTE_CHARS = 1_000
MOST_NOTES = 10
PREVIEW_CHARS = 110
WORTH_TELLING = 1.05
"""From which speed-up on it is told; below, the run's calls went one by one."""


def facts(trace: Trace) -> str:
    """The run in one line: how it ended and its totals; below it the verdict and what went wrong."""
    summary = trace.summary()
    mark = f'<span class="cl-status cl-{trace.status}">{trace.status}</span>'
    head = f"<strong>{name(trace.strategy)}</strong> {mark} {name(trace.model, 160)}"
    totals = f'<p class="cl-facts">{head}<br>{SEPARATOR.join(_totals(trace, summary))}</p>'
    return totals + verdict_line(trace) + _alert(trace)


def trace_page(trace: Trace) -> str:
    """A trace as a static page: totals, answer, every stage with its calls, ballots, timeline, table."""
    return _page(trace, trace.text, "trace")


def result_page(result: Result) -> str:
    """A result as a static page: its answer, then its trace."""
    return _page(result.trace, result.text, "result.trace")


def ballots_of(trace: Trace) -> str:
    """The ballots of a run as a table, with the names of its reviewers and candidates."""
    seats = {ballot.call_id: ballot.reviewer for ballot in trace.ballots}
    reviewers = {seats[call.call_id]: call.name for call in trace.calls if call.call_id in seats}
    return ballots(trace.ballots, trace.standings, _candidates(trace), reviewers, trace.config)


def votes_of(trace: Trace) -> str:
    """The votes behind a verdict, with the names of the members; empty where there are none."""
    verdict = trace.verdict
    if verdict is None or not verdict.votes:
        return ""
    return details(f"Votes ({len(verdict.votes):,})", votes_table(verdict, _candidates(trace)))


def behind_labels(trace: Trace) -> dict[str, dict[str, str]]:
    """By the call id of each review, who was behind the labels that the reviewer saw."""
    names = _candidates(trace)
    return {
        call_id: {
            shown: f"member {member + 1} {one_line(names.get(member, ''))}".strip()
            for shown, member in zip(ballot.labels, ballot.members, strict=False)
        }
        for ballot in trace.ballots
        for call_id in ballot.call_ids
    }


def failures(trace: Trace) -> str:
    """The calls of a trace that failed, as a static page: who, attempt, error, message, latency."""
    top = facts(trace)
    failed = [call for call in trace.calls if call.status != "ok"]
    headings = ("call", "model", "attempt", "error", "message", "took")

    def parts(bounds: Bounds) -> Iterator[str]:
        yield top
        if not failed:
            yield "<p>No call failed.</p>"
            return
        shown = failed[: bounds.entries]
        if bounds.cut:
            yield _cut_note(len(shown), len(failed), bounds, "trace")
        yield from table(headings, (_failure(call, bounds) for call in shown), "cl-failures")

    return fitted(parts)


def _page(trace: Trace, text: str | None, given: str) -> str:
    top, found, labels = facts(trace), stages(trace.calls), behind_labels(trace)
    path = {call.call_id for call in critical_path(trace.calls)}
    reviewed, votes = ballots_of(trace) if trace.ballots else "", votes_of(trace)

    def parts(bounds: Bounds) -> Iterator[str]:
        """The page piece by piece, so that one that grows too large is given up early."""
        shown = selected(trace.calls, bounds.entries)
        yield top
        if bounds.cut:
            yield _cut_note(len(shown), len(trace.calls), bounds, given)
        if trace.messages:
            asked = messages_list(trace.messages, bounds.characters)
            yield details(f"Question {_preview(_question(trace))}", asked)
        if text:
            answer = pre(text, bounds.characters)
            yield f'<div class="cl-answer"><p class="cl-label">Answer</p>{answer}</div>'
        yield votes
        yield from _stages(found, {id(call) for call in shown}, bounds, labels)
        if reviewed:
            yield details("Ballots and standings", reviewed)
        if shown:
            yield details("Timeline", timeline(shown, path))
            yield details(f"Table of calls ({len(shown):,})", calls_table(shown))
        if trace.config:
            yield details("Configuration", "".join(configuration(trace.config, bounds)))

    return fitted(parts)


def _stages(
    found: Sequence[Stage], shown: set[int], bounds: Bounds, labels: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    opened = True
    for stage in found:
        rows = [(call, depth) for call, depth in stage.calls if id(call) in shown]
        if rows:
            left_out = len(stage.calls) - len(rows)
            more = f" · {left_out:,} of its calls not shown" if left_out else ""
            yield _stage_head(stage, more, opened)
            yield from _calls(rows, bounds, labels)
            yield "</div></details>"
            opened = False


def _stage_head(stage: Stage, more: str, opened: bool) -> str:
    numbers = f'<span class="cl-meta">{escaped(stage.numbers + more)}</span>'
    return (
        f'<details class="cl-stage"{" open" if opened else ""}>'
        f"<summary><strong>{escaped(stage.title)}</strong> {numbers}</summary>"
        '<div class="cl-calls-of-stage">'
    )


def _calls(
    rows: Sequence[tuple[Call, int]], bounds: Bounds, labels: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """The calls of a stage, each open to a card; the calls of a composite inside of its own."""
    open_ = 0
    for call, depth in rows:
        yield "</details>" * (open_ - depth)
        card = call_card(call, bounds.characters, labels.get(call.call_id))
        kind = "cl-call" if call.status == "ok" else "cl-call cl-failed"
        yield f'<details class="{kind}"><summary>{_title(call)}</summary>{card}'
        open_ = depth + 1
    yield "</details>" * open_


def _title(call: Call) -> str:
    first, second, *others = title_parts(call)
    if call.status != "ok":
        others = others[:-1]
    mark = "" if call.status == "ok" else f" {status_mark(call)}"
    head = f"<strong>{escaped(first)}</strong>{SEPARATOR}{name(second)}{SEPARATOR}{joined(others)}{mark}"
    return f"{head} {_preview(call.text)}" if call.text else head


def _preview(text: str) -> str:
    return f'<em class="cl-preview">{name(text, PREVIEW_CHARS)}</em>'


def _question(trace: Trace) -> str:
    content = trace.messages[-1].get("content")
    return content if isinstance(content, str) else ""


def _totals(trace: Trace, summary: Summary) -> Iterator[str]:
    yield f"{summary.calls:,} call{'' if summary.calls == 1 else 's'}"
    cancelled = sum(call.status == "cancelled" for call in trace.calls)
    failed = summary.failures - cancelled
    if failed or not cancelled:
        yield f"<strong>{failed:,} failed</strong>" if failed else "0 failed"
    if cancelled:
        yield f"{cancelled:,} cancelled"
    counted = any(call.total_tokens is not None for call in trace.calls)
    yield tokens(summary.usage.total_tokens) if counted else "tokens unknown"
    cost = "cost unknown" if summary.cost_usd is None else usd(summary.cost_usd)
    unpriced = summary.unpriced_calls if summary.cost_usd is not None else 0
    yield f"{cost} (+ {unpriced:,} call{'' if unpriced == 1 else 's'} of unknown price)" if unpriced else cost
    yield seconds(summary.wall_time_s)
    if summary.speedup is not None and summary.speedup >= WORTH_TELLING:
        yield f"{summary.speedup:.1f} times faster than one by one"


def _alert(trace: Trace) -> str:
    notes = "".join(pre(note, NOTE_CHARS) for note in trace.notes[:MOST_NOTES])
    if len(trace.notes) > MOST_NOTES:
        notes += f"<p>… and {len(trace.notes) - MOST_NOTES:,} more notes.</p>"
    error = pre(trace.error_message, NOTE_CHARS) if trace.error_message else ""
    kind = f" {name(trace.error_type)}" if trace.error_type else ""
    match trace.status:
        case "error":
            told = f"<strong>This run failed:{kind}</strong>{error}{notes}"
        case "cancelled":
            told = f"<strong>This run was cancelled before it had an answer.</strong>{error}{notes}"
        case "degraded":
            told = f"<strong>This answer was made in a lesser way than the strategy promises:</strong>{notes}"
        case _:
            return f'<div class="cl-note">{notes}</div>' if notes else ""
    return f'<div class="cl-alert cl-alert-{trace.status}">{told}</div>'


def _cut_note(shown: int, there: int, bounds: Bounds, given: str) -> str:
    calls = f"{shown:,} of {there:,} calls, " if shown < there else ""
    return (
        f'<p class="cl-note">To keep the notebook small this shows {calls}at most {bounds.characters:,} '
        f"characters of each text. All of it: <code>{given}.to_dataframe(include_text=True)</code></p>"
    )


def _failure(call: Call, bounds: Bounds) -> str:
    message = pre(call.error_message, bounds.characters) if call.error_message else ""
    place = escaped(who(call.model_copy(update={"attempt": 0})))
    cells = [place, name(call.name), str(call.attempt + 1), escaped(outcome(call)), message]
    return row([*cells, seconds(call.latency_s)])


def _candidates(trace: Trace) -> dict[int, str]:
    """What the seats behind the candidates are called."""
    first = trace.calls[0].stage if trace.calls else None
    top = [call for call in trace.calls if call.stage == first and call.parent_call_id is None]
    return {call.seat: call.name for call in top}
