"""The fixture questions: the file, its generator and the loader."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from composite_lab.testing import load_questions
from composite_lab.testing.questions import PLACES, find_question

FIXTURES = Path(__file__).parents[2] / "data" / "fixtures"


def test_committed_file_is_what_the_generator_writes(tmp_path: Path) -> None:
    written = tmp_path / "questions.jsonl"
    subprocess.run([sys.executable, "-B", FIXTURES / "make_questions.py", written], check=True, timeout=120)
    assert written.read_bytes() == (FIXTURES / "questions.jsonl").read_bytes()


def test_questions_are_complete_and_distinct() -> None:
    questions = load_questions()
    assert len(questions) == 240
    assert len({question.id for question in questions}) == 240
    assert len({question.category for question in questions}) >= 8
    for question in questions:
        assert all(asdict(question).values())
        assert len(set(question.distractors)) == 3
        assert question.target.casefold() not in {wrong.casefold() for wrong in question.distractors}
        assert max(map(len, (question.target, *question.distractors))) <= 20


def test_no_prompt_is_contained_in_another() -> None:
    prompts = [question.prompt for question in load_questions()]
    assert len(set(prompts)) == len(prompts)
    assert not [(one, other) for one in prompts for other in prompts if one != other and one in other]


def test_question_is_found_inside_other_text() -> None:
    for question in load_questions()[::17]:
        around = f"Please answer.\n\n  {question.prompt}  \nAnswer in one line."
        within = f"The user asks: {question.prompt} And that was it."
        wrapped = question.prompt.replace(" ", "\n", 3)
        assert {find_question([text]) for text in (question.prompt, around, within, wrapped)} == {question}
    assert find_question(["What is the remainder?", ""]) is None


def test_first_text_with_a_question_decides() -> None:
    one, other = load_questions()[:2]
    assert find_question(["nothing", other.prompt, one.prompt]) == other


def test_loader_knows_the_place_in_a_checkout_and_in_a_wheel() -> None:
    assert PLACES[0].parent == Path(sys.modules["composite_lab.testing.questions"].__file__ or "").parent
    assert PLACES[1].parts[-3:] == ("data", "fixtures", "questions.jsonl")
