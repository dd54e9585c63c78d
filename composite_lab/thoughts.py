"""Thinking that a server left in the text of an answer: `<think>…</think>`, or its end alone.

Chat templates of thinking models often open the thoughts in the prompt, so that the answer holds nothing but
their end. Whether a text begins inside of thoughts is then known only at `</think>`, or at its end. A stream
of a model that may do so is held back until one of them has come; see `gateway.plainness`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
}
"""How thoughts begin and end; the last three are those of EXAONE, Mistral and Kimi."""

_LONGEST = max(map(len, TAGS.values()))
_CLOSING = re.compile("|".join(map(re.escape, TAGS.values())))
_QUOTES = tuple("`'\"“”«»")
_FENCE = "```"


class Split(NamedTuple):
    """A text without its thoughts, and the thoughts: None when there were none."""

    thoughts: str | None
    text: str


class Piece(NamedTuple):
    """A piece of a stream, and whether it is thought or said."""

    is_thought: bool
    text: str


def split_thoughts(text: str, *, plainly: bool = False) -> Split:
    """The thoughts that a text begins with, and the rest; a text without them is left as it is.

    Thoughts that never end leave no text. A closing tag alone ends thoughts that were opened in the prompt,
    unless it is quoted, or opened further up, or the text is known to begin `plainly`.
    """
    if "think" not in text.lower() and "<thought>" not in text and "</thought>" not in text:
        return Split(None, text)
    splitter = Splitter(plainly=plainly)
    pieces = [*splitter.feed(text), *splitter.finish()]
    thoughts = "".join(piece.text for piece in pieces if piece.is_thought)
    said = "".join(piece.text for piece in pieces if not piece.is_thought)
    return Split(thoughts if splitter.found else None, said)


class Splitter:
    """Splits a text that comes in pieces: `feed` and `finish` give what is certain so far.

    With `plainly` a closing tag alone is taken for text, so that nothing need be held back.
    """

    def __init__(self, *, plainly: bool) -> None:
        self.plainly = plainly
        self.found = self.found_lone_end = False
        """Whether there were thoughts; whether nothing but their end was marked."""
        self._held: list[str] = []
        self._state = self._at_the_beginning

    def feed(self, piece: str) -> Iterator[Piece]:
        """What is certain with this piece."""
        return self._state(piece) if piece else iter(())

    def finish(self) -> Iterator[Piece]:
        """The rest, once no more comes."""
        if self._state == self._undecided:
            yield from self._decide(is_whole=True)
        rest, self._held = self._held, []
        inside = self._state == self._inside
        for piece in rest:
            yield Piece(inside, piece)

    def _at_the_beginning(self, piece: str) -> Iterator[Piece]:
        if piece:
            self._held.append(piece)
        text = "".join(self._held)
        start = text.lstrip()
        opening = next((tag for tag in TAGS if start.startswith(tag)), None)
        if opening is not None:
            self.found = True
            self._held = []
            self._closing = TAGS[opening]
            self._state = self._inside
            yield from self._inside(start.removeprefix(opening))
        elif not any(tag.startswith(start) for tag in TAGS):
            held, self._held = self._held, []
            self._state = self._said if self.plainly or self.found else self._undecided
            for each in held:
                yield from self._state(each)

    def _inside(self, piece: str) -> Iterator[Piece]:
        text = "".join((*self._held, piece))
        thought, closed, rest = text.partition(self._closing)
        if closed:
            self._held = []
            if thought:
                yield Piece(True, thought)
            self._state = self._at_the_beginning
            yield from self._at_the_beginning(rest)
            return
        kept = _beginning_of(self._closing, text)
        self._held = [text[len(text) - kept :]] if kept else []
        if len(text) > kept:
            yield Piece(True, text[: len(text) - kept])

    def _undecided(self, piece: str) -> Iterator[Piece]:
        self._held.append(piece)
        if _CLOSING.search("".join(self._held[-_LONGEST:])):  # no piece is empty, so a new tag is in these
            yield from self._decide(is_whole=False)

    def _decide(self, *, is_whole: bool) -> Iterator[Piece]:
        text = "".join(self._held)
        end = _lone_end(text, is_whole=is_whole)
        if end is None:
            return
        self.found = self.found_lone_end = True
        self._held = []
        self._state = self._said
        yield Piece(True, text[: end.start()])
        if rest := text[end.end() :]:
            yield Piece(False, rest)

    def _said(self, piece: str) -> Iterator[Piece]:
        if piece:
            yield Piece(False, piece)


def _lone_end(text: str, *, is_whole: bool) -> re.Match[str] | None:
    """The first closing tag that ends the thoughts a text begins with.

    Not one that stands between quotes or in a block of code. Behind a quote, what follows decides.
    """
    openings = {closing: opening for opening, closing in TAGS.items()}
    for match in _CLOSING.finditer(text):
        before, behind = text[: match.start()], text[match.end() : match.end() + 1]
        if before[-1:] in _QUOTES:
            if not (behind or is_whole):
                return None
            if behind in _QUOTES:
                continue
        if before.count(_FENCE) % 2:
            continue
        return None if openings[match.group()] in before else match
    return None


def _beginning_of(tag: str, text: str) -> int:
    """How many characters at the end of a text may be the beginning of the tag."""
    return next((size for size in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:size])), 0)
