"""A reviewer's ballot, read out of the text of its review."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from composite_lab.strategies.ballots.chain import Listing, Source, inline
from composite_lab.strategies.ballots.labels import Labels
from composite_lab.strategies.ballots.listing import listings
from composite_lab.strategies.ballots.quotation import Line, own_lines

_ANSWERS = r"(?:the\s|all\s){0,2}(?:\w{1,9}\s)?(?:responses|answers|candidates)"
_HEADING = re.compile(
    r"(?:\d{1,3}[.)]\s{1,3}[*_`]{0,3})?"
    r"(?:(?:so|thus|hence|therefore|here|is|are|here's|my|our|the|a|overall|complete|full|blind|revised"
    r"|corrected|updated|final),?[\s_-]{1,3}){0,6}"
    r"(?:(?:final|ranked)[\s_-]order|rankings?|ranked\slist|rank\sorder"
    rf"|I(?:'d|\swould)?\srank\s(?:them|these|{_ANSWERS}))\b"
    rf"(?:\s(?:of|for)\s{_ANSWERS})?"
    r"(?:,?\s?\(?(?:from\s)?(?:best|strongest|highest)(?:\sto\s|-to-)(?:worst|weakest|lowest)\)?"
    r"|\s?\([^()]{0,80}\))?"
    r"[*_`)\]]{0,4}\s{0,3}"
    r"(?P<end>[:>=]|(?<=\s)-(?=\s|$)|(?:is\s)?as\sfollows\s?:?|is\b:?|\W{0,6}$)(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_NAMED = re.compile("rank|order", re.IGNORECASE)
_BEFORE_HEADING = re.compile(r"[\W_]{0,40}")
_FIRM = re.compile(
    r"\bI(?:\s(?:must|have to|will|shall|therefore|hereby|choose to|prefer to)|'ll){0,2}\sabstain"
    r"(?!\s(?:from\s)?(?:comment|judging\s(?:style|tone)))",
    re.IGNORECASE,
)
_NOT_ABLE = (
    r"(?:can\s?not|can't|could\s?n(?:o|')t|will\snot|won't|unable\sto|not\sable\sto|impossible\sto"
    r"|not\spossible\sto|decline\sto|refuse\sto|do\snot\swish\sto|prefer\snot\sto)"
)
_REFUSAL = re.compile(
    rf"\b{_NOT_ABLE}\s(?:\w{{1,12}}\s)?(?:rank|judge|choose|compare|evaluate)\b"
    r"(?=\s{0,2}(?:$|[.,;:!-]|(?:them|these|those|this|the\s(?:responses|answers|candidates)|any|either|all|between"
    r"|among|because|since|without|due|responses|answers)\b))"
    rf"|\bI(?:'m|\sam)?\s(?:sorry[,;.]?\s(?:but\s)?I(?:'m|\sam)?\s)?{_NOT_ABLE}\s(?:help|assist|comply|do\sthat)\b"
    r"|\b(?:I\sam|I'm)\sabstaining\b",
    re.IGNORECASE,
)
_WITHIN_QUOTES = re.compile(r"[\"“][^\"“”\n]{0,300}[\"”]")
_BLANK_BALLOT = re.compile(
    r"\W{0,6}(?:I\s)?(?:abstain(?:ed|s|ing)?|abstention|none|n/a|no\sranking)\W{0,6}", re.IGNORECASE
)
_CARE_MARKS = '<>"“”`~'  # of thinking, quotations and code fences
_PLAIN_LABEL = re.compile("Response [A-Z]{1,3}")


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a reply says as a ballot.

    `ranking` holds the labels from best to worst, exactly those shown, or is None. `source` tells the
    form in which a ranking stood, also of a faulty one; `problem` why there is none; `abstained` whether
    the reviewer declared that it gives none. A ballot by a rubric holds `scores`, by label and criterion.
    """

    ranking: list[str] | None
    source: Source | None = None
    problem: str | None = None
    abstained: bool = False
    scores: dict[str, dict[str, float]] | None = None

    @property
    def is_usable(self) -> bool:
        """Whether there is a ranking, or scores."""
        return self.ranking is not None or self.scores is not None

    def says(self, other: Parsed, names: Mapping[str, str]) -> bool:
        """Whether it is the other ballot with its labels replaced by these names."""
        ranking = other.ranking and [names[each] for each in other.ranking]
        scores = other.scores and {names[each]: scored for each, scored in other.scores.items()}
        return self.ranking == ranking and self.scores == scores


def parse_ranking(text: str, labels: Sequence[str]) -> list[str] | None:
    """The labels from best to worst, or None if the text holds no valid ballot; see `read_ranking`."""
    return read_ranking(text, labels).ranking


def read_ranking(text: str, labels: Sequence[str]) -> Parsed:
    """The ballot in a reviewer's reply: an exact permutation of the labels shown, or why there is none.

    It stands behind the last heading such as "Final ranking:", as a list, in one line or as JSON; without
    any heading only a line `A > B > C` and JSON are taken for one. What is thought, quoted, tied, doubled,
    missing or unknown is never guessed. Never raises, whatever the text, and takes time in proportion to
    its length.
    """
    if (ranking := _as_asked(text, labels)) is not None:
        return Parsed(ranking, "numbered list")
    return _read_freely(text, labels)


def _as_asked(text: str, labels: Sequence[str]) -> list[str] | None:
    """The ranking of a reply that ends exactly as the prompt asks, with nothing in it that needs care.

    Most replies do, and to read one freely takes ten times as long. `_read_freely` says the same of them.
    """
    before, heading, ranked = text.rpartition("FINAL RANKING:\n")
    if not heading or not _needs_no_care(before):
        return None
    lines = ranked.removesuffix("\n").split("\n")
    if not all(line.startswith(f"{number}. ") for number, line in enumerate(lines, 1)):
        return None
    ranking = [line.partition(" ")[2] for line in lines]
    exact = sorted(ranking) == sorted(labels) and all(map(_PLAIN_LABEL.fullmatch, ranking))
    return ranking if exact and len(set(ranking)) == len(ranking) else None


def _needs_no_care(before: str) -> bool:
    """Whether what stands before a ballot has neither thinking, a quotation, a code fence nor an
    introduction of somebody else's words."""
    if not before:
        return True
    words = before.rstrip()
    said = before[-1] == "\n" and words != "" and words[-1] not in ":*_"
    return said and not any(mark in before for mark in _CARE_MARKS)


def _read_freely(text: str, labels: Sequence[str]) -> Parsed:
    names = Labels(labels)
    if not names.shown or not names.distinct:
        return Parsed(None, problem=f"the labels {names.shown!r:.200} are none or not distinct")
    lines = own_lines(text)
    if not lines:
        return Parsed(None, problem="the reply is empty but for thinking and quotations")
    heading = _last_heading(lines, names)
    if heading is None:
        section = lines
        chosen = _without_heading(lines, names)
    else:
        section = _section(lines, *heading, names)
        chosen = _behind_heading(section, names, heading[1])
    own = "\n".join(line.text for line in section if line.own)
    if heading and section and _BLANK_BALLOT.fullmatch(section[0].text.strip()):
        return Parsed(None, problem="the reviewer abstains", abstained=True)
    if abstains(own, firmly=chosen is not None):
        return Parsed(None, problem="the reviewer abstains", abstained=True)
    if chosen is None:
        where = "behind the last heading" if heading else "and no heading for one"
        return Parsed(None, problem=f"there is no list of labels {where}")
    problem = chosen.problem
    if problem is None and heading and names.tie_claimed(_WITHIN_QUOTES.sub("", own)):
        problem = "the reviewer says that labels share a place"
    return Parsed(None if problem else chosen.ranking, chosen.source, problem)


def abstains(text: str, *, firmly: bool = False) -> bool:
    """Whether a reviewer says, outside of quotes, that it gives no judgement; `firmly`: in so many words."""
    own = _WITHIN_QUOTES.sub("", text)
    return bool(_FIRM.search(own) or (not firmly and _REFUSAL.search(own)))


def cites(lines: Sequence[Line], position: int, labels: Labels) -> bool:
    """Whether what stands at a line, or the fence around it, is introduced as one candidate's own words."""
    return _cites(lines, _fence_starts(lines).get(lines[position].fence, position), labels)


def _last_heading(lines: Sequence[Line], labels: Labels) -> tuple[int, Line] | None:
    """Where the last heading of a ranking stands, and the rest of its line. One in a code fence counts
    only if no other does."""
    fenced: tuple[int, Line] | None = None
    starts = _fence_starts(lines)
    for position in range(len(lines) - 1, -1, -1):
        line = lines[position]
        if line.quoted or (line.fence and fenced):
            continue
        rest = _heading(line.text, labels)
        if rest is None or _cites(lines, starts.get(line.fence, position), labels):
            continue
        found = position, Line(rest, fence=line.fence)
        if not line.fence:
            return found
        fenced = found
    return fenced


def _heading(text: str, labels: Labels) -> str | None:
    """What follows a heading on its line, None if the line is none."""
    if not _NAMED.search(text):
        return None
    text = text.strip()
    before = _BEFORE_HEADING.match(text)
    start = before.end() if before else 0
    if any(mark in text[:start] for mark in ('"', "“", "«", "</", "|", "{")):
        return None
    found = _HEADING.match(text, start)
    if found is None:
        return None
    rest = found["rest"].strip().lstrip("*_`").strip()
    if found["end"].lower() == "is" and inline(rest, labels) is None:
        return None
    return rest if rest.strip("*_`#-=:>|. ") else ""


def _fence_starts(lines: Sequence[Line]) -> dict[int, int]:
    starts: dict[int, int] = {}
    for position, line in enumerate(lines):
        if line.fence:
            starts.setdefault(line.fence, position)
    return starts


def _cites(lines: Sequence[Line], position: int, labels: Labels) -> bool:
    """Whether what starts at a line is introduced as one candidate's: `Response A says:`."""
    if not position:
        return False
    text = lines[position - 1].text.strip().rstrip("*_` ")
    opened = text.endswith(":") or text.count('"') % 2 == 1
    return opened and len(labels.mentioned(text[-1_000:])) == 1


def _section(lines: Sequence[Line], position: int, rest: Line, labels: Labels) -> list[Line]:
    """What follows a heading, its line's rest first, up to one that is said to be somebody else's."""
    section = [rest] if rest.text else []
    for line in lines[position + 1 :]:
        if line.own and _heading(line.text, labels) is not None:
            break
        section.append(line)
    return section


def _behind_heading(section: Sequence[Line], labels: Labels, heading: Line) -> Listing | None:
    """The list that stands: the first one, unless a later one of nothing but labels revises it.

    Lists with remarks further down are notes on the answers; what is quoted or fenced further down is
    somebody else's.
    """
    starts = _fence_starts(section)
    chosen = inline(heading.text, labels, single=True) if heading.text else None
    for found in listings(section, labels):
        line = section[found.at]
        if _cites(section, starts.get(line.fence, found.at), labels):
            continue
        if chosen is None:
            chosen = found if line.own or not found.at or line.beside(heading) else None
        elif line.own and found.first == len(labels.shown) + 1:
            chosen = found
        elif line.own and found.pure and found.source in ("numbered list", "inline", "json"):
            long = len(found.ranking) >= min(2, len(labels.shown))
            chosen = found if long and (found.source != "inline" or found.chained) else chosen
    return chosen


def _without_heading(lines: Sequence[Line], labels: Labels) -> Listing | None:
    """The last line `A > B > C`, JSON object with a ranking, or JSON list that is all of its fence."""
    chosen: Listing | None = None
    starts = _fence_starts(lines)
    for found in listings(lines, labels):
        line = lines[found.at]
        if line.quoted or not found.pure:
            continue
        chain = found.source == "inline" and found.chained and not line.fence
        array = found.source == "json" and (found.keyed or bool(line.fence) or found.at == 0)
        if (chain or array) and not _cites(lines, starts.get(line.fence, found.at), labels):
            chosen = found
    return chosen
