"""A verdict: asking for a choice among options with a confidence, and reading it strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from composite_lab.replies import Reply
from composite_lab.strategies.ballots.jsontext import Pairs, folded, json_values
from composite_lab.strategies.ballots.quotation import PLAIN, Line, own_lines
from composite_lab.strategies.prompts import CouncilPrompts, bullets
from composite_lab.strategies.run import Answer, Run
from composite_lab.trace.call import BallotStatus
from composite_lab.trace.verdict import Verdict, Vote

_LINE = re.compile(r"[\W_]{0,12}(verdict|confidence)[*_`\s]{0,6}[:=](.*)", re.IGNORECASE | re.DOTALL)
_DECORATION = " \t*_`\"'<>[](){}.,;"
_CONFIDENCE = re.compile(r"(\d{0,3}(?:\.\d{1,20})?(?:e-\d{1,3})?)(\s?%)?", re.IGNORECASE)
_CANDIDATE = re.compile(r"\b(?:response|answer) [a-z]{1,3}\b|\b(?:reviewer|member) \d", re.IGNORECASE)
_CHOICE_KEYS = frozenset({"verdict", "choice"})
_NONE = frozenset({"abstain", "abstention", "i abstain", "none", "n/a", "null"})


@dataclass(frozen=True, slots=True)
class Choice:
    """What a reply chooses: an option and a confidence from 0 to 1, or the problem why there is none."""

    choice: str | None = None
    confidence: float | None = None
    problem: str | None = None
    abstained: bool = False

    @property
    def status(self) -> BallotStatus:
        """The status of a vote that says this."""
        if self.choice is not None:
            return "valid"
        return "abstained" if self.abstained else "invalid"


def read_verdict(text: str, options: Sequence[str]) -> Choice:
    """The choice among options that a reply closes with, and its confidence from 0 to 1.

    They stand in the last line `VERDICT: <option>` and a line `CONFIDENCE: <0.00 to 1.00>` behind it, or
    in the last JSON object with both. The option counts as written, but for case and decoration. Another
    one, a missing confidence, one outside of 0 to 1 (85 is neither 0.85 nor 85 %, which would do), and
    different ones of which it is not plain whose they are, make no choice: nothing is guessed. Thinking,
    quotations, and what is introduced as a candidate's are not read. Never raises.
    """
    lines = own_lines(text)
    stated = _in_lines(lines) or _in_json(lines)
    if stated is None:
        return Choice(problem="there is no line 'VERDICT: …'")
    if stated.problem is not None:
        return Choice(problem=stated.problem)
    known = {fold(option.strip(_DECORATION)): option for option in options}
    chosen = fold(stated.choice.strip(_DECORATION))
    if chosen not in known:
        if chosen in _NONE:
            return Choice(problem="it abstains", abstained=True)
        return Choice(problem=f"{stated.choice.strip()[:80]!r} is none of the options")
    share = _share(stated.confidence)
    if share is None:
        given = "missing" if stated.confidence is None else repr(stated.confidence.strip()[:40])
        return Choice(problem=f"the confidence is {given}, not a number from 0.00 to 1.00")
    return Choice(known[chosen], share)


def stated_choice(text: str) -> str | None:
    """What stands in the verdict line that a text closes with, whatever the options; None without one."""
    stated = _in_lines(own_lines(text))
    return None if stated is None or stated.problem else stated.choice.strip(_DECORATION)


@dataclass(frozen=True)
class Choosing:
    """The options of a council, and how it is brought to choose one."""

    options: Sequence[str]
    prompts: CouncilPrompts
    repairs: int

    @property
    def prompt(self) -> str:
        """What members and chairman are asked besides."""
        return self.prompts.verdict.format(options=bullets(self.options))

    async def settle(self, run: Run, answer: Answer, opinions: Mapping[int, Reply]) -> Answer:
        """The answer with a choice in it that can be read, if one can be had; the run gets the verdict.

        The chairman is asked again, `repairs` times at most.
        """
        found = first = read_verdict(answer.text, self.options)
        status: BallotStatus = found.status
        if answer.response is None or not (answer.text.strip() or answer.message.get("tool_calls")):
            status = "failed"  # the best opinion stands in, or there is no answer to ask on about
        elif answer.message.get("tool_calls"):
            found = first = Choice(problem="it calls tools, and has not answered yet")
            status = "invalid"
        else:
            for _ in range(self.repairs):
                if found.status != "invalid":
                    break
                prompt = self.prompts.repair_verdict.format(
                    options=bullets(self.options), problem=found.problem
                )
                answer = await run.conclude_again(answer, prompt)
                found = read_verdict(answer.text, self.options)
                status = "repaired" if found.status == "valid" else found.status
        if found.choice is None and not answer.message.get("tool_calls"):
            run.degrade(f"the {run.strategy.final_role} gave no verdict ({found.problem})")
        run.verdict = Verdict(
            options=list(self.options),
            choice=found.choice,
            confidence=found.confidence,
            status=status,
            problem=found.problem or first.problem,
            votes=[_vote(member, reply, self.options) for member, reply in opinions.items()],
        )
        return answer


def options_fault(options: Sequence[str]) -> str | None:
    """What is wrong with options to choose from; None also where there are none."""
    folded_options = [fold(option.strip(_DECORATION)) for option in options]
    if len(options) == 1:
        return "leaves no choice"
    if not all(folded_options) or any(len(option.splitlines()) != 1 for option in options):
        return "has an option that is no line of text"
    if len(set(folded_options)) < len(options):
        return "has two options that only case or punctuation tells apart"
    return None


def fold(option: str) -> str:
    """An option as it is compared."""
    return " ".join(option.translate(PLAIN).casefold().split())


def _vote(member: int, reply: Reply, options: Sequence[str]) -> Vote:
    found = read_verdict(reply.text, options)
    return Vote(
        member=member,
        call_id=reply.call.call_id,
        choice=found.choice,
        confidence=found.confidence,
        status=found.status,
        problem=found.problem,
    )


class _Stated(NamedTuple):
    """A choice and a confidence as they are written, or the problem why there are none."""

    choice: str = ""
    confidence: str | None = None
    problem: str | None = None


def _in_lines(lines: Sequence[Line]) -> _Stated | None:
    """What the last verdict line says, and the confidence behind it."""
    said: list[tuple[str, list[str], bool]] = []
    cited = False
    for place, line in enumerate(lines):
        found = None if line.quoted else _LINE.fullmatch(line.text)
        if found is None:
            continue
        if found[1].lower() == "verdict":
            before = lines[place - 1].text.strip().rstrip("*_` ") if place else ""
            introduced = before.endswith(":") and not _LINE.fullmatch(before)
            cited = introduced and _CANDIDATE.search(before[-1_000:]) is not None
            if not cited:
                said.append((found[2], [], introduced))
        elif said and not cited:
            said[-1][1].append(found[2])
    if not said:
        return None
    choice, confidences, _ = said[-1]
    choices = {fold(each.strip(_DECORATION)) for each, _, _ in said}
    if len(choices) > 1 and any(introduced for *_, introduced in said):
        return _Stated(problem="there are several lines 'VERDICT: …'")
    if len({each.strip(_DECORATION) for each in confidences}) > 1:
        return _Stated(problem="there are several lines 'CONFIDENCE: …'")
    return _Stated(choice, confidences[0] if confidences else None)


def _in_json(lines: Sequence[Line]) -> _Stated | None:
    """The same of the last JSON object that has a choice."""
    said: _Stated | None = None
    for start, found in json_values(lines):
        if lines[start].quoted or not isinstance(found.value, Pairs):
            continue
        entries = [(folded(key), item) for key, item in found.value]
        chosen = [item for key, item in entries if key in _CHOICE_KEYS]
        if len(chosen) == 1 and isinstance(chosen[0], str | int | None):
            sure = [item for key, item in entries if key == "confidence"]
            said = _Stated(str(chosen[0]), str(sure[0]) if len(sure) == 1 else None)
    return said


def _share(confidence: str | None) -> float | None:
    found = _CONFIDENCE.fullmatch((confidence or "").strip(_DECORATION.replace(".", "")).rstrip("."))
    if found is None or not found[1]:
        return None
    try:
        share = float(found[1]) / (100 if found[2] else 1)
    except ValueError:  # "e-1"
        return None
    return share if share <= 1 else None
