"""In which order each reviewer sees the candidates, so that no candidate profits from its position."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import count


def label_orders(
    candidates: Sequence[int],
    own: Sequence[int | None],
    *,
    seed: int,
    question: str,
    own_is_shown: bool = False,
) -> list[list[int]]:
    """For each reviewer the candidates in the order shown, the same for the same seed and question.

    `own` has for each reviewer the candidate that is its own, which is left out unless `own_is_shown`.
    When every reviewer has one and every candidate is somebody's, each candidate stands in each position
    equally often over the reviewers. So it does over each n reviewers without one, n being the number of
    candidates; else positions are as even as leaving out one's own allows. The rows are those of a
    cyclic Latin square in zigzag, so that neighbours differ between reviewers. Source: Williams 1949.
    """
    size = len(candidates)
    drawn = random.Random(f"{seed}/{question}")
    names = drawn.sample(list(candidates), size)
    turn = drawn.randrange(size) if size else 0
    steps = [(step + 1) // 2 if step % 2 else -step // 2 for step in range(size)]
    places = {candidate: place for place, candidate in enumerate(names)}
    rows = _rows([None if each is None else places[each] for each in own], size, turn, own_is_shown)
    return [
        [
            candidate
            for candidate in (names[(row + step) % size] for step in steps)
            if own_is_shown or candidate != mine
        ]
        for row, mine in zip(rows, own, strict=True)
    ]


def _rows(own: Sequence[int | None], size: int, turn: int, own_is_shown: bool) -> list[int]:
    """The row of the square for each reviewer.

    Every row starts with its own number, so that a reviewer who gets the row of its own candidate loses
    the first position and no other. A reviewer who is shown its own gets rows that run against the
    candidates, or it would always find itself in the same position.
    """
    given = [None if each is None else (turn - each if own_is_shown else each) % size for each in own]
    free = sorted({*range(size)} - {*given}) or list(range(size))
    turns = count(turn)
    return [free[next(turns) % len(free)] if row is None else row for row in given]
