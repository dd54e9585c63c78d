"""Who ranked whom how: ballots as a table of ranks, and the standings that follow from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

from composite_lab.notebook.document import SEPARATOR, document, name, row, table
from composite_lab.notebook.text import escaped
from composite_lab.strategies.ranking import standings as standings_of
from composite_lab.trace.call import Ballot, Standing, label

MOST_REVIEWERS = 30
MOST_CANDIDATES = 30
SHADES = 5
"""The classes cl-shade-0 (last) to cl-shade-5 (first)."""
MOST_PAIRS = 1_000_000


def ballots_page(ballots: Sequence[Ballot]) -> str:
    """Ballots as a static page, with the standings that follow from them."""
    sound = [ballot for ballot in ballots if _is_sound(ballot)]
    members = sorted({member for ballot in sound for member in ballot.members})
    return document(ballots_table(ballots, standings_of(sound, members)))


def ballots_table(
    ballots: Sequence[Ballot],
    standings: Sequence[Standing],
    names: Mapping[int, str] | None = None,
    reviewers: Mapping[int, str] | None = None,
) -> str:
    """Reviewers by candidates with the ranks in the cells, then the standings and the agreement.

    `names` says what the candidates' seats are called, `reviewers` the same of the reviewers.
    """
    if not ballots:
        return '<p class="cl-meta">No ballots: nobody reviewed.</p>'
    known = names or {}
    order = [standing.member for standing in standings]
    order += sorted({member for ballot in ballots for member in ballot.members} - set(order))
    shown, rows = order[:MOST_CANDIDATES], ballots[:MOST_REVIEWERS]
    headings = ["reviewer", *(_candidate(member, known) for member in shown), "ballot"]
    grid = "".join(_ballot_row(ballot, shown, order, reviewers or {}) for ballot in rows)
    left_out = len(order) - len(shown), len(ballots) - len(rows)
    cut = f"<p>{left_out[0]} more candidates and {left_out[1]} more reviewers.</p>" if any(left_out) else ""
    return (
        f'<div class="cl-wide"><table class="cl-table cl-ballots"><thead><tr>'
        f"{''.join(f'<th>{heading}</th>' for heading in headings)}</tr></thead><tbody>{grid}</tbody></table>"
        f'</div>{cut}<p class="cl-meta">1 is best; no reviewer sees its own answer.{_agreed(ballots)}</p>'
        f"{_standings(standings, known)}"
    )


def agreement(ballots: Sequence[Ballot]) -> float | None:
    """How often two reviewers put two candidates in the same order: 1.0 always, 0.5 like chance.

    The mean over all pairs of valid ballots and of candidates that both ranked; None without such a pair.
    (2 x agreement - 1 is Kendall's tau, averaged.)
    """
    rankings = [list(_ranks(ballot)) for ballot in ballots if _is_sound(ballot)]
    if sum(len(ranking) ** 2 for ranking in rankings) > MOST_PAIRS:
        return None
    before = Counter(pair for ranking in rankings for pair in combinations(ranking, 2))
    same = both = 0
    for first, second in {(min(pair), max(pair)) for pair in before}:
        one, other = before[first, second], before[second, first]
        same += (one * (one - 1) + other * (other - 1)) // 2
        both += (one + other) * (one + other - 1) // 2
    return same / both if both else None


def _ballot_row(
    ballot: Ballot, shown: Sequence[int], candidates: Sequence[int], reviewers: Mapping[int, str]
) -> str:
    ranks = _ranks(ballot)
    missing = set(candidates) - set(ballot.members)
    own = missing.pop() if len(missing) == 1 else None
    cells = "".join(_rank_cell(member, ballot, ranks, own) for member in shown)
    status = f'<span class="cl-status cl-{ballot.status}">{ballot.status}</span>'
    who = "<br>".join([f"reviewer {ballot.reviewer + 1}", *_seat_name(ballot.reviewer, reviewers)])
    return f"<tr><th>{who}</th>{cells}<td>{status}</td></tr>"


def _rank_cell(member: int, ballot: Ballot, ranks: Mapping[int, int], own: int | None) -> str:
    if member in ranks:
        rank, last = ranks[member], len(ranks)
        shade = round(SHADES * (last - rank) / (last - 1)) if last > 1 else SHADES
        return f'<td class="cl-rank cl-shade-{shade}">{rank}</td>'
    if member == own:
        return '<td class="cl-rank cl-own">own</td>'
    return f'<td class="cl-rank cl-own">{"not ranked" if member in ballot.members else "not shown"}</td>'


def _candidate(member: int, names: Mapping[int, str]) -> str:
    return "<br>".join([escaped(label(member)), *_seat_name(member, names)])


def _seat_name(member: int, names: Mapping[int, str]) -> list[str]:
    return [name(names[member], 32)] if member in names else []


def _standings(standings: Sequence[Standing], names: Mapping[int, str]) -> str:
    if not standings:
        return ""
    rows = [
        row(
            [
                str(standing.place),
                SEPARATOR.join([name(standing.label, 40), *_seat_name(standing.member, names)]),
                "not ranked" if standing.borda is None else f"{standing.borda:.0%} of its rivals",
                "not ranked" if standing.mean_rank is None else f"{standing.mean_rank:.2f}",
                str(standing.ballots),
            ]
        )
        for standing in standings[:MOST_CANDIDATES]
    ]
    headings = ("place", "answer", "beat", "mean rank", "ballots")
    return f'<p class="cl-label">Standings</p>{"".join(table(headings, rows))}'


def _agreed(ballots: Sequence[Ballot]) -> str:
    share = agreement(ballots)
    if share is None:
        return ""
    return f" Two reviewers put two answers in the same order in {share:.0%} of the cases (chance: 50%)."


def _ranks(ballot: Ballot) -> dict[int, int]:
    """The rank of each candidate, from best to worst; empty unless the ballot is valid."""
    behind = dict(zip(ballot.labels, ballot.members, strict=False))
    ranked = [behind[shown] for shown in ballot.ranking or [] if shown in behind]
    return {member: rank for rank, member in enumerate(ranked, 1)}


def _is_sound(ballot: Ballot) -> bool:
    """Whether the labels are in order; a ballot that was read from a file may be anything."""
    return len(ballot.labels) == len(ballot.members) and (
        ballot.ranking is None or sorted(ballot.ranking) == sorted(ballot.labels)
    )
