"""Labels as reviewers write them: found in a text, whole or as a bare letter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_DECORATION = " \t\u00a0*_`\"'[](){}<>~|"
_LEAD = re.compile(r"[\W_]*")
_BARE = re.compile(r"([^\W_]{1,12})(?![^\W_])")
_GAP = r"[ \t\u00a0]{1,4}[*_`\"'(\[]{0,3}"
_COMMENT = re.compile(r"[*_`\"'\])}]{0,6}\s{0,4}(?::|\(|\||(?<=\s)-\s)")
_PLACES = r"(?:rank|place|position|first|second|third|last|best|\d)"
# "Tied to the question" and "ties it all together" are no ties.
_TIED = re.compile(
    r"(?:\(tie\b|\b(?:ties? with|an? (?:exact )?tie\b|tied|tying with|ex aequo|joint(?:ly)?[ -]"
    + _PLACES
    + r"|equally ranked|(?:same|equal|shared|shares?) (?:the )?"
    + _PLACES
    + r"|(?:rank|place)[ds]? (?:equal|the same)))"
    r"(?![ -](?:on|in|into|to|together|up|back|down|break\w*)\b)",
    re.IGNORECASE,
)
_LEVEL = re.compile(r"\b(?:are|rank|ranked|as)\b.{0,20}\b(?:equal|equally good|tie)\b", re.IGNORECASE)
# "No tie", "nearly tied", "to break a tie", said shortly before: these claim none.
_UNTIED = re.compile(
    r"(?:\b(?:no|not|never|without|nearly|almost|nor|avoid\w*|br[eo]ak\w*|brok\w*|would|could|if|or)\b"
    r"|n't\b).{0,20}$",
    re.IGNORECASE,
)
_SENTENCE_ENDS = re.compile(r"[.!?;\n]")
_TWO_BARE = re.compile(r"\b([A-Z]{1,3})\s{0,3}(?:,|and|&|/|=|with)\s{0,3}([A-Z]{1,3})\b")


@dataclass(frozen=True, slots=True)
class Lead:
    """The label that a text starts with, or the unknown one, and what follows it."""

    label: str | None = None
    unknown: str | None = None
    rest: str = ""
    tied: bool = False

    @property
    def alone(self) -> bool:
        """Whether nothing but decoration follows."""
        return not self.rest.strip(_DECORATION + ".,;:!")


class Labels:
    """The labels that a reviewer was shown, such as "Response A": how it may write them.

    Case does not matter, nor emphasis. The last word alone ("A") is a label only where nothing else can
    be meant: as the whole of what is read, or as a capital before a colon, a dash or a bracket.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.shown = list(labels)
        self._full = {_fold(label): label for label in labels}
        self._bare = {_fold(label).rpartition(" ")[2]: label for label in labels}
        words = {" ".join(label.split()[:-1]) for label in labels} - {""}
        one = "|".join(re.escape(word).replace(r"\ ", r"\s{1,4}") for word in sorted(words, reverse=True))
        mention = rf"(?<![^\W_])({one or '(?!)'}){_GAP}([^\W_]{{1,12}})(?![^\W_])"
        self._mention = re.compile(mention, re.IGNORECASE)
        self._equation = re.compile(
            rf"{mention}[*_`\"']{{0,3}}\s?=\s?[*_`\"']{{0,3}}{mention}", re.IGNORECASE
        )

    @property
    def distinct(self) -> bool:
        """Whether no two labels, nor the last words of two, are the same but for case."""
        return len(self._full) == len(self._bare) == len(self.shown)

    def exact(self, text: str) -> str | None:
        """The label that the text is, and nothing but."""
        if len(text) > 200:
            return None
        core = text.strip(_DECORATION + ".")
        found = self._mention.fullmatch(core)
        if found:
            return self._full.get(_fold(f"{found[1]} {found[2]}"))
        return self._bare.get(_fold(core)) or self._full.get(_fold(core))

    def leading(self, text: str) -> Lead:
        """The label at the start of a list's item."""
        decoration = _LEAD.match(text)
        start = decoration.end() if decoration else 0
        tied = "=" in text[:start] or "≈" in text[:start]
        found = self._mention.match(text, start)
        if found:
            rest = text[found.end() :]
            label = self._full.get(_fold(f"{found[1]} {found[2]}"))
            if label is None:
                unknown = f"{found[1]} {found[2]}"
                return Lead(unknown=unknown) if _looks_like_one(found[2]) else Lead()
            return Lead(label=label, rest=rest, tied=tied or self._ties(rest))
        bare = _BARE.match(text, start)
        if bare is None:
            return Lead()
        rest = text[bare.end() :]
        label = self._bare.get(_fold(bare[1]))
        alone = Lead(rest=rest).alone
        if label is None:
            return Lead(unknown=bare[1]) if alone and _looks_like_one(bare[1]) else Lead()
        if alone or (bare[1].isupper() and (_COMMENT.match(rest) or self._joins(rest))):
            return Lead(label=label, rest=rest, tied=tied or self._ties(rest))
        return Lead()

    def mentioned(self, text: str) -> set[str]:
        """The labels that the text names in full."""
        found = (self._full.get(_fold(f"{hit[1]} {hit[2]}")) for hit in self._mention.finditer(text))
        return {label for label in found if label is not None}

    def tie_claimed(self, text: str) -> bool:
        """Whether a sentence of the text says that two labels share a place."""
        return any(
            (_claims_tie(sentence) and self._names_two(sentence)) or self._equation.search(sentence)
            for sentence in _SENTENCE_ENDS.split(text)
            if len(sentence) < 1_000
        )

    def _names_two(self, sentence: str) -> bool:
        if len(self.mentioned(sentence)) >= 2:
            return True
        return any(_fold(a) in self._bare and _fold(b) in self._bare for a, b in _TWO_BARE.findall(sentence))

    def _ties(self, rest: str) -> bool:
        return self._joins(rest) or any(_has_tie(part) for part in _SENTENCE_ENDS.split(rest[:1_000]))

    def _joins(self, rest: str) -> bool:
        # "A, B", "A = B", "A and B": the next thing after the label is another one.
        joined = re.match(r"[*_`\"'\])}\s]{0,8}(?:[,/=≈~&+]|and\b|or\b)[\W_]{0,8}", rest)
        if joined is None:
            return False
        if self._mention.match(rest, joined.end()):
            return True
        bare = _BARE.match(rest, joined.end())
        return bare is not None and bare[1].isupper() and _fold(bare[1]) in self._bare


def _claims_tie(sentence: str) -> bool:
    return _has_tie(sentence) or _LEVEL.search(sentence) is not None


def _has_tie(sentence: str) -> bool:
    return any(not _UNTIED.search(sentence[: claim.start()]) for claim in _TIED.finditer(sentence))


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())


def _looks_like_one(word: str) -> bool:
    return word.isdigit() or (word.isupper() and len(word) <= 3)
