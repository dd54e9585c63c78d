"""Thoughts that a server left in a text: what is thought, what is said, and how little is held back."""

from __future__ import annotations

from collections.abc import Sequence

import litellm
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from composite_lab.gateway.plainness import learn, speaks_plainly
from composite_lab.thoughts import TAGS, Piece, Split, Splitter, split_thoughts

FENCED = "```\na</think>b\n```\n"


@pytest.mark.parametrize(("opening", "closing"), TAGS.items())
def test_thoughts_end_at_the_tag_of_the_kind_that_opened_them(opening: str, closing: str) -> None:
    others = "".join(tag for tag in TAGS.values() if tag != closing)
    assert split_thoughts(f"{opening}Hm.{others}{closing}Blue.") == Split(f"Hm.{others}", "Blue.")
    assert split_thoughts(f"Hm.{closing}Blue.") == Split("Hm.", "Blue.")
    assert split_thoughts(f"{opening}Hm.") == Split("Hm.", "")


@pytest.mark.parametrize(
    ("text", "thoughts", "said"),
    [
        # opened and closed
        ("<think>Hm.</think>Blue.", "Hm.", "Blue."),
        ("<think>\nHm.\n</think>\n\nBlue.\n", "\nHm.\n", "\n\nBlue.\n"),
        (" \n<think>Hm.</think>Blue.", "Hm.", "Blue."),
        ("<think></think>Blue.", "", "Blue."),
        ("<think>Hm.</think>", "Hm.", ""),
        ("<think>a</think>\n<think>b</think>Blue.", "ab", "Blue."),
        ("<think>a</think>[THINK]b[/THINK]Blue.", "ab", "Blue."),
        ("<think>a</think>Blue. <think>b</think>", "a", "Blue. <think>b</think>"),
        ("<think>a</think>b</think>Blue.", "a", "b</think>Blue."),
        ("<think>a<think>b</think>Blue.", "a<think>b", "Blue."),
        ("<think>`</think>`</think>", "`", "`</think>"),
        # opened in the prompt
        ("Hm.</think>Blue.", "Hm.", "Blue."),
        ("Hm.\n</think>\n\nBlue.", "Hm.\n", "\n\nBlue."),
        ("</think>Blue.", "", "Blue."),
        ("Hm.</think>", "Hm.", ""),
        ("a</think>b</think>Blue.", "a", "b</think>Blue."),
        (f"{FENCED}Hm.</think>Blue.", f"{FENCED}Hm.", "Blue."),
        ("It says `</think>`. Hm.</think>Blue.", "It says `</think>`. Hm.", "Blue."),
        # never closed
        ("<think>Hm.", "Hm.", ""),
        ("<think>Hm.</thi", "Hm.</thi", ""),
        ("<think>Hm.</thinking>", "Hm.</thinking>", ""),
        ("<think>", "", ""),
        # none
        ("", None, ""),
        ("Blue.", None, "Blue."),
        ("I think so.", None, "I think so."),
        (" \n", None, " \n"),
        ("<thi", None, "<thi"),
        ("<THINK>Hm.</THINK>Blue.", None, "<THINK>Hm.</THINK>Blue."),
        ("Blue. <think>Hm.", None, "Blue. <think>Hm."),
        ("Write <think>Hm.</think> first.", None, "Write <think>Hm.</think> first."),
        ("Write <think>a</think>, then b</think>.", None, "Write <think>a</think>, then b</think>."),
        *(
            (f"It ends at {left}</think>{right}.", None, f"It ends at {left}</think>{right}.")
            for left, right in ("``", "''", '""', "“”", "«»")
        ),
        # A quote on one side is the end of what is thought, or the beginning of what is said.
        ('They ask for "four"</think>4', 'They ask for "four"', "4"),
        ('Four.</think>"4"', "Four.", '"4"'),
        ('They ask for "four"</think>', 'They ask for "four"', ""),
        (FENCED, None, FENCED),
        ("```\n</think>", None, "```\n</think>"),
    ],
)
def test_thoughts_are_what_a_text_begins_with(text: str, thoughts: str | None, said: str) -> None:
    assert split_thoughts(text) == Split(thoughts, said)


def fed(pieces: Sequence[str], *, plainly: bool) -> tuple[Splitter, list[Piece]]:
    splitter = Splitter(plainly=plainly)
    told = [told for piece in pieces for told in splitter.feed(piece)]
    return splitter, [*told, *splitter.finish()]


def joined(pieces: Sequence[Piece]) -> tuple[str, str]:
    return tuple(  # type: ignore[return-value]
        "".join(piece.text for piece in pieces if piece.is_thought is kind) for kind in (True, False)
    )


TEXTS = st.lists(
    st.sampled_from(
        [*TAGS, *TAGS.values(), "```", "`", '"', "“", " ", "\n", "a", "think", "<", "</", "[", "◁"]
    ),
    max_size=9,
).map("".join) | st.text(max_size=30)


@st.composite
def partitions(draw: st.DrawFn) -> list[str]:
    text = draw(TEXTS)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=len(text))))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(partitions())
@example(['It ends at "</think>', '"b'])  # whether the tag is quoted shows only with the next character
@example(['It ends at "</think>'])
@example(["It ends at a", "<", "/thi", "nk>", "`"])
@example(list("<think>a</think> <think>b</think> c"))
@example([*"<think>a", "</think", "", ">b"])
def test_a_text_is_split_in_the_same_way_in_whatever_pieces_it_comes(pieces: list[str]) -> None:
    text = "".join(pieces)
    splitter, told = fed(pieces, plainly=False)
    thoughts, said = split_thoughts(text)
    assert joined(told) == (thoughts or "", said)
    assert splitter.found is (thoughts is not None)
    opened = any(text.lstrip().startswith(tag) for tag in TAGS)
    assert splitter.found_lone_end is (splitter.found and not opened)


@given(partitions())
def test_with_plain_speech_only_what_was_opened_is_thought(pieces: list[str]) -> None:
    text = "".join(pieces)
    splitter, told = fed(pieces, plainly=True)
    opened = any(text.lstrip().startswith(tag) for tag in TAGS)
    thoughts, said = split_thoughts(text) if opened else (None, text)
    assert joined(told) == (thoughts or "", said)
    assert (splitter.found, splitter.found_lone_end) == (opened, False)


@given(st.sampled_from("Bx.`-"), partitions())
def test_plain_speech_comes_out_piece_by_piece_at_once(first: str, pieces: list[str]) -> None:
    splitter = Splitter(plainly=True)
    for piece in [first, *filter(None, pieces)]:
        assert list(splitter.feed(piece)) == [Piece(False, piece)]
    assert list(splitter.finish()) == []


@given(
    st.lists(st.text("ab <>/think", min_size=1), max_size=9).filter(lambda p: "</think>" not in "".join(p))
)
def test_opened_thoughts_are_told_but_for_what_may_be_their_end(pieces: list[str]) -> None:
    splitter = Splitter(plainly=False)
    assert list(splitter.feed("<think>")) == []
    told = ""
    for number, piece in enumerate(pieces, 1):
        told += "".join(found.text for found in splitter.feed(piece))
        left = "".join(pieces[:number]).removeprefix(told)
        assert f"{told}{left}" == "".join(pieces[:number])
        assert "</think>".startswith(left)
    assert told + "".join(found.text for found in splitter.finish()) == "".join(pieces)


def test_what_may_begin_inside_of_thoughts_is_held_back_until_their_end_or_its_own() -> None:
    splitter = Splitter(plainly=False)
    assert [*splitter.feed("Hm. "), *splitter.feed("So. "), *splitter.feed("</thi")] == []
    assert list(splitter.feed("nk>Blue")) == [Piece(True, "Hm. So. "), Piece(False, "Blue")]
    assert list(splitter.feed(".")) == [Piece(False, ".")]
    splitter = Splitter(plainly=False)
    assert [*splitter.feed("Blue"), *splitter.feed(".")] == []
    assert list(splitter.finish()) == [Piece(False, "Blue"), Piece(False, ".")], "not one large piece"
    assert (splitter.found, splitter.found_lone_end) == (False, False)


def test_text_behind_marked_thoughts_is_not_held_back() -> None:
    splitter = Splitter(plainly=False)
    assert list(splitter.feed("<think>Hm.</think>Blue")) == [Piece(True, "Hm."), Piece(False, "Blue")]
    assert list(splitter.feed(" </think>")) == [Piece(False, " </think>")]


@pytest.mark.parametrize("model", ["gpt-4o", "openai/gpt-4o", "mistral/mistral-large-latest"])
def test_models_of_services_speak_plainly(model: str) -> None:
    assert speaks_plainly(model, None)
    assert speaks_plainly(model, "http://localhost:1/v1")


def test_whether_a_model_of_somebodys_own_speaks_plainly_is_learnt_at_each_endpoint() -> None:
    model, here, there = "openai/thoughts-of-my-own", "http://localhost:1/v1", "http://localhost:2/v1"
    assert not speaks_plainly(model, here)
    learn(model, here, plainly=True)
    assert [speaks_plainly(model, base) for base in (here, there, None)] == [True, False, False]
    learn(model, here, plainly=False)
    assert not speaks_plainly(model, here)
    learn(model, here, plainly=False)  # nothing to forget


def test_a_price_of_ones_own_says_nothing_about_how_a_model_speaks() -> None:
    price = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "litellm_provider": "openai"}
    litellm.register_model({"openai/priced-thoughts": {**price, "mode": "chat"}})
    assert not speaks_plainly("openai/priced-thoughts", None)
