"""What models wrote, made safe to show: nothing in it runs, hides or rearranges what stands around it.

Also numbers with their units; what is unknown is called so and never 0.
"""

from __future__ import annotations

import html
import re
from functools import cache

UNKNOWN = "unknown"
NAME_CHARS = 80
"""How much of a name (a model's, a seat's, a tool's, an error's) is shown."""

# What has no picture of its own but an effect: on the direction of the text, on where lines end, or the
# effect of hiding something from the reader. Lone surrogates are here because no output can hold them.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
    # Joiners and emoji styles belong to honest text, one or two at a time.
    "|[\u200c\u200d\ufe0e\ufe0f]{3,}"
)
_BLANKS = re.compile(r"\s+")
_DELETE = 0x7F
_PICTURES = 0x2400
"""Where Unicode's pictures of the control characters begin: ESC is ␛."""


def visible(text: str) -> str:
    """The text with every control and every invisible character shown: ESC as ␛, others as ⟨U+202E⟩.

    Line ends and tabs stay what they are, and so do the joiners of emoji and of scripts that need them.
    """
    return UNSEEN.sub(_shown, text.replace("\r\n", "\n"))


def escaped(text: str, limit: int | None = None) -> str:
    """The text as HTML that shows it and does nothing, at most its first `limit` characters."""
    return html.escape(visible(_cut(text, limit)), quote=True)


def pre(text: str, limit: int | None = None) -> str:
    """A block that shows the text as it was written; neither a browser nor MathJax reads more into it."""
    # A parser drops a line end right behind the tag, so the first one is ours to lose.
    return f'<pre class="cl-text tex2jax_ignore mathjax_ignore" dir="auto">\n{escaped(text, limit)}</pre>'


def one_line(text: str, limit: int = NAME_CHARS) -> str:
    """A name as plain text on one line, at most `limit` characters and then an ellipsis. Not escaped."""
    # Of a long text no more is looked at than could be shown.
    line = _BLANKS.sub(" ", visible(text[: 4 * limit])).strip()
    return f"{line[: limit - 1]}…" if len(line) > limit or len(text) > 4 * limit else line


def seconds(value: float | None) -> str:
    """A duration as "0.31 s"; short ones with a third digit."""
    if value is None:
        return UNKNOWN
    return f"{value:.2f} s" if value == 0 or value >= 0.1 else f"{value:.3f} s"


def usd(value: float | None) -> str:
    """A price as "0.000123 USD"."""
    if value is None:
        return UNKNOWN
    return f"{value:.1e} USD" if 0 < value < 1e-6 else f"{value:.6f} USD"


def tokens(value: int | None) -> str:
    """A count as "1,234 tokens"."""
    if value is None:
        return UNKNOWN
    return f"{value:,} token{'' if value == 1 else 's'}"


def score(value: float | None) -> str:
    """A score as "8.67" or "8.0": one or two decimals, unless it is too small or too large for them."""
    if value is None:
        return UNKNOWN
    if value and not 0.01 <= abs(value) < 1e6:
        return f"{value:.2g}"
    return re.sub(r"0$", "", f"{value + 0.0:.2f}")


def _cut(text: str, limit: int | None) -> str:
    if limit is None or len(text) <= limit:
        return text
    return f"{text[:limit]} … [{len(text) - limit:,} more characters]"


def _shown(found: re.Match[str]) -> str:
    return "".join(map(_picture, found[0]))


@cache
def _picture(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(_PICTURES + code)
    return "\u2421" if code == _DELETE else f"⟨U+{code:04X}⟩"
