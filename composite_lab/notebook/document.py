"""A static HTML document for one output of a cell: style sheet, frame, and a bound on its size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from composite_lab.notebook.text import escaped, one_line

PAGE_BYTES = 400_000
"""What a page may add to a notebook's file, in bytes of UTF-8."""
SEPARATOR = '<span class="cl-dot"> · </span>'


class Bounds(NamedTuple):
    """How much of a run a page shows: characters of each text, entries of each long list."""

    characters: int
    entries: int

    @property
    def cut(self) -> bool:
        """True when these bounds are narrower than those that a page is tried with first."""
        return self != BOUNDS[0]


def _ladder() -> Iterator[Bounds]:
    yield Bounds(PAGE_BYTES, 1_000_000)
    # Texts are cut before calls are left out, until cutting would leave nothing worth reading.
    for entries, shortest in ((300, 500), (100, 250), (30, 100), (10, 25)):
        characters = PAGE_BYTES // 2
        while characters >= shortest:
            yield Bounds(characters, entries)
            characters //= 2


BOUNDS = list(_ladder())


def document(body: str) -> str:
    """The body in the frame that its classes need, with the style sheet before it."""
    return style() + framed(body)


def framed(body: str) -> str:
    """The body without the style sheet, for what stands beside a document."""
    # Classes that keep MathJax from reading formulas into what models wrote.
    return f'<div class="cl-root tex2jax_ignore mathjax_ignore">{body}</div>'


def fitted(parts: Callable[[Bounds], Iterable[str]]) -> str:
    """The document of the widest bounds whose parts stay below `PAGE_BYTES` together."""
    for bounds in BOUNDS:
        left = PAGE_BYTES - len(document("").encode())
        body = []
        for part in parts(bounds):
            left -= len(part.encode())
            if left < 0:
                break
            body.append(part)
        else:
            return document("".join(body))
    return document("<p>This is too large to be shown here.</p>")


@cache
def style() -> str:
    """The style sheet as an element. Where it is taken out, the page reads well without."""
    sheet = files("composite_lab.notebook").joinpath("style.css").read_text(encoding="utf-8")
    return f"<style>\n{sheet}</style>"


def details(summary: str, content: str, *, opened: bool = False, kind: str = "cl-section") -> str:
    """A part that opens and closes; both arguments are HTML already."""
    return (
        f'<details class="{kind}"{" open" if opened else ""}><summary>{summary}</summary>{content}</details>'
    )


def table(headings: Iterable[str], rows: Iterable[str], kind: str = "") -> Iterator[str]:
    """A table, piece by piece, with plain headings and rows that are HTML already."""
    head = "".join(f"<th>{escaped(heading)}</th>" for heading in headings)
    classes = f"cl-table {kind}".strip()
    yield f'<div class="cl-wide"><table class="{classes}"><thead><tr>{head}</tr></thead><tbody>'
    yield from rows
    yield "</tbody></table></div>"


def row(cells: Iterable[str]) -> str:
    """A row of cells that are HTML already."""
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def name(text: str, limit: int = 80) -> str:
    """A name as HTML on one line, that leaves the direction of the text around it alone."""
    return f"<bdi>{escaped(one_line(text, limit))}</bdi>"


def joined(parts: Iterable[str]) -> str:
    """Short plain texts on one line, as HTML."""
    return SEPARATOR.join(name(part, 160) for part in parts)
