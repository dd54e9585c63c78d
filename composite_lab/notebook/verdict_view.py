"""A council's verdict: the choice, how sure the chairman says it is, and the votes of the members."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from composite_lab.notebook.document import SEPARATOR, name, row, table
from composite_lab.notebook.text import one_line
from composite_lab.trace.model import Trace
from composite_lab.trace.verdict import Verdict

OPTION_CHARS = 60
PROBLEM_CHARS = 160
MOST_OPTIONS = 8
MOST_VOTES = 100


def verdict_text(trace: Trace) -> str:
    """The verdict in one line of plain text; empty where none was asked for."""
    told = _told(trace)
    return f"Verdict: {' · '.join(', '.join(group) for group in told)}" if told else ""


def verdict_line(trace: Trace) -> str:
    """The verdict in one line of HTML; empty where none was asked for."""
    told = _told(trace)
    if not told:
        return ""
    (choice, *_), *others = told
    parts = [", ".join(name(part, len(part)) for part in group) for group in others]
    head = f"Verdict: <strong>{name(choice, len(choice))}</strong>"
    return f'<p class="cl-verdict">{SEPARATOR.join([head, *parts])}</p>'


def votes_table(verdict: Verdict, names: Mapping[int, str]) -> str:
    """Who voted how, how sure of it, and why where a vote does not count, as an HTML table."""
    rows = [row(_vote_cells(verdict, number, names)) for number in range(min(MOST_VOTES, len(verdict.votes)))]
    more = len(verdict.votes) - len(rows)
    cut = f"<p>{more:,} more votes.</p>" if more else ""
    note = "How sure a model says it is need not be how often it is right."
    headings = ("member", "choice", "sure", "vote")
    return f'{"".join(table(headings, rows))}{cut}<p class="cl-meta">{note}</p>'


def _told(trace: Trace) -> list[list[str]]:
    """The choice, how sure, the votes, and what went otherwise than planned, as short plain texts."""
    verdict = trace.verdict
    if verdict is None:
        asked = bool(trace.config.get("verdict"))
        return [["none"], ["the run ended before the chairman gave one"]] if asked else []
    choice = "none" if verdict.choice is None else one_line(verdict.choice, OPTION_CHARS)
    sure = [] if verdict.confidence is None else [f"{verdict.confidence:.0%} sure"]
    why, votes = list(_why(verdict)), list(_votes(verdict))
    parts = [[choice], why, votes] if verdict.choice is None else [[choice], sure, votes, why]
    return [part for part in parts if part]


def _why(verdict: Verdict) -> Iterator[str]:
    """How the chairman's reply fell short of a valid choice, if it did."""
    problem = f": {one_line(verdict.problem, PROBLEM_CHARS)}" if verdict.problem else ""
    match verdict.status:
        case "repaired":
            yield f"asked again{problem}"
        case "abstained":
            yield "the chairman abstained"
        case "invalid":
            yield f"no choice could be read{problem}"
        case "failed" if verdict.choice is None:
            yield f"the chairman failed, and in the opinion in its place no choice could be read{problem}"
        case "failed":
            yield "the chairman failed: this is the choice in the opinion in its place"


def _votes(verdict: Verdict) -> Iterator[str]:
    """How many members chose what: "votes: 7 yes", "2 no"."""
    counts = verdict.counts()
    named = [option for option in counts if counts[option] or len(counts) <= MOST_OPTIONS]
    lost = Counter(
        "abstained" if vote.status == "abstained" else "unreadable"
        for vote in verdict.votes
        if vote.choice is None or vote.choice not in counts
    )
    parts = [f"{counts[option]} {one_line(option, OPTION_CHARS)}" for option in named[:MOST_OPTIONS]]
    if len(named) > MOST_OPTIONS:
        parts.append(f"{sum(counts[option] for option in named[MOST_OPTIONS:])} for other options")
    parts += [f"{count} {what}" for what, count in lost.items()]
    if verdict.votes:
        yield f"votes: {parts[0]}"
        yield from parts[1:]


def _vote_cells(verdict: Verdict, number: int, names: Mapping[int, str]) -> Iterator[str]:
    vote = verdict.votes[number]
    seat = [name(names[vote.member], OPTION_CHARS)] if vote.member in names else []
    yield SEPARATOR.join([f"member {vote.member + 1}", *seat])
    yield "none" if vote.choice is None else name(vote.choice, OPTION_CHARS)
    yield "" if vote.confidence is None else f"{vote.confidence:.0%}"
    mark = f'<span class="cl-status cl-{vote.status}">{vote.status}</span>'
    yield f"{mark} {name(vote.problem, PROBLEM_CHARS)}" if vote.problem else mark
