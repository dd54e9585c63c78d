"""What changed from one text to another, word by word, as a script-free HTML fragment.

Very long texts are compared by sentences, and by words where these changed; what would still take too long
counts as replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from composite_lab.notebook.alignment import Alignment
from composite_lab.notebook.text import escaped

Op = Literal["kept", "deleted", "inserted"]
Piece = tuple[Op, str]

WORDS_UP_TO = 400_000
"""How many characters are taken apart into words, in both texts together."""

ROUGH = "These texts are long: not every word was compared, and more may have been kept than is shown."
_PUNCTUATION = r"!-/:-@\[-`{-~¡-¿\u2010-\u2027\u2030-\u205e\u3001-\u301f\uff01-\uff0f\uff1a-\uff20"
_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # scripts without blanks
_LETTERS = rf"[^\s{_PUNCTUATION}{_UNSPACED}]+"
_WORD = re.compile(
    rf"(\s*)([{_UNSPACED}]|{_LETTERS}(?:(?:['\u2019]|(?<=\d)[.,](?=\d)){_LETTERS})*|(?:(.)\3*))"
)
_SENTENCE = re.compile(r"(\s*)(\S+(?:(?<![.!?\u2026\u3002\uff01\uff1f])[^\S\n]+\S+)*)")
_COUNTED = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


@dataclass(frozen=True)
class Difference:
    """Two texts compared: the pieces in reading order.

    The kept and deleted pieces joined are the earlier text, the kept and inserted ones the later. When
    the texts were too long to compare every word, `is_exact` is False.
    """

    pieces: list[Piece]
    is_exact: bool = True

    @property
    def kept_share(self) -> float:
        """The share of the later text's words that were kept, 0.0 when it has none."""
        kept = _word_count(text for op, text in self.pieces if op == "kept")
        words = kept + _word_count(text for op, text in self.pieces if op == "inserted")
        return kept / words if words else 0.0


def difference(before: str, after: str) -> Difference:
    """What was kept, deleted and inserted between two texts; about a second for a megabyte each."""
    comparison = _Comparison()
    if len(before) + len(after) <= WORDS_UP_TO:
        pieces = comparison.by_words(_units(_WORD, before), _units(_WORD, after))
    else:
        pieces = comparison.by_sentences(_units(_SENTENCE, before), _units(_SENTENCE, after))
    tidied = _tidied(pieces)  # only then it is known what was left out
    return Difference(tidied, comparison.is_exact)


def changes(before: str, after: str, limit: int | None = None) -> str:
    """What changed, as HTML: `<del>` and `<ins>` in the running text, cut after `limit` characters."""
    return marked(difference(before, after), limit)


def marked(found: Difference, limit: int | None = None) -> str:
    """A comparison as HTML, every text escaped, cut after `limit` characters."""
    note = "" if found.is_exact else f'<p class="cl-meta">{ROUGH}</p>'
    whole = sum(len(text) for _, text in found.pieces)
    left = whole if limit is None else limit
    parts = []
    for position, (op, text) in enumerate(found.pieces):
        following = found.pieces[position + 1][0] if position + 1 < len(found.pieces) else "kept"
        parts.append(_marked_piece(op, text[:left], is_replaced=following == "inserted"))
        left -= len(text)
        if left <= 0:
            break
    if limit is not None and whole > limit:
        parts.append(f" … [{whole - limit:,} more characters]")
    body = "".join(parts)
    # A parser drops a line end right behind the tag, so the first one is ours to lose.
    return f'{note}<pre class="cl-text tex2jax_ignore mathjax_ignore" dir="auto">\n{body}</pre>'


def kept_share(before: str, after: str) -> float:
    """The share of the words of `after` that stand in `before` in the same order, 0.0 to 1.0."""
    return difference(before, after).kept_share


class _Unit(NamedTuple):
    """A word or a sentence with the white space before it; the last may be white space alone."""

    gap: str
    text: str


class _Comparison:
    """A comparison under way, with what it may still cost."""

    def __init__(self) -> None:
        self._alignment = Alignment()
        self._characters = WORDS_UP_TO
        self._is_cut = False

    @property
    def is_exact(self) -> bool:
        return not (self._is_cut or self._alignment.gave_up)

    def by_words(self, old: Sequence[_Unit], new: Sequence[_Unit]) -> Iterator[Piece]:
        for stretch_old, stretch_new, kept_old, kept_new in self._alternating(old, new):
            yield from _replaced(stretch_old, stretch_new)
            yield from _kept(kept_old, kept_new)

    def by_sentences(self, old: Sequence[_Unit], new: Sequence[_Unit]) -> Iterator[Piece]:
        for stretch_old, stretch_new, kept_old, kept_new in self._alternating(old, new):
            before, after = _joined(stretch_old), _joined(stretch_new)
            # What is in one text only needs no comparison.
            cost = len(before) + len(after) if before and after else 0
            if cost <= self._characters:
                self._characters -= cost
                yield from self.by_words(_units(_WORD, before), _units(_WORD, after))
            else:
                self._is_cut = True
                yield from _replaced(stretch_old, stretch_new)
            yield from _kept(kept_old, kept_new)

    def _alternating(
        self, old: Sequence[_Unit], new: Sequence[_Unit]
    ) -> Iterator[tuple[Sequence[_Unit], Sequence[_Unit], Sequence[_Unit], Sequence[_Unit]]]:
        """What changed in both, then what was kept in both, again and again."""
        at_old = at_new = 0
        texts_old, texts_new = [unit.text for unit in old], [unit.text for unit in new]
        for block in self._alignment.blocks(texts_old, texts_new):
            end_old, end_new = block.old + block.size, block.new + block.size
            yield (
                old[at_old : block.old],
                new[at_new : block.new],
                old[block.old : end_old],
                new[block.new : end_new],
            )
            at_old, at_new = end_old, end_new


@dataclass
class _Stretch:
    """A change and what was kept behind it."""

    deleted: list[str] = field(default_factory=list)
    inserted: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    @property
    def replaces(self) -> bool:
        return any(map(str.strip, self.deleted)) and any(map(str.strip, self.inserted))

    @property
    def is_chance(self) -> bool:
        """A lone word kept between two replacements in a line tells nothing and tears the text apart."""
        kept = "".join(self.kept[:5])
        return len(self.kept) < 5 and "\n" not in kept and _word_count([kept]) <= 1


def _units(kind: re.Pattern[str], text: str) -> list[_Unit]:
    body = text.rstrip()  # else every blank of a long end would be tried as a beginning
    found = [_Unit(match[1], match[2]) for match in kind.finditer(body)]
    return [*found, _Unit(text[len(body) :], "")] if len(body) < len(text) else found


def _joined(units: Iterable[_Unit]) -> str:
    return "".join(unit.gap + unit.text for unit in units)


def _word_count(texts: Iterable[str]) -> int:
    return sum(sum(1 for _ in _COUNTED.finditer(text)) for text in texts)


def _replaced(old: Sequence[_Unit], new: Sequence[_Unit]) -> Iterator[Piece]:
    deleted, inserted = _joined(old), _joined(new)
    if old and new and old[0].gap == new[0].gap:
        gap = old[0].gap
        yield "kept", gap
        deleted, inserted = deleted[len(gap) :], inserted[len(gap) :]
    yield "deleted", deleted
    yield "inserted", inserted


def _kept(old: Sequence[_Unit], new: Sequence[_Unit]) -> Iterator[Piece]:
    for earlier, later in zip(old, new, strict=True):
        if earlier.gap != later.gap:
            yield "deleted", earlier.gap
            yield "inserted", later.gap
            yield "kept", later.text
        else:
            yield "kept", later.gap + later.text


def _tidied(pieces: Iterable[Piece]) -> list[Piece]:
    """The same pieces in as few as possible: a deletion, an insertion, a kept run, and so on."""
    stretches = [_Stretch()]
    for op, text in pieces:
        if not text:
            continue
        if op != "kept" and stretches[-1].kept:
            stretches.append(_Stretch())
        getattr(stretches[-1], op).append(text)
    merged = stretches[:1]
    for stretch in stretches[1:]:
        last = merged[-1]
        if stretch.replaces and last.replaces and last.is_chance:
            last.deleted += [*last.kept, *stretch.deleted]
            last.inserted += [*last.kept, *stretch.inserted]
            last.kept = stretch.kept
        else:
            merged.append(stretch)
    ops: tuple[Op, ...] = ("deleted", "inserted", "kept")
    texts = [(op, "".join(getattr(stretch, op))) for stretch in merged for op in ops]
    return [(op, text) for op, text in texts if text]


def _marked_piece(op: Op, text: str, *, is_replaced: bool) -> str:
    if op == "kept":
        return escaped(text)
    # A line end cannot be seen to be struck out, and where a word was replaced it would tear the line.
    body = text.lstrip() if op == "deleted" and (is_replaced or not text.strip()) else text
    signs = "¶" * text[: len(text) - len(body)].count("\n")
    if op == "inserted" and not text.strip():
        body = text.replace("\n", "¶\n")
    tag = "del" if op == "deleted" else "ins"
    shown = signs + body
    return f'<{tag} class="cl-{tag}">{escaped(shown)}</{tag}>' if shown else ""
