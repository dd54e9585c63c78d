"""Who ranked or scored whom how: ballots as a table, and the standings that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from composite_lab.notebook.document import SEPARATOR, document, name, row, table
from composite_lab.notebook.judgement import (
    agreement,
    has_level_pairs,
    is_score,
    is_sound,
    mean_scores,
    own_answer,
    problem,
    ranks,
    scores_by_criterion,
)
from composite_lab.notebook.text import escaped, one_line, score
from composite_lab.strategies.ranking import default_rule, rule_of, scores_apart
from composite_lab.strategies.ranking import standings as standings_of
from composite_lab.trace.call import Ballot, Standing, label

MOST_REVIEWERS = 30
MOST_CANDIDATES = 30
MOST_CRITERIA = 12
MOST_FITTED = 50
"""Up to how many candidates the mean scores are fitted."""
SHADES = 5
"""The classes cl-shade-0 (last) to cl-shade-5 (first)."""
NAME_CHARS = 32


def ballots_page(ballots: Sequence[Ballot]) -> str:
    """Ballots as a static page, with the standings that follow from them.

    Those are made by the rule of a Council that names none: by the mean score if all ballots have scores.
    """
    sound = [ballot for ballot in ballots if is_sound(ballot)]
    members = sorted({member for ballot in sound for member in ballot.members})
    usable = [ballot for ballot in sound if ballot.is_usable]
    scored = bool(usable) and all(ballot.scores is not None for ballot in usable)
    rule = default_rule(scored=scored and len(members) <= MOST_FITTED)
    return document(ballots_table(ballots, standings_of(sound, members, rule=rule), config={"ranking": rule}))


def ballots_table(
    ballots: Sequence[Ballot],
    standings: Sequence[Standing],
    names: Mapping[int, str] | None = None,
    reviewers: Mapping[int, str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> str:
    """Reviewers by candidates with ranks or mean scores in the cells, the standings, the agreement.

    `names` says what the candidates' seats are called, `reviewers` the same of the reviewers, and `config`
    is that of the council: its `ranking`, `rubric` and `reviewer_weights` are told as far as it has them.
    """
    if not ballots:
        return '<p class="cl-meta">No ballots: nobody reviewed.</p>'
    known, config = names or {}, config or {}
    order = [standing.member for standing in standings]
    order += sorted({member for ballot in ballots for member in ballot.members} - set(order))
    shown, rows = order[:MOST_CANDIDATES], ballots[:MOST_REVIEWERS]
    headings = ["reviewer", *(_candidate(member, known) for member in shown), "ballot"]
    scored = bool(config.get("rubric")) or any(ballot.scores is not None for ballot in ballots)
    missing = "not scored" if scored else "not ranked"
    grid = "".join(_ballot_row(ballot, shown, order, reviewers or {}, missing) for ballot in rows)
    left_out = len(order) - len(shown), len(ballots) - len(rows)
    cut = f"<p>{left_out[0]} more candidates and {left_out[1]} more reviewers.</p>" if any(left_out) else ""
    caption = " ".join(_caption(ballots, order, config))
    return (
        f'<div class="cl-wide"><table class="cl-table cl-ballots"><thead><tr>'
        f"{''.join(f'<th>{heading}</th>' for heading in headings)}</tr></thead><tbody>{grid}</tbody></table>"
        f'</div>{cut}<p class="cl-meta">{caption}</p>'
        f"{_criteria(ballots, shown, known)}{_standings(standings, known, config)}"
    )


def _ballot_row(
    ballot: Ballot,
    shown: Sequence[int],
    candidates: Sequence[int],
    reviewers: Mapping[int, str],
    missing: str,
) -> str:
    own, placed, scores = own_answer(ballot, candidates), ranks(ballot), mean_scores(ballot)
    numbers = {member: score(scores[member]) if scores else str(rank) for member, rank in placed.items()}
    cells = []
    for member in shown:
        if member not in ballot.members:
            cells.append(f'<td class="cl-rank cl-own">{"own" if member == own else "not shown"}</td>')
            continue
        shade = f"cl-shade-{_shade(placed[member], len(placed))}" if member in placed else "cl-own"
        mark = ' <span class="cl-own">(own)</span>' if member == own else ""
        cells.append(f'<td class="cl-rank {shade}">{numbers.get(member, missing)}{mark}</td>')
    status = f'<span class="cl-status cl-{ballot.status}">{ballot.status}</span>'
    why = problem(ballot)
    told = f'{status}<br><span class="cl-meta">{name(why, len(why))}</span>' if why else status
    who = "<br>".join([f"reviewer {ballot.reviewer + 1}", *_seat_name(ballot.reviewer, reviewers)])
    return f"<tr><th>{who}</th>{''.join(cells)}<td>{told}</td></tr>"


def _shade(rank: int, last: int) -> int:
    return round(SHADES * (last - rank) / (last - 1)) if last > 1 else SHADES


def _candidate(member: int, names: Mapping[int, str]) -> str:
    return "<br>".join([escaped(label(member)), *_seat_name(member, names)])


def _seat_name(member: int, names: Mapping[int, str]) -> list[str]:
    return [name(names[member], NAME_CHARS)] if member in names else []


def _caption(ballots: Sequence[Ballot], order: Sequence[int], config: Mapping[str, Any]) -> Iterator[str]:
    """What the numbers in the cells are, who saw its own answer, and how far the reviewers agree."""
    scored = any(ballot.scores is not None for ballot in ballots)
    ranked = any(ballot.ranking is not None and ballot.scores is None for ballot in ballots)
    if scored:
        which = "Numbers with decimals" if ranked else "The numbers"
        yield f"{which} are a reviewer's mean scores over the criteria, {_scale(config)}; shades are ranks."
    if ranked:
        yield "Whole numbers are ranks: 1 is best." if scored else "1 is best."
    owners = [(ballot, own_answer(ballot, order)) for ballot in ballots]
    if any(own in ballot.members for ballot, own in owners if own is not None):
        yield "“(own)” marks a reviewer's own answer, which it saw among the others."
    elif any(own is not None for _, own in owners):
        yield "No reviewer saw its own answer."
    share = agreement(ballots)
    if share is not None:
        level = " in which neither put them on a level" if has_level_pairs(ballots) else ""
        yield (
            f"Two reviewers put two answers in the same order in {share:.0%} of the cases{level} "
            "(chance: 50%)."
        )


def _scale(config: Mapping[str, Any]) -> str:
    rubric = config.get("rubric")
    scale = rubric.get("scale") if isinstance(rubric, Mapping) else None
    match scale:
        case [int() | float() as low, int() | float() as high] if is_score(low) and is_score(high):
            return f"from {low:g} (worst) to {high:g} (best)"
        case _:
            return "higher being better"


def _criteria(ballots: Sequence[Ballot], shown: Sequence[int], names: Mapping[int, str]) -> str:
    """Candidates by criteria: the mean over the reviewers that scored the candidate."""
    given: dict[tuple[int, str], list[float]] = {}
    for ballot in ballots:
        for member, scores in scores_by_criterion(ballot).items():
            for criterion, number in scores.items():
                given.setdefault((member, criterion), []).append(number)
    criteria = list(dict.fromkeys(criterion for _, criterion in given))
    if not criteria:
        return ""
    some = criteria[:MOST_CRITERIA]
    rows = [
        row(
            [
                SEPARATOR.join([escaped(label(member)), *_seat_name(member, names)]),
                *(_mean(given.get((member, criterion), [])) for criterion in some),
            ]
        )
        for member in shown
    ]
    cut = f"<p>{len(criteria) - len(some)} more criteria.</p>" if len(some) < len(criteria) else ""
    headings = ["answer", *(one_line(criterion, NAME_CHARS) for criterion in some)]
    return (
        '<p class="cl-label">Scores by criterion, the mean over the reviewers</p>'
        f"{''.join(table(headings, rows))}{cut}"
    )


def _mean(numbers: Sequence[float]) -> str:
    return score(fmean(numbers)) if numbers else "no score"


def _standings(standings: Sequence[Standing], names: Mapping[int, str], config: Mapping[str, Any]) -> str:
    if not standings:
        return ""
    rule, weighted = rule_of(config), bool(config.get("reviewer_weights"))
    scored = any(standing.score is not None for standing in standings)
    by_rule = scored and scores_apart(rule, weighted=weighted)
    rows = [row(_standing(standing, names, by_rule)) for standing in standings[:MOST_CANDIDATES]]
    headings = ["place", "answer", "beat", "mean rank", "ballots"]
    if by_rule:
        told = f"{one_line(rule, NAME_CHARS)}{', reviewers weighted' if weighted else ''}"
        headings.insert(2, f"score ({told})")
    fitted = (
        '<p class="cl-meta">A mean_score is what the mean would be had all reviewers scored all answers: '
        "that one reviewer is stricter than another is taken out.</p>"
    )
    note = fitted if by_rule and rule == "mean_score" else ""
    return f'<p class="cl-label">Standings</p>{"".join(table(headings, rows))}{note}'


def _standing(standing: Standing, names: Mapping[int, str], by_rule: bool) -> Iterator[str]:
    yield str(standing.place)
    yield SEPARATOR.join([name(standing.label, 40), *_seat_name(standing.member, names)])
    if by_rule:
        yield "not ranked" if standing.score is None else score(standing.score)
    yield "not ranked" if standing.borda is None else f"{standing.borda:.0%} of its rivals"
    yield "not ranked" if standing.mean_rank is None else f"{standing.mean_rank:.2f}"
    yield str(standing.ballots)
