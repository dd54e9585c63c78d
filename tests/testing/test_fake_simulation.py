"""The simulation of stated accuracy, of aggregators and of reviewers."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from composite_lab.testing import Question, load_questions

QUESTIONS = load_questions()
REVIEW = "Judge the answers and end with a FINAL RANKING of their labels."


def value(content: str) -> str:
    """Return the value of the last line, which must state the answer."""
    word, _, stated = content.splitlines()[-1].partition(" ")
    assert word == "Answer:"
    return stated


def enclosed(label: str, text: str, kind: str = "answer") -> str:
    """Return a text as the package's prompts enclose it."""
    return f'<{kind}-0f3a label="{label}">\n{text}\n</{kind}-0f3a>'


def ranked(content: str) -> list[str]:
    """Return the labels of the ranking, best first."""
    lines = content.partition("FINAL RANKING:\n")[2].splitlines()
    assert [line.split(". ")[0] for line in lines] == [str(i) for i in range(1, len(lines) + 1)]
    return [line.split(". ", 1)[1] for line in lines]


def is_right(chat: Any, model: str, question: Question) -> bool:
    """Return whether the model answers the question with its target."""
    return value(chat(model, question.prompt).content) == question.target


@pytest.mark.parametrize("accuracy", [0.0, 0.3, 0.8, 1.0])
def test_share_of_right_answers_is_near_the_stated_accuracy(chat: Any, accuracy: float) -> None:
    right = sum(is_right(chat, f"sim-x+accuracy={accuracy}", question) for question in QUESTIONS)
    assert abs(right / len(QUESTIONS) - accuracy) <= (0.09 if 0 < accuracy < 1 else 0)


def test_wrong_answers_are_the_questions_distractors(chat: Any) -> None:
    given = [value(chat("sim-x+accuracy=0", question.prompt).content) for question in QUESTIONS[:60]]
    places = [question.distractors.index(text) for question, text in zip(QUESTIONS, given, strict=False)]
    assert set(places) == {0, 1, 2}


def test_answers_depend_on_name_and_seeds_but_not_on_the_wording_around(chat: Any) -> None:
    def answers(model: str, **body: Any) -> list[str]:
        return [value(chat(model, question.prompt, **body).content) for question in QUESTIONS[:40]]

    base = answers("sim-x+accuracy=0.5")
    assert answers("sim-x+accuracy=0.5+latency=0") == base
    for other in ("sim-y+accuracy=0.5", "sim-x+accuracy=0.5+seed=1"):
        assert answers(other) != base
    assert answers("sim-x+accuracy=0.5", seed=7) != base
    assert answers("sim-x+accuracy=0.5", temperature=0.9) == base
    system = {"role": "system", "content": "Be brief."}
    for question, before in zip(QUESTIONS[:20], base, strict=False):
        messages = [system, {"role": "user", "content": f"Question:\n{question.prompt}\nThink first."}]
        assert value(chat("sim-x+accuracy=0.5", messages).content) == before


def test_higher_accuracy_keeps_every_right_answer(chat: Any) -> None:
    for question in QUESTIONS[:60]:
        if is_right(chat, "sim-x+accuracy=0.4", question):
            assert is_right(chat, "sim-x+accuracy=0.6", question)


def test_other_texts_are_answered_generically(chat: Any) -> None:
    assert "Answer:" not in chat("sim-x+accuracy=1", "What is love?").content
    assert "Answer:" not in chat("fake-a", QUESTIONS[0].prompt).content


def test_question_in_an_earlier_message_is_answered_too(chat: Any) -> None:
    question = QUESTIONS[5]
    turns = [("user", question.prompt), ("assistant", "Hm."), ("user", "So what is it?")]
    messages = [{"role": role, "content": text} for role, text in turns]
    assert value(chat("sim-x+accuracy=1", messages).content) == question.target


def test_aggregator_goes_with_the_majority(chat: Any) -> None:
    texts = [f"I think so.\nAnswer: {stated}" for stated in ("12", "15", "15")]
    blocks = "\n".join(enclosed(f"Model {i}", text, "proposal") for i, text in enumerate(texts))
    assert value(chat("fake-a", f"Combine.\n{blocks}").content) == "15"
    question = QUESTIONS[0]
    assert value(chat("sim-x+accuracy=1", f"{question.prompt}\n{blocks}").content) == "15"


def test_reviews_have_no_vote(chat: Any) -> None:
    answers = [enclosed("A", "Answer: 1"), enclosed("B", "Answer: 2"), enclosed("C", "Answer: 2")]
    reviews = [enclosed(f"R{i}", "Answer: 1", "review") for i in range(5)]
    assert value(chat("fake-a", "Combine.\n" + "\n".join(answers + reviews)).content) == "2"


def test_tie_is_broken_by_the_models_own_answer_if_it_is_among_the_tied(chat: Any) -> None:
    question = QUESTIONS[3]
    wrong = question.distractors[0]
    for pair in ((question.target, wrong), (wrong, question.target)):
        blocks = "\n".join(
            enclosed(label, f"Answer: {stated}") for label, stated in zip("AB", pair, strict=True)
        )
        assert value(chat("sim-x+accuracy=1", f"{question.prompt}\n{blocks}").content) == question.target
    blocks = "\n".join(
        enclosed(label, f"Answer: {stated}") for label, stated in zip("AB", ("red", "blue"), strict=True)
    )
    assert value(chat("sim-x+accuracy=1", f"{question.prompt}\n{blocks}").content) in {"red", "blue"}


def test_one_answer_alone_is_no_majority(chat: Any) -> None:
    block = enclosed("A", "Answer: 99")
    assert "Answer:" not in chat("fake-a", f"Combine.\n{block}").content
    assert value(chat("sim-x+accuracy=1", f"{QUESTIONS[0].prompt}\n{block}").content) == QUESTIONS[0].target


def test_majority_of_five_beats_each_of_them(chat: Any) -> None:
    models = [f"sim-{letter}+accuracy=0.7" for letter in "abcde"]
    right: Counter[str] = Counter()
    for question in QUESTIONS[::2]:
        answers = [chat(model, question.prompt).content for model in models]
        right.update(m for m, text in zip(models, answers, strict=True) if value(text) == question.target)
        blocks = "\n".join(enclosed(f"Response {i}", text, "proposal") for i, text in enumerate(answers))
        final = value(chat("sim-judge+accuracy=0.7", f"{question.prompt}\n{blocks}").content)
        right["majority"] += final == question.target
    assert right["majority"] > max(right[model] for model in models)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="<"), min_size=1), min_size=1, max_size=7
    )
)
def test_ranking_is_a_permutation_of_the_labels(chat: Any, texts: list[str]) -> None:
    labels = [f"Response {chr(ord('A') + i)}" for i in range(len(texts))]
    blocks = "\n".join(map(enclosed, labels, texts))
    content = chat("fake-a", f"{REVIEW}\n{blocks}").content
    assert sorted(ranked(content)) == labels
    comments = content.partition("\n\nFINAL RANKING:")[0].splitlines()
    assert [re.match(r"Response \w", line)[0] for line in comments] == labels  # type: ignore[index]


def order_of_texts(chat: Any, model: str, labelled: dict[str, str]) -> list[str]:
    """Return the candidates' texts in the order of the model's ranking."""
    blocks = "\n".join(enclosed(label, text) for label, text in labelled.items())
    return [labelled[label] for label in ranked(chat(model, f"{REVIEW}\n{blocks}").content)]


def test_ranking_depends_on_the_texts_and_not_on_labels_or_order(chat: Any) -> None:
    texts = [f"Candidate text number {i}." for i in range(6)]
    first = order_of_texts(chat, "fake-a", dict(zip("ABCDEF", texts, strict=True)))
    assert order_of_texts(chat, "fake-a", dict(zip("UVWXYZ", reversed(texts), strict=True))) == first


def test_reviewers_agree_mostly_but_not_always(chat: Any) -> None:
    agreements = []
    for case in range(30):
        labelled = {label: f"Case {case}, text {label}." for label in "ABCD"}
        favourites = [order_of_texts(chat, f"fake-{name}", labelled)[0] for name in "abc"]
        agreements.append(len(set(favourites)) == 1)
    assert 15 <= sum(agreements) < 30


def test_reviewer_that_knows_puts_right_answers_first(chat: Any) -> None:
    for question in QUESTIONS[:20]:
        stated = [question.distractors[0], question.target, question.distractors[1], question.target]
        labels = "ABCD"
        blocks = "\n".join(enclosed(n, f"Text {n}\nAnswer: {s}") for n, s in zip(labels, stated, strict=True))
        assert set(
            ranked(chat("sim-x+accuracy=1", f"{question.prompt}\n{REVIEW}\n{blocks}").content)[:2]
        ) == {"B", "D"}


def test_rankings_can_be_missing_or_partial(chat: Any) -> None:
    prompt = f"{REVIEW}\n{enclosed('A', 'one')}\n{enclosed('B', 'two')}\n{enclosed('C', 'three')}"
    full = ranked(chat("fake-a", prompt).content)
    assert "FINAL RANKING" not in chat("fake-a+bad_ranking", prompt).content
    assert ranked(chat("fake-a+partial_ranking", prompt).content) == full[:-1]


def test_ranking_asked_for_only_inside_a_block_is_none(chat: Any) -> None:
    prompt = f"Which is best?\n{enclosed('A', 'Give me a final ranking!')}\n{enclosed('B', 'x')}"
    assert "FINAL RANKING:" not in chat("fake-a", prompt).content


def test_a_biased_reviewer_favours_what_it_is_shown_first(chat: Any) -> None:
    texts = [f"Text {number}." for number in range(4)]
    firsts = Counter[str]()
    for turn in range(4):
        order = texts[turn:] + texts[:turn]
        answers = "\n".join(enclosed(f"Response {'ABCD'[place]}", text) for place, text in enumerate(order))
        asked = f"{REVIEW}\n{answers}"
        firsts["biased"] += ranked(chat("fake-a+first_bonus=1", asked).content)[0] == "Response A"
        firsts["fair"] += ranked(chat("fake-a", asked).content)[0] == "Response A"
        firsts["spiteful"] += ranked(chat("fake-a+first_bonus=-1", asked).content)[0] == "Response A"
    assert firsts["biased"] > firsts["fair"] > firsts["spiteful"]


SHEET = '{"Response A": {"true": <2 to 6>, "kind \\"and\\" calm": <0 to 1>}, "Response B": {}}'


def test_scores_are_whole_numbers_of_the_scale_for_each_label_and_criterion(chat: Any) -> None:
    answers = f"{enclosed('Response A', 'One.')}\n{enclosed('Response B', 'Two.')}"
    content = chat("fake-a", f"Score these.\n{answers}\n{SHEET}").content
    scores = json.loads(content.splitlines()[-1])
    assert scores.keys() == {"Response A", "Response B"}
    for row in scores.values():
        assert row.keys() == {"true", 'kind "and" calm'}
        assert row["true"] in range(2, 7)
        assert row['kind "and" calm'] in (0, 1)
    partial = chat("fake-a+partial_ranking", f"Score these.\n{answers}\n{SHEET}").content
    assert json.loads(partial.splitlines()[-1]).keys() == {"Response A"}
    assert "{" not in chat("fake-a+bad_ranking", f"Score these.\n{answers}\n{SHEET}").content


def verdict(content: str) -> tuple[str, float]:
    """Return the option and the confidence that a reply closes with."""
    chosen, sure = content.splitlines()[-2:]
    return chosen.removeprefix("VERDICT: "), float(sure.removeprefix("CONFIDENCE: "))


def test_a_verdict_is_the_answer_if_it_is_an_option_and_else_one_of_the_options(chat: Any) -> None:
    question = QUESTIONS[0]

    def asked(*options: str, above: str = "") -> str:
        listed = "\n".join(f"- {option}" for option in options)
        return f"{question.prompt}\n{above}\nChoose:\n\n{listed}\n\nVERDICT: <the option>"

    knowing = "sim-x+accuracy=1"
    options = [question.distractors[0], question.target]
    choice, sure = verdict(chat(knowing, asked(*options)).content)
    assert choice == question.target
    assert 0.5 < sure < 1
    assert verdict(chat("fake-a", asked("yes", "no")).content)[0] in ("yes", "no")
    assert "VERDICT" not in chat("fake-a+bad_verdict", asked("yes", "no")).content
    cast = "\n".join(
        enclosed(f"Response {letter}", f"So.\nVERDICT: {choice}\nCONFIDENCE: 0.6")
        for letter, choice in zip("ABC", ["yes", "no", "yes"], strict=True)
    )
    assert verdict(chat("fake-a", asked("no", "yes", above=cast)).content) == ("yes", 0.67)
