"""What a reviewer says itself: its reply in lines, without its thinking, and with what it quotes marked."""

from __future__ import annotations

import re
from dataclasses import dataclass

# A tag in backticks or quotes is spoken of, not used. The lookahead keeps a tag from hiding in a long word.
_THINKING = re.compile(
    r"(?<![`\"'])<(?P<closes>/?)(?:think|thinking|thought|reasoning|scratchpad)\b[ \t]{0,8}>(?![`\"'])",
    re.IGNORECASE,
)
_BLOCK = re.compile(
    r"^[ \t]{0,8}<(?P<tag>(?:answer|review)-[0-9a-f]{6,64}|(?:answer|review)(?=\s+label=)|blockquote|quote)"
    r"(?:\s[^<>\n]{0,200})?>",
    re.IGNORECASE | re.MULTILINE,
)
_OPENS_QUOTATION = re.compile(r"(?:^|(?<=[\s(\[{:,]))\"(?=\S)|“")
_CLOSES_QUOTATION = re.compile(r"(?<=[^ \t\\])\"(?=$|[\s.,;:!?)\]}])|”")
PLAIN = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u2013": " - ", "\u2014": " - ", "\u00a0": " ", "\u2011": "-"}
)
"""Typographic marks as plain ones: how replies are read."""
_MARKS = re.compile(r"[ \t]{0,3}((?:>[ \t]?){1,20})")


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not blank: whether it is quoted, and in which code fence it stands (0: in none)."""

    text: str
    quoted: bool = False
    fence: int = 0

    @property
    def own(self) -> bool:
        """Whether the reviewer says it in its own voice."""
        return not self.quoted and not self.fence

    def beside(self, other: Line) -> bool:
        """Whether both stand in the same quotation and code fence, or in none."""
        return (self.quoted, self.fence) == (other.quoted, other.fence)

    @property
    def indent(self) -> int:
        """How far in it stands, a tab counting as four."""
        body = self.text.lstrip(" \t")
        return len(self.text[: len(self.text) - len(body)].expandtabs(4))


def own_lines(text: str) -> list[Line]:
    """The lines of a reply without thinking, answers' blocks and quotations of several lines."""
    lines: list[Line] = []
    fence, mark = 0, ""
    count = 0
    for raw in without_quotations(without_blocks(without_thinking(text.translate(PLAIN)))).splitlines():
        quotation = _MARKS.match(raw)
        body = raw[quotation.end() :] if quotation else raw
        start = body.strip()
        if not start:
            continue
        if start[:3] in ("```", "~~~") and start[:3] not in start[3:]:
            if not mark:
                count += 1
                fence, mark = count, start[:3]
                continue
            if start[:3] == mark:
                fence, mark = 0, ""
                continue
        lines.append(Line(body, quotation is not None, fence))
    return lines


def without_thinking(text: str) -> str:
    """The text without `<think>…</think>` and the like; one that is never closed lasts to the end.

    A closing tag without an opening one ends thinking that began in the prompt, as some chat templates
    have it.
    """
    if "<" not in text:
        return text
    kept: list[str] = []
    depth, position = 0, 0
    tags = list(_THINKING.finditer(text))
    last_closing = max((tag.start() for tag in tags if tag["closes"]), default=-1)
    for tag in tags:
        if tag["closes"]:
            if not depth:
                kept = []
            depth = max(depth - 1, 0)
            position = tag.end()
        elif depth or tag.start() < last_closing or _starts_line(text, tag.start()):
            # Within a line, and never closed, it is only spoken of.
            if not depth:
                kept.append(text[position : tag.start()])
            depth += 1
    return "".join(kept) + ("" if depth else text[position:])


def without_blocks(text: str) -> str:
    """The text without the blocks of `prompts.enclose` and without `<quote>` and `<blockquote>`."""
    if "<" not in text:
        return text
    kept: list[str] = []
    position = 0
    folded = text.lower()
    if len(folded) != len(text):
        # A few letters grow when folded, and positions would no longer fit.
        folded = text
    while opening := _BLOCK.search(text, position):
        kept.append(text[position : opening.start()])
        closing = f"</{opening['tag']}>"
        at = folded.find(closing.lower(), opening.end())
        if at < 0:
            return "".join(kept)
        position = at + len(closing)
    return "".join(kept) + text[position:]


def without_quotations(text: str) -> str:
    """The text without what stands between double quotes over several lines.

    A quotation within a line is kept: it can hide no heading. Of two opening quotes in a row the first
    was a stray one.
    """
    if '"' not in text and "“" not in text:
        return text
    spans: list[tuple[int, int]] = []
    opening = {found.start() for found in _OPENS_QUOTATION.finditer(text)}
    closing = {found.start() for found in _CLOSES_QUOTATION.finditer(text)}
    opened: int | None = None
    for position in sorted(opening | closing):
        if opened is not None and position in closing:
            spans.append((opened, position + 1))
            opened = None
        elif position in opening:
            opened = position
    kept: list[str] = []
    last = 0
    for start, end in spans:
        if "\n" in text[start:end]:
            kept += [text[last:start], " "]
            last = end
    return "".join(kept) + text[last:]


def _starts_line(text: str, position: int) -> bool:
    return not text[max(position - 80, 0) : position].rpartition("\n")[2].strip()
