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

# The form in which the package's prompts enclose the words of other models.
BLOCK = re.compile(r'<(answer|review|proposal)-([0-9a-f]+) label="([^"]*)">\n(.*?)\n</\1-\2>', re.DOTALL)

# How the answer travels, not what it says: the content of a stream equals that of a plain answer.
_NOT_CONTENT = {"model", "stream", "stream_options", "n", "user", "metadata", "store"}

_ANSWER_LINE = re.compile(r"^[ \t*_]*(?:Answer|Verdict):[ \t*_]*(.+?)[ \t*_]*$", re.MULTILINE | re.IGNORECASE)
_SCORE_CELL = re.compile(r'("(?:[^"\\\n]|\\.)+"): <(-?[\d.]+) to (-?[\d.]+)>')
_OPTIONS = re.compile(r"((?:^- .+\n)+)\s*(?:^.*\n){0,4}VERDICT:", re.MULTILINE)


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
        """The text of the last user message without its blocks."""
        return BLOCK.sub("", self.last_user_text) if self.blocks else self.last_user_text

    @cached_property
    def asked(self) -> int:
        """The index of the message that asks: the last user message that is not only other models' words."""
        users = [i for i, message in enumerate(self.messages) if message["role"] == "user"]
        if len(users) > 1 and self.blocks and isinstance(self.messages[users[-1]]["content"], str):
            return users[-2]
        return users[-1] if users else -1

    @cached_property
    def question(self) -> str:
        """What is asked, without the parts that quote and instruct about other models' words."""
        if self.asked < 0:
            return ""
        message = self.messages[self.asked]
        content = message.get("content")
        if self.blocks and isinstance(content, list) and len(content) > 1:
            content = [part for part in content if not BLOCK.search(str(part.get("text")))]
        return BLOCK.sub("", message_text({"content": content}))

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
        found = _OPTIONS.findall(self.instructions)
        return tuple(line.removeprefix("- ") for line in found[-1].splitlines()) if found else ()


def message_text(message: Mapping[str, Any]) -> str:
    """Return the text of a message whose content is a string, a list of parts or absent."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, dict))
    return "\n".join(text for text in parts if isinstance(text, str))


def squeeze(text: str) -> str:
    """Return the text with every run of white space as one blank."""
    return " ".join(text.split())


def canonical(value: object) -> str:
    """Return JSON that is equal for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
