"""Numbers as models write them: read, and brought to one scale."""

from __future__ import annotations

import math
import re

_BOXED = re.compile(r"\\boxed\s?\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")

_ANSWER = re.compile(
    r"\b(?:answer|verdict)\b[^\n:=]{0,40}?(?:\bis\b|:|=)|^####", re.IGNORECASE | re.MULTILINE
)

_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]+)\}\{([^{}]+)\}")

_LATEX_COMMA = re.compile(r",\\!|\{,\}|\\,")

_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻\u2212", "0123456789--")

_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)\]])[-+\u2212])?[$€£]?(?<!\w)"
    r"(?P<digits>(?:\d{1,3}(?:[,\u00a0\u202f'\u2019_]\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
    r"(?:e(?P<e>[-+]?\d+)|(?P<times>\s?(?:[\u00d7x*\u00b7]|\\times|\\cdot)\s?10(?=[\^*⁻⁰¹²³⁴-⁹]))?"
    r"(?:(?:\^|\*\*)\{?(?P<power>[-+\u2212]?\d+)|(?P<raised>⁻?[⁰¹²³⁴-⁹]+))\}?)?"
    r"(?:\s?/\s?(?P<divisor>\d+(?:\.\d+)?))?(?P<percent>\s?(?:\\?%|per\s?cent\b))?",
    re.IGNORECASE,
)


def last_number(text: str) -> tuple[float, bool] | None:
    """The number a text ends with, and whether in percent."""
    text = _LATEX_COMMA.sub(",", _FRACTION.sub(r"\1/\2", text))
    if boxed := _numbers(next(iter(reversed(_BOXED.findall(text))), "")):
        return boxed[-1]
    if markers := list(_ANSWER.finditer(text)):
        line = text[markers[-1].end() :].lstrip("*_:= \t\n").partition("\n")[0]
        if stated := _numbers(line.rpartition("=")[2]):
            return stated[0]
    found = _numbers(text)
    return found[-1] if found else None


def on_one_scale(found: tuple[float, bool], wanted: tuple[float, bool]) -> list[tuple[float, float]]:
    """The pairs to compare: 75% is both 75 and 0.75 to a number without a percent sign."""
    pairs = [(found[0], wanted[0])]
    if found[1] != wanted[1]:
        pairs.append((found[0] / 100, wanted[0]) if found[1] else (found[0], wanted[0] / 100))
    return pairs


def _numbers(text: str) -> list[tuple[float, bool]]:
    found = [(_value(match), match["percent"] is not None) for match in _NUMBER.finditer(text)]
    return [each for each in found if math.isfinite(each[0])]


def _value(match: re.Match[str]) -> float:
    value = float(re.sub(r"[^\d.]", "", match["digits"]) + (f"e{match['e']}" if match["e"] else ""))
    power = (match["power"] or match["raised"] or "").translate(_RAISED)
    try:
        if power:
            value = value * 10.0 ** int(power) if match["times"] else value ** int(power)
        value /= float(match["divisor"] or 1)
    except (OverflowError, ZeroDivisionError, ValueError):  # also of more digits than int reads
        return math.nan
    return -value if match["sign"] in ("-", "\u2212") else value
