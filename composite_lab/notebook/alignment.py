"""Where two sequences of words are equal, found in bounded time.

difflib compares, but its time grows with the square of what it is given. So long stretches are first
cut at the words that both have exactly once, in the same order (patience diff).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

STEPS = 30_000_000
"""What difflib may need at worst, in looks at a word; a second or two. Mostly it needs far less."""
POPULARITY_FROM = 200
"""From so many words on difflib leaves out frequent ones, and then takes one by chance for another."""
DEEPEST = 20
"""How often a stretch is cut at words that are in it only once."""


class Block(NamedTuple):
    """Where a run of equal units begins in both texts, and how long it is."""

    old: int
    new: int
    size: int

    def shifted(self, old: int, new: int) -> Block:
        return Block(self.old + old, self.new + new, self.size)


class Alignment:
    """A comparison under way, with what it may still cost; `gave_up` is True once that was too little."""

    def __init__(self) -> None:
        self.gave_up = False
        self._steps = STEPS

    def blocks(self, old: Sequence[str], new: Sequence[str], depth: int = 0) -> Iterator[Block]:
        """The runs of equal units in their order; the last one, maybe empty, is at the ends."""
        start, end = _ends(old, new)
        yield Block(0, 0, start)
        for block in self._inner_blocks(old[start : len(old) - end], new[start : len(new) - end], depth):
            yield block.shifted(start, start)
        yield Block(len(old) - end, len(new) - end, end)

    def _inner_blocks(self, old: Sequence[str], new: Sequence[str], depth: int) -> Iterator[Block]:
        if not old or not new:
            return
        # At worst every match is one word long, and each takes a look at all that is left.
        steps = min(len(old), len(new)) * (len(old) + _meetings(old, new))
        is_easy = steps <= self._steps and len(new) < POPULARITY_FROM
        anchors = [] if is_easy or depth == DEEPEST else _anchors(old, new)
        if not anchors and steps <= self._steps:
            self._steps -= steps
            yield from map(Block._make, SequenceMatcher(None, old, new).get_matching_blocks())
            return
        if not anchors:
            self.gave_up = True
            return
        at_old = at_new = 0
        for here_old, here_new in anchors:
            for block in self.blocks(old[at_old:here_old], new[at_new:here_new], depth + 1):
                yield block.shifted(at_old, at_new)
            yield Block(here_old, here_new, 1)
            at_old, at_new = here_old + 1, here_new + 1
        for block in self.blocks(old[at_old:], new[at_new:], depth + 1):
            yield block.shifted(at_old, at_new)


def _ends(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    """How many units are the same at the beginning and, of the others, at the end."""
    shorter = min(len(old), len(new))
    start = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    rest = shorter - start
    return start, next((i for i in range(rest) if old[-1 - i] != new[-1 - i]), rest)


def _meetings(old: Sequence[str], new: Sequence[str]) -> int:
    """How many pairs of equal units difflib would look at."""
    there, here = Counter(old), Counter(new)
    popular = len(new) // 100 + 1 if len(new) >= POPULARITY_FROM else len(new)  # what its autojunk leaves out
    return sum(count * there[text] for text, count in here.items() if count <= popular)


def _anchors(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Where units stand that both have once, as many as are in the same order in both."""
    there, here = Counter(old), Counter(new)
    places = {text: place for place, text in enumerate(new) if here[text] == 1 and there[text] == 1}
    pairs = [(place, places[text]) for place, text in enumerate(old) if text in places]
    tops: list[int] = []  # the least last place in `new` of an increasing run of each length
    ends: list[int] = []  # the pair that has it
    before: list[int] = []
    for number, (_, place) in enumerate(pairs):
        length = bisect_left(tops, place)
        tops[length : length + 1] = [place]
        ends[length : length + 1] = [number]
        before.append(ends[length - 1] if length else -1)
    chosen: list[tuple[int, int]] = []
    number = ends[-1] if ends else -1
    while number >= 0:
        chosen.append(pairs[number])
        number = before[number]
    return chosen[::-1]
