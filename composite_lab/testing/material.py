"""The user's own words, told apart from other models' words and from what is said about these."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The form in which the package's prompts enclose the words of other models.
BLOCK = re.compile(r'<(answer|review|proposal)-([0-9a-f]+) label="([^"]*)">\n(.*?)\n</\1-\2>', re.DOTALL)
# The options of a verdict, which may be asked for without any other model's words.
OPTIONS = re.compile(r"((?:^- .+\n)+)\s*(?:^.*\n){0,4}VERDICT:", re.MULTILINE)

_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_HEADING = re.compile(r"\S[^\n]{0,30}:")


@dataclass(frozen=True)
class Said:
    """A message taken apart: what its author asks, and the material that was added to it."""

    question: str
    material: str
    asks: bool


def read_content(content: object) -> Said:
    """Return the two sides of a message's content, which is a string, a list of parts or absent.

    Material stands behind the question, or in a part of its own. It begins with the paragraph before the
    first block, or before the options of a verdict.
    """
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    if len(parts) > 1:
        return _read_parts(parts)
    text = message_text({"content": content})
    start = _start(text)
    question, material = text[:start].rstrip() if start < len(text) else text, text[start:]
    return Said(question, material, asks=bool(question.strip() or not material))


def message_text(message: Mapping[str, Any]) -> str:
    """Return the text of a message whose content is a string, a list of parts or absent."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, dict))
    return "\n".join(text for text in parts if isinstance(text, str))


def _read_parts(parts: list[dict[str, Any]]) -> Said:
    added = [part for part in parts if _first_mark(message_text({"content": [part]})) is not None]
    own = [part for part in parts if part not in added]
    return Said(message_text({"content": own}), message_text({"content": added}), asks=bool(own))


def _start(text: str) -> int:
    mark = _first_mark(text)
    if mark is None:
        return len(text)
    start = _last_paragraph(text[: mark.start()])
    is_heading = mark.re is BLOCK and _HEADING.fullmatch(text[start : mark.start()].strip())
    # "The answers:" alone introduces nothing: the paragraph above it does.
    return _last_paragraph(text[:start]) if is_heading else start


def _first_mark(text: str) -> re.Match[str] | None:
    block = BLOCK.search(text) if "</" in text else None
    if block is not None or "VERDICT:" not in text:
        return block
    # The last ones, because the user's own words may hold a list, too.
    return next(reversed(list(OPTIONS.finditer(text))), None)


def _last_paragraph(text: str) -> int:
    """Return where the last paragraph of the text begins."""
    return max((gap.end() for gap in _BLANK_LINE.finditer(text.rstrip())), default=0)
