"""Deterministic draws: numbers and picks that depend on nothing but the parts they are made from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def fraction(*parts: object) -> float:
    """Return a number in [0, 1), uniform over different parts and equal for equal parts."""
    # 53 bits: a double holds no more, and rounding 64 of them could give 1.0.
    return (int.from_bytes(_digest(parts, 8)) >> 11) / 2**53


def pick(items: Sequence[Item], *parts: object) -> Item:
    """Return one of `items`, the same one for equal parts."""
    return items[int(fraction(*parts) * len(items))]


def tag(*parts: object, length: int = 12) -> str:
    """Return `length` (at most 32) hexadecimal digits made from the parts."""
    return _digest(parts, 16).hex()[:length]


def _digest(parts: Sequence[object], size: int) -> bytes:
    joined = "\x1f".join(map(str, parts))
    # JSON may carry lone surrogates; they are hashed like any other character.
    return hashlib.blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=size).digest()
