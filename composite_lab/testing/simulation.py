"""Simulated models of a stated accuracy, aggregators and reviewers.

This is a simulation and no measurement of any real model: `accuracy=0.8` means that a hash of the
question, the model's name and the seeds decides, with odds of four to one, whether the answer is the
right one of the fixture file or one of its wrong ones. It serves to show what an ensemble does to
answers whose errors are independent, which the errors of real models are not.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from composite_lab.testing.conversation import Block, ChatCall, squeeze
from composite_lab.testing.draws import fraction, pick
from composite_lab.testing.material import message_text
from composite_lab.testing.questions import Question, find_question

# The share of a candidate's score on which simulated reviewers may differ.
REVIEWER_TASTE = 0.2

_WORKINGS = (
    "I wrote down what is given and worked through it step by step.",
    "Taking the numbers in the order in which they are stated leads to the result.",
    "First I sorted out what is asked, then I computed it and checked it once.",
    "The statement leaves one quantity open, and the others determine it.",
    "Going through the statement piece by piece settles it.",
)
_REMARKS = (
    "states its steps and keeps to the question.",
    "is short; a check of the result would help.",
    "is easy to follow from start to end.",
    "gives a result, with little reasoning for it.",
    "covers the question, in a somewhat roundabout way.",
)


def simulated_answer(call: ChatCall, choice: int) -> str | None:
    """Return a text ending in `Answer: <value>`, or None if the request is no case for the simulation.

    A model with `accuracy` answers fixture questions; any model that sees at least two other answers
    goes with the majority of their values. Asked for a verdict it chooses one of the options instead.
    """
    if call.options:
        return _simulated_verdict(call, choice)
    question = _question(call)
    own = _own_value(call, question, choice) if question else None
    peers = [block for block in call.blocks if block.kind != "review"]
    values = [block.value for block in peers if block.value]
    if len(values) >= 2 or (own and values and len(peers) >= 2):
        value, votes = _majority(call, values, own)
        return f"{votes} of the {len(peers)} answers agree, and I go with them.\nAnswer: {value}"
    if own is None:
        return None
    return f"{pick(_WORKINGS, 'working', call.key, choice)}\nAnswer: {own}"


def simulated_review(call: ChatCall) -> str | None:
    """Return a remark per answer block, and a ranking of their labels or the scores asked for.

    None without such blocks.

    The order depends on the texts, on a small personal term and, with `first_bonus`, on the order shown;
    never on labels. A reviewer that knows the fixture question puts the right answers first.
    """
    # Asked again for its ranking, a reviewer finds the answers further up.
    candidates = [block for block in call.blocks or call.earlier_blocks if block.kind == "answer"]
    if not candidates:
        return None
    remarks = "\n".join(
        f"{c.label} {pick(_REMARKS, 'remark', call.name, squeeze(c.text))}" for c in candidates
    )
    if call.behaviour.bad_ranking:
        return f"{remarks}\nAll of them have their merits, and I would rather not put them in an order."
    if call.score_cells:
        return f"{remarks}\n\n{_score_sheet(call, candidates)}"
    labels = [candidate.label for candidate in _ranked(call, candidates)]
    if call.behaviour.partial_ranking:
        labels = labels[:-1]
    ranking = "\n".join(f"{place}. {label}" for place, label in enumerate(labels, 1))
    return f"{remarks}\n\nFINAL RANKING:\n{ranking}"


def _simulated_verdict(call: ChatCall, choice: int) -> str:
    """Return reasons, one of the options, and a confidence.

    With other answers in sight it is what most of them chose, and the confidence their share.
    """
    # Asked again for its verdict, a chairman finds the answers further up.
    seen = call.blocks or call.earlier_blocks
    cast = [block.value for block in seen if block.kind != "review" and block.value]
    question = _question(call)
    own = _own_value(call, question, choice) if question else None
    if call.behaviour.bad_verdict:
        return "There is something to be said for each of the options, and I would rather not choose."
    if len(cast) >= 2:
        value, votes = _majority(call, cast, own)
        reasons, sure = f"{votes} of the {len(cast)} answers agree, and I go with them.", votes / len(cast)
    else:
        fitting = [option for option in call.options if own and _same(option, own)]
        value = (fitting or [pick(call.options, "option", call.key, choice)])[0]
        sure = 0.55 + 0.4 * fraction("sure", call.key, choice)
        reasons = pick(_WORKINGS, "working", call.key, choice)
    return f"{reasons}\n\nVERDICT: {value}\nCONFIDENCE: {sure:.2f}"


def _score_sheet(call: ChatCall, candidates: Sequence[Block]) -> str:
    """Return scores as JSON, which depend on the texts alone but for a personal term for each criterion."""
    merit = _merits(call, candidates)

    def score(candidate: Block, criterion: str, low: float, high: float) -> float:
        taste = fraction("taste", call.name, criterion, squeeze(candidate.text))
        share = (1 - REVIEWER_TASTE) * min(max(merit[candidate], 0), 1) + REVIEWER_TASTE * taste
        return round(low + (high - low) * share)

    scored = candidates[:-1] if call.behaviour.partial_ranking else candidates
    sheet = {
        candidate.label: {name: score(candidate, name, *scale) for name, scale in call.score_cells.items()}
        for candidate in scored
    }
    return json.dumps(sheet, ensure_ascii=False)


def _ranked(call: ChatCall, candidates: Sequence[Block]) -> list[Block]:
    return sorted(candidates, key=_merits(call, candidates).__getitem__, reverse=True)


def _merits(call: ChatCall, candidates: Sequence[Block]) -> dict[Block, float]:
    """Return how good a reviewer finds each candidate, from 0 to 1."""
    question = _question(call)
    known = question.target if question and _is_right(call, question, 0) else None

    def merit(place: int, candidate: Block) -> float:
        text = squeeze(candidate.text)
        bonus = call.behaviour.first_bonus * (1 - place / max(len(candidates) - 1, 1))
        liked = fraction("merit", text) + REVIEWER_TASTE * fraction("taste", call.name, text)
        liked /= 1 + REVIEWER_TASTE
        if known is not None:
            liked = (liked + (candidate.value is not None and _same(candidate.value, known))) / 2
        return liked + bonus

    return {candidate: merit(place, candidate) for place, candidate in enumerate(candidates)}


def _question(call: ChatCall) -> Question | None:
    if call.behaviour.accuracy is None:
        return None
    earlier_last = sorted(call.messages, key=lambda message: message["role"] == "user")
    return find_question([message_text(message) for message in reversed(earlier_last)])


def _is_right(call: ChatCall, question: Question, choice: int) -> bool:
    assert call.behaviour.accuracy is not None
    return fraction("right", *_lot(call, question, choice)) < call.behaviour.accuracy


def _own_value(call: ChatCall, question: Question, choice: int) -> str:
    if _is_right(call, question, choice):
        return question.target
    return pick(question.distractors, "wrong", *_lot(call, question, choice))


def _lot(call: ChatCall, question: Question, choice: int) -> tuple[object, ...]:
    return question.id, call.name, call.behaviour.seed, call.body.get("seed"), choice


def _majority(call: ChatCall, values: list[str], own: str | None) -> tuple[str, int]:
    counts = Counter(map(_norm, values))
    most = max(counts.values())
    tied = sorted(value for value, count in counts.items() if count == most)
    chosen = _norm(own) if own and _norm(own) in tied else pick(tied, "tie", call.name, *tied)
    return next(value for value in values if _norm(value) == chosen), most


def _norm(value: str) -> str:
    return squeeze(value).rstrip(".").casefold()


def _same(one: str, other: str) -> bool:
    return _norm(one) == _norm(other)
