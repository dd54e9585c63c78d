"""Model text made safe to show, whatever is in it, and numbers that never pretend to be known."""

from __future__ import annotations

import html
import re
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from composite_lab.notebook.text import escaped, one_line, pre, score, seconds, tokens, usd, visible

BIDI = [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C]
HIDING = [*BIDI, 0x200B, 0x2060, 0xFEFF, 0xAD, 0x180E, 0x2028, 0x2029, 0xE0041, 0xE0100, 0x3164]
NASTY = st.sampled_from(
    ["<script>alert(1)</script>", "</pre>", "<!--", "]]>", "&lt;", "&#60;", "'\"`", "\x1b[31m", "\r\n"]
    + [chr(code) for code in (*HIDING, 0xD800, 0xDFFF, 0x85, 0x9B)]
)  # fmt: skip
TEXTS = st.lists(
    NASTY | st.text(st.characters(exclude_categories=())), max_size=12
).map("".join)  # surrogates included  # fmt: skip


class Elements(HTMLParser):
    """What a parser makes of a fragment: its tags, and the text between them."""

    def __init__(self, fragment: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text = ""
        self.feed(fragment)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.tags.append("comment")


@given(TEXTS, st.none() | st.integers(0, 40))
@example("<'\"&>\x00\u202e\ud800", None)
def test_escaped_text_holds_no_markup_and_nothing_invisible(text: str, limit: int | None) -> None:
    shown = escaped(text, limit)
    assert not set("<>\"'") & set(shown)
    assert "&" not in re.sub(r"&(amp|lt|gt|quot|#x27);", "", shown)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c not in "\n\t"]
    assert not set(map(chr, HIDING)) & set(shown)
    shown.encode()


@given(TEXTS)
def test_escaped_text_reads_as_the_visible_text(text: str) -> None:
    assert html.unescape(escaped(text)) == visible(text)
    assert Elements(f"<p>{escaped(text)}</p>").tags == ["p", "/p"]


@given(TEXTS)
def test_a_block_is_one_element_with_the_text_in_it(text: str) -> None:
    block = Elements(pre(text))
    assert block.tags == ["pre", "/pre"]
    assert block.text == "\n" + visible(text)  # a browser drops one line end behind the tag: this one


@given(TEXTS, st.integers(1, 30))
def test_a_name_is_one_line_of_bounded_length(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1
    assert line == one_line(line, limit)


def test_blocks_are_not_read_by_mathjax_and_find_their_own_direction() -> None:
    assert re.match(r'<pre class="[^"]*tex2jax_ignore mathjax_ignore" dir="auto">', pre("$x$"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "␛[31mred"),
        ("a\x00b\x7f", "a␀b␡"),
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb\rc", "a\nb␍c"),
        ("\x9b0m", "⟨U+009B⟩0m"),
        ("pay \u202etxt.exe", "pay ⟨U+202E⟩txt.exe"),
        ("a\u200bb\U000e0041", "a⟨U+200B⟩b⟨U+E0041⟩"),
        ("\ud83d alone", "⟨U+D83D⟩ alone"),
        ("\u200d" * 3, "⟨U+200D⟩" * 3),
    ],
)
def test_what_cannot_be_seen_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    "text",
    ["👩‍❤️‍👨 and ☀️", "می‌خواهم", "क्‍ष", "日本語 ÄÖÜ", "a\u0301", "עברית"],
    ids=["emoji", "persian", "devanagari", "wide", "combining", "hebrew"],
)
def test_honest_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_a_cut_text_says_how_much_is_missing() -> None:
    assert escaped("x" * 1_500, 10) == "x" * 10 + " … [1,490 more characters]"
    assert escaped("x" * 10, 10) == "x" * 10


def test_numbers_have_units_and_the_unknown_is_no_zero() -> None:
    assert [seconds(x) for x in (0.312, 12, 0, 0.004, None)] == [
        "0.31 s", "12.00 s", "0.00 s", "0.004 s", "unknown"
    ]  # fmt: skip
    assert [usd(x) for x in (0.000123, 0, 2e-8, None)] == [
        "0.000123 USD", "0.000000 USD", "2.0e-08 USD", "unknown"
    ]  # fmt: skip
    assert [tokens(x) for x in (1234, 1, 0, None)] == ["1,234 tokens", "1 token", "0 tokens", "unknown"]


def test_scores_have_one_or_two_decimals_where_those_tell_anything() -> None:
    assert [score(x) for x in (8, 8.5, 26 / 3, 0, -0.0, 9.999, -2, 10, None)] == [
        "8.0", "8.5", "8.67", "0.0", "0.0", "10.0", "-2.0", "10.0", "unknown"
    ]  # fmt: skip
    assert [score(x) for x in (0.0012, 1e99, float("inf"), float("nan"))] == ["0.0012", "1e+99", "inf", "nan"]
