"""The fixture questions, whose right answers are known by construction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PLACES = (
    Path(__file__).with_name("questions.jsonl"),  # in an installed wheel
    Path(__file__).parents[2] / "data" / "fixtures" / "questions.jsonl",  # in a checkout
)


@dataclass(frozen=True)
class Question:
    """A question with its right answer and three plausible wrong ones, all short strings."""

    id: str
    prompt: str
    target: str
    category: str
    distractors: tuple[str, ...]


def load_questions() -> list[Question]:
    """Return the fixture questions in the order of the file.

    Raises:
        FileNotFoundError: The file is in neither of its two places.
    """
    return list(_read(_place()))


def find_question(texts: Sequence[str]) -> Question | None:
    """Return the question that one of the texts contains, the texts tried in the given order."""
    by_prompt = _by_prompt()
    for text in texts:
        for line in text.splitlines():
            found = by_prompt.get(" ".join(line.split()))
            if found is not None:
                return found
        whole = " ".join(text.split())
        for prompt, question in by_prompt.items():
            if prompt in whole:
                return question
    return None


@cache
def _by_prompt() -> dict[str, Question]:
    return {" ".join(question.prompt.split()): question for question in load_questions()}


@cache
def _read(path: Path) -> tuple[Question, ...]:
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return tuple(Question(**row | {"distractors": tuple(row["distractors"])}) for row in rows)


def _place() -> Path:
    for path in PLACES:
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"The fixture questions are in neither {PLACES[0]} (installed) nor {PLACES[1]} (checkout). "
        "Reinstall composite-lab, or write the file with data/fixtures/make_questions.py."
    )
