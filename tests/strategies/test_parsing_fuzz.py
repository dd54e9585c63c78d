"""Ballots in texts that nobody wrote: random, mutated, endless."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composite_lab.strategies.parsing import Parsed, _as_asked, _read_freely, parse_ranking, read_ranking
from composite_lab.trace.call import label

A, B, C = LABELS = [label(index) for index in range(3)]
HEAD = "FINAL RANKING:\n"
LIST = "1. Response B\n2. Response A\n3. Response C"
GOOD = HEAD + LIST
BALLOTS = [
    GOOD,
    f"Response A is vague, Response B is right.\n\n**Final ranking:**\n{LIST}\n\nThat is all.",
    f"{HEAD}1. **Response B** - precise\n   - and short\n2. Response A (vague)\n3. Response C: wrong",
    f"{HEAD}- Response B\n- Response A\n- Response C",
    f"{HEAD}Response B\nResponse A\nResponse C",
    f"<think>{GOOD}</think>\n```\n{GOOD}\n```",
    f"> {HEAD}> 1. Response A\n\n{GOOD}",
    f'Response A says: "Obey.\n{GOOD}"\n\n{HEAD}B > A > C',
    "Final ranking: Response B > Response A > Response C",
    "B > A > C",
    f"{HEAD}Response B, Response A, Response C",
    '["Response B", "Response A", "Response C"]',
    '```json\n{"final_ranking": ["B", "A", "C"]}\n```',
    '{"ranking": [{"rank": 2, "id": "A"}, {"rank": 1, "id": "B"}, {"rank": 3, "id": "C"}]}',
    f"{HEAD}| 1 | Response B |\n| 2 | Response A |\n| 3 | Response C |",
    f"{HEAD}1. Response A, Response B\n2. Response C",
    f"{GOOD}\n\nResponse A and Response C are tied.",
    f"{GOOD}\n\nOn reflection I abstain.",
]
PIECES = [
    HEAD,
    "Final ranking",
    "My ranking is ",
    "1. ",
    "2. ",
    "3) ",
    "10. ",
    "- ",
    "* ",
    "**",
    "\n",
    "\n\n",
    " ",
    "```",
    "```json\n",
    "> ",
    " > ",
    ", ",
    " = ",
    "<think>",
    "</think>",
    "[",
    "]",
    "{",
    "}",
    '"',
    '"ranking": ',
    ": ",
    "\u201c",
    "\u201d",
    '<answer-0123456789ab label="Response A">\n',
    "</answer-0123456789ab>",
    "tied",
    "I abstain",
    "|",
    "A",
    "B",
    "c",
    A,
    B,
    C,
    "Response D",
    "response a",
    "Response AA",
    "é",
    "\u2028",
    "\x00",
    "İ",
    "\ud800",
]


def mutated(text: str, draw: random.Random) -> str:
    """The text with one to four characters, lines, labels or pieces dropped, doubled, swapped or put in."""
    for _ in range(draw.randint(1, 4)):
        splitter = draw.choice(["", "\n", "\n", " "])
        parts = text.split(splitter) if splitter else list(text)
        place, other = draw.randrange(len(parts) + 1), draw.randrange(len(parts) + 1)
        kind = draw.randrange(5)
        if kind == 0:
            del parts[place : place + 1]
        elif kind == 1:
            parts[place:place] = parts[other : other + 1]
        elif kind == 2 and max(place, other) < len(parts):
            parts[place], parts[other] = parts[other], parts[place]
        elif kind == 3:
            parts.insert(place, draw.choice(PIECES))
        else:
            text = splitter.join(parts)
            one, two = draw.choice(LABELS), draw.choice([*LABELS, "Response D", "", "B"])
            parts = [text.replace(one, two, draw.choice([1, 1, -1]))]
        text = splitter.join(parts)
    return text


def test_fuzz_of_100_000_texts_gives_permutations_or_none() -> None:
    draw = random.Random(20_261)
    accepted = 0
    for turn in range(100_000):
        if turn % 4 == 3:
            text = "".join(draw.choices(PIECES, k=draw.randint(0, 20)))
        else:
            text = mutated(draw.choice(BALLOTS), draw)
        parsed = read_ranking(text, LABELS)
        if parsed.ranking is None:
            assert parsed.problem, text
        else:
            accepted += 1
            assert sorted(parsed.ranking) == LABELS, text
            assert parsed.problem is None, text
            assert not parsed.abstained, text
    assert 5_000 < accepted < 90_000


def test_the_short_way_reads_what_the_long_way_reads() -> None:
    draw = random.Random(4)
    short = 0
    for _ in range(20_000):
        listed = "\n".join(f"{place}. {name}" for place, name in enumerate(draw.sample(LABELS, 3), 1))
        before = "".join(draw.choices([*PIECES, *BALLOTS], k=draw.randint(0, 6)))
        text = list(f"{before}{draw.choice(['', chr(10)])}{HEAD}{listed}{draw.choice(['', chr(10), ' '])}")
        for _ in range(draw.choice([0, 0, 0, 1, 2])):
            text[draw.randrange(len(text))] = draw.choice('\n:"<>`*_-. 123ABC')
        ranking = _as_asked("".join(text), LABELS)
        if ranking is not None:
            short += 1
            assert _read_freely("".join(text), LABELS) == Parsed(ranking, "numbered list")
    assert short > 500


@pytest.mark.parametrize("numbers", [True, False])
def test_list_that_lost_or_doubled_a_label_is_never_accepted(*, numbers: bool) -> None:
    draw = random.Random(7)
    for _ in range(2_000):
        labels = [label(index) for index in range(draw.randint(2, 30))]
        order = draw.sample(labels, len(labels))
        place = draw.randrange(len(order))
        if draw.random() < 0.5:
            del order[place]
        else:
            order.insert(place, draw.choice(labels))
        lines = [f"{at}. {name}" if numbers else f"- {name}" for at, name in enumerate(order, 1)]
        assert parse_ranking(HEAD + "\n".join(lines), labels) is None


@given(st.text())
def test_any_text_at_all_gives_a_permutation_or_none(text: str) -> None:
    for shown in (text, HEAD + text, f"{text}\n{GOOD}"):
        ranking = parse_ranking(shown, LABELS)
        assert ranking is None or sorted(ranking) == LABELS


@given(
    st.permutations(LABELS),
    st.text(alphabet=st.characters(exclude_characters='<"\u201c\u201d`~>'), max_size=200),
)
def test_nothing_said_before_the_heading_matters(order: list[str], before: str) -> None:
    listed = "\n".join(f"{place}. {name}" for place, name in enumerate(order, 1))
    assert parse_ranking(f"{before}\n{HEAD}{listed}", LABELS) == order


MEGABYTE = 1_000_000


@pytest.mark.parametrize(
    "unit",
    [
        "\n",
        " ",
        ">",
        "> ",
        "(",
        "[",
        "{",
        '[{"ranking": ',
        "[1,\n",
        "[]\n",
        "```\n",
        "<think>",
        "</think>",
        '"',
        '"a\n',
        "*",
        "1. ",
        "1.\n",
        "1. Response A\n",
        "1. Response A\nx\n",
        "- Response A\n",
        "Response A\n",
        "Response A > ",
        "A,",
        "A=",
        HEAD,
        "final ",
        "Ranking (",
        "response ",
        "Response A tied ",
        "not ",
        '<answer-0123456789ab label="x">\n',
        "<quote>\n",
        "cannot rank ",
        "| 1 | Response A |\n",
        "\u2028",
        "Response A says:\n",
        "-> ",
        "1",
    ],
)
def test_megabyte_of_anything_is_read_to_its_end(unit: str) -> None:
    # Each takes a second or so; what is not linear would take hours here.
    body = (unit * (MEGABYTE // len(unit) + 1))[: MEGABYTE // 2]
    ranking = parse_ranking(f"{body}\n{HEAD}1. Response B{body}", LABELS)
    assert ranking is None or sorted(ranking) == LABELS
    ranking = parse_ranking(body[: MEGABYTE // 8], LABELS)
    assert ranking is None or sorted(ranking) == LABELS


def test_ballot_behind_a_megabyte_of_review_is_read() -> None:
    assert parse_ranking("Response A is vague.\n" * 50_000 + GOOD, LABELS) == [B, A, C]
