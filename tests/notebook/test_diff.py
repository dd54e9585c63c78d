"""What changed between two texts: nothing lost, nothing run, readable, and fast for long ones."""

from __future__ import annotations

import html
import random
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from composite_lab.notebook.diff import changes, difference, kept_share

WORDS = st.sampled_from(
    ["sky", "dark", "the", "don't", "3.14", "...", "--", ",", " ", "  ", "\n", "\n\n", "\t", "夜", "空", "é"]
)
TEXTS = st.text(max_size=60) | st.lists(WORDS, max_size=40).map("".join)
BEFORE = "The sky is dark because the universe is finite.\n\nOlbers asked this."
AFTER = "The sky is dark because the universe is young and finite. Olbers said this."


def prose(length: int, seed: int, vocabulary: int = 3_000) -> str:
    draw = random.Random(seed)
    words = [f"w{number}" for number in range(vocabulary)]
    often = [1 / (number + 1) for number in range(vocabulary)]
    text = ""
    while len(text) < length:
        text += " ".join(draw.choices(words, often, k=20 * draw.randint(1, 9))) + ". "
    return text[:length]


def texts_of(before: str, after: str) -> tuple[str, str]:
    pieces = difference(before, after).pieces
    return (
        "".join(text for op, text in pieces if op != "inserted"),
        "".join(text for op, text in pieces if op != "deleted"),
    )


def shown(fragment: str) -> str:
    """What a reader reads."""
    return html.unescape(re.sub(r"<[^>]*>", "", fragment.replace("<pre", "\0<pre").split("\0")[-1]))


@given(TEXTS, TEXTS)
@example("a  b", "a b ")
@example(BEFORE, AFTER)
def test_the_pieces_joined_are_the_two_texts(before: str, after: str) -> None:
    assert texts_of(before, after) == (before, after)


@pytest.mark.parametrize("length", [100_000, 300_000, 1_000_000])
def test_few_changes_in_long_texts_are_found_word_by_word(length: int) -> None:
    before = prose(length, 1)
    after = before.replace("w450 ", "").replace("w400 ", "w400 new ").replace(". ", ".\n")
    found = difference(before, after)
    assert texts_of(before, after) == (before, after)
    assert found.is_exact
    assert ("inserted", " new") in found.pieces
    assert found.kept_share > 0.99


def test_what_was_deleted_is_struck_out_and_what_was_inserted_underlined() -> None:
    fragment = changes("The sky is dark.", "The night sky is black.")
    assert '<ins class="cl-ins"> night</ins>' in fragment
    assert '<del class="cl-del">dark</del><ins class="cl-ins">black</ins>.' in fragment
    assert "cl-meta" not in fragment


def test_a_lone_word_between_two_replacements_counts_as_replaced() -> None:
    pieces = difference("alpha beta the gamma delta end", "one two the three four end").pieces
    assert pieces == [
        ("deleted", "alpha beta the gamma delta"),
        ("inserted", "one two the three four"),
        ("kept", " end"),
    ]


def test_line_ends_that_went_or_came_are_signs_and_the_answer_keeps_its_own() -> None:
    assert '<del class="cl-del">¶¶</del>' in changes("one.\n\ntwo", "one. two")
    assert '<ins class="cl-ins">¶\n¶\n</ins>' in changes("one. two", "one.\n\ntwo")
    assert '<del class="cl-del">¶¶Also, the</del>' in changes(
        "It is so.\n\nAlso, the end is near us now.", "It is so. An end is near us now."
    )
    assert shown(changes("x", "x\n\ny  z")) == "\nx\n\ny  z"


def test_every_text_is_escaped() -> None:
    evil = "<img src=x onerror=alert(1)> & \u202e \x1b[31m"
    for fragment in (changes(evil, "fine"), changes("fine", evil), changes(evil, evil)):
        assert "<img" not in fragment
        assert "\u202e" not in fragment
        assert "\x1b" not in fragment
        assert "&lt;img" in fragment


def test_a_long_difference_is_cut_and_says_how_much_is_left_out() -> None:
    fragment = changes("one " * 100, "two " * 100, limit=50)
    assert "[749 more characters]" in fragment
    assert shown(fragment).count("one") == 12
    assert "two" not in fragment
    assert "more characters" not in changes("one", "two", limit=6)


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [
        ("a b c d", "a b c d", 1.0),
        ("a b c", "a b c d e f", 0.5),
        ("a b", "x y", 0.0),
        ("a b", "", 0.0),
        ("", "a b", 0.0),
        ("", "", 0.0),
        ("the sky, dark", "the sky dark!", 1.0),
        ("夜空は暗い", "夜空", 1.0),
    ],
)
def test_kept_share_is_the_share_of_the_answers_words(before: str, after: str, share: float) -> None:
    assert kept_share(before, after) == pytest.approx(share)


@given(TEXTS, TEXTS)
def test_kept_share_is_a_share(before: str, after: str) -> None:
    assert 0.0 <= kept_share(before, after) <= 1.0


HARD = {
    "prose": (prose(100_000, 1), prose(100_000, 2)),
    "shuffled": (prose(100_000, 1), ". ".join(sorted(prose(100_000, 1).split(". ")))),
    "few words": (prose(100_000, 1, 150), prose(100_000, 2, 150)),
    "lines of few words": (
        prose(100_000, 1, 150).replace(" ", "\n"),
        prose(100_000, 2, 150).replace(" ", "\n"),
    ),
    "one word": ("a " * 50_000, "a " * 40_000 + "b " * 10_000),
    "blanks": ("a" + " " * 100_000 + "b", "a" + "\n" * 100_000 + "b"),
    "every other word": (
        " ".join(f"same{number % 1_500} old{number}" for number in range(15_000)),
        " ".join(f"same{number % 1_500} new{number}" for number in range(15_000)),
    ),
    "signs": ("-=" * 50_000, "=-+" * 33_000),
    "no blanks": ("夜" * 100_000, "空夜" * 50_000),
    "megabyte": (prose(1_000_000, 1), prose(1_000_000, 2)),
    "megabyte of lines": (
        prose(1_000_000, 1).replace(" ", "\n"),
        prose(1_000_000, 2).replace(" ", "\n"),
    ),
}


@pytest.mark.parametrize("name", HARD)
def test_long_texts_take_seconds_at_most_even_where_difflib_would_take_hours(name: str) -> None:
    before, after = HARD[name]
    start = time.process_time()
    assert texts_of(before, after) == (before, after)
    assert time.process_time() - start < 15


def test_the_reader_is_told_when_not_every_word_was_compared() -> None:
    assert "not every word was compared" in changes(*HARD["megabyte"], limit=100)
    assert "not every word was compared" in changes(*HARD["few words"], limit=100)
    assert "not every word was compared" not in changes(*HARD["prose"], limit=100)
    long = HARD["megabyte"][0]
    assert "not every word was compared" in changes(long, long.replace(". ", " end. "), limit=100)


def test_rows_with_a_new_value_each_stay_rows() -> None:
    before = "".join(f"row{number}: {number * 7}\n" for number in range(1_000))
    after = "".join(f"row{number}: {number * 7 + 1}\n" for number in range(1_000))
    found = difference(before, after)
    assert [piece for piece in found.pieces[-4:] if piece[0] != "kept"] == [
        ("deleted", "6993"),
        ("inserted", "6994"),
    ]
    assert found.kept_share == 0.5
