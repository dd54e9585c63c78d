"""The request as the fake model reads it: its messages' texts, its enclosed blocks, its options."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from composite_lab.testing.behaviour import Behaviour
from composite_lab.testing.draws import tag
from composite_lab.testing.material import BLOCK, OPTIONS, Said, message_text, read_content

# How the answer travels, not what it says: the content of a stream equals that of a plain answer.
_NOT_CONTENT = {
    "model",
    "stream",
    "stream_options",
    "n",
    "user",
    "metadata",
    "store",
    "logprobs",
    "top_logprobs",
}

_ANSWER_LINE = re.compile(r"^[ \t*_]*(?:Answer|Verdict):[ \t*_]*(.+?)[ \t*_]*$", re.MULTILINE | re.IGNORECASE)
_SCORE_CELL = re.compile(r'("(?:[^"\\\n]|\\.)+"): <(-?[\d.]+) to (-?[\d.]+)>')


@dataclass(frozen=True)
class Block:
    """One enclosed text of another model: an answer, a review or a proposal."""

    kind: str
    label: str
    text: str

    @cached_property
    def value(self) -> str | None:
        """The value of the last `Answer:` or `VERDICT:` line, or None."""
        found: list[str] = _ANSWER_LINE.findall(self.text)
        return found[-1] if found else None


@dataclass(frozen=True)
class ChatCall:
    """One valid chat request together with the behaviour its model is to show."""

    model: str
    name: str
    behaviour: Behaviour
    body: Mapping[str, Any]

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        """The messages of the body."""
        messages: Sequence[Mapping[str, Any]] = self.body["messages"]
        return messages

    @cached_property
    def key(self) -> str:
        """A digest of everything the content may depend on."""
        said = {name: value for name, value in self.body.items() if name not in _NOT_CONTENT}
        return tag(self.name, self.behaviour.seed, canonical(said), length=32)

    @cached_property
    def last_user(self) -> int:
        """The index of the last user message, or -1."""
        return max((i for i, message in enumerate(self.messages) if message["role"] == "user"), default=-1)

    @cached_property
    def last_user_text(self) -> str:
        """The text of the last user message, or "" if there is none."""
        return message_text(self.messages[self.last_user]) if self.last_user >= 0 else ""

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks of the last user message, in order."""
        if "</" not in self.last_user_text:
            return ()
        return tuple(Block(kind, label, text) for kind, _, label, text in BLOCK.findall(self.last_user_text))

    @cached_property
    def earlier_blocks(self) -> tuple[Block, ...]:
        """The blocks of all messages, in order."""
        texts = "\n".join(map(message_text, self.messages))
        return tuple(Block(kind, label, text) for kind, _, label, text in BLOCK.findall(texts))

    @cached_property
    def instructions(self) -> str:
        """What the last user message says about other models' words, or all it says if there are none."""
        if self.last_user < 0:
            return ""
        return BLOCK.sub("", self._parts_of(self.last_user).material) or self.last_user_text

    @cached_property
    def asked(self) -> int:
        """The index of the message that asks: the last user message that is not only other models' words."""
        users = [i for i, message in enumerate(self.messages) if message["role"] == "user"]
        asking = (i for i in reversed(users) if self._parts_of(i).asks)
        return next(asking, self.last_user)

    @cached_property
    def question(self) -> str:
        """What is asked, without the words of other models and without what is said about them."""
        return "" if self.asked < 0 else self._parts_of(self.asked).question

    def _parts_of(self, index: int) -> Said:
        return read_content(self.messages[index].get("content"))

    @cached_property
    def tool_results(self) -> tuple[str, ...]:
        """The texts of the tool messages after the message that asks."""
        later = self.messages[self.asked + 1 :]
        return tuple(message_text(message) for message in later if message["role"] == "tool")

    @property
    def is_review(self) -> bool:
        """Whether the request asks for a ranking or for scores."""
        return "final ranking" in self.instructions.lower() or bool(self.score_cells)

    @cached_property
    def score_cells(self) -> dict[str, tuple[float, float]]:
        """The criteria by which the request asks for scores, each with its lowest and highest one."""
        cells = _SCORE_CELL.findall(self.instructions)
        return {json.loads(name): (float(low), float(high)) for name, low, high in cells}

    @cached_property
    def options(self) -> tuple[str, ...]:
        """The options among which the request asks for a verdict."""
        found = OPTIONS.findall(self.instructions)
        return tuple(line.removeprefix("- ") for line in found[-1].splitlines()) if found else ()


def squeeze(text: str) -> str:
    """Return the text with every run of white space as one blank."""
    return " ".join(text.split())


def canonical(value: object) -> str:
    """Return JSON that is equal for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
