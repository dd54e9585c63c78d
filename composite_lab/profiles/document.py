"""A YAML document as plain values, with the line of each and the faults found at them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

from composite_lab.errors import ConfigError
from composite_lab.redaction import MASK

KeyPath = tuple[str | int, ...]
VARIABLE = "os.environ/"
"""What a value begins with that is taken from the environment, as in LiteLLM's own configuration."""

UNTAGGED = "has a tag: only plain mappings, lists, text, numbers and booleans work"

_TAG = "tag:yaml.org,2002:"
# A date is text as well: api_version: 2024-10-21 is meant as it is written.
_TEXT = (f"{_TAG}str", f"{_TAG}timestamp")
_TYPED = (f"{_TAG}null", f"{_TAG}bool", f"{_TAG}int", f"{_TAG}float")
_MERGE = f"{_TAG}merge"


class Document:
    """A YAML file, read without running anything in it.

    `content` is the file as dicts, lists, text, numbers, booleans and None, with `os.environ/NAME`
    replaced. Faults are collected with `fault` and raised together by `check`, each with file, line
    and key path. Raises `ConfigError` when the file cannot be read at all.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._faults: list[tuple[int, str]] = []
        self._from_environment: list[str] = []
        self._read: dict[int, Any] = {}
        self._open: set[int] = set()
        text = _text_of(file)
        try:
            self._loader = yaml.SafeLoader(text)
            self._root = self._loader.get_single_node()
            self.content = None if self._root is None else self._value(self._root, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f", line {mark.line + 1}" if mark else ""
            raise ConfigError(f"{file}{line}: not valid YAML: {_unquoted(error.problem)}") from None
        except yaml.YAMLError:
            raise ConfigError(f"{file}: not valid YAML: it holds a character that is not text") from None
        except RecursionError:
            raise ConfigError(f"{file}: not valid YAML for profiles: nested too deeply to be read") from None

    def fault(self, path: KeyPath, sentence: str) -> None:
        """Note what is wrong at a place. What came from the environment is not repeated."""
        line, path = self._place(path)
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
        told = self._without_variables(sentence)
        self._faults.append((line, f"{self.file}, line {line}, {where or 'the whole file'}: {told}"))

    def check(self) -> None:
        """Raise `ConfigError` with all faults so far, if there are any."""
        if self._faults:
            raise ConfigError("\n".join(fault for _, fault in sorted(self._faults)))

    def _without_variables(self, sentence: str) -> str:
        # Whole words only: a variable may be as short as a number.
        written = {form for value in self._from_environment for form in (value, repr(value)[1:-1])}
        for form in sorted(written, key=len, reverse=True):
            sentence = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", MASK, sentence)
        return sentence

    def _place(self, path: KeyPath) -> tuple[int, KeyPath]:
        """The line of a place, and its path as far as the file has it."""
        node, line = self._root, 0
        for depth, step in enumerate(path):
            if isinstance(node, yaml.MappingNode):
                # From the end: of two equal keys it is the second that is wrong.
                found = next((pair for pair in reversed(node.value) if pair[0].value == step), None)
                if found is None:
                    return line + 1, path[: depth + 1]
                key, node = found
                line = key.start_mark.line
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line
            else:
                return line + 1, path[:depth]
        return line + 1, path

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        if id(node) in self._open:
            self.fault(path, "contains itself through an alias")
            return None
        if id(node) in self._read:  # an alias: read once, or aliases of aliases would grow without end
            return self._read[id(node)]
        self._open.add(id(node))
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            value: Any = self._mapping(node, path)
        elif isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            value = [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        elif isinstance(node, yaml.ScalarNode):
            value = self._scalar(node, path)
        else:
            self.fault(path, UNTAGGED)
            value = None
        self._open.remove(id(node))
        self._read[id(node)] = value
        return value

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        first: dict[str, int] = {}
        for key, _ in node.value:
            if key.tag == _MERGE:
                continue
            if not isinstance(key, yaml.ScalarNode) or key.tag not in _TEXT:
                shown = f": put {key.value!r} in quotes" if isinstance(key, yaml.ScalarNode) else ""
                self.fault((*path, str(key.value)) if shown else path, f"keys must be text{shown}")
            elif key.value in first:
                self.fault((*path, key.value), f"is given twice, first on line {first[key.value]}: keep one")
            else:
                first[key.value] = key.start_mark.line + 1
        self._loader.flatten_mapping(node)
        return {
            key.value: self._value(value, (*path, key.value))
            for key, value in node.value
            if isinstance(key, yaml.ScalarNode)
        }

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        if node.tag in _TEXT:
            return self._text(node.value, path)
        if node.tag not in _TYPED:
            self.fault(path, UNTAGGED)
            return None
        try:
            return self._loader.construct_object(node)
        except (ValueError, KeyError):
            self.fault(path, f"is marked as {node.tag.removeprefix(_TAG)} and is none")
            return None

    def _text(self, text: str, path: KeyPath) -> Any:
        if not text.startswith(VARIABLE):
            return text
        name = text.removeprefix(VARIABLE)
        value = os.environ.get(name)
        if not value:
            self.fault(path, f"the environment variable {name!r} is not set")
            return None
        self._from_environment.append(value)
        return value


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}; give the path of a YAML file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is no text in UTF-8: give the path of a YAML file") from None


def _unquoted(problem: str | None) -> str:
    # A parser quotes what it stumbled over, and that may be a key.
    return re.sub(r"'(?!<)[^']{2,}'", "'…'", problem or "it ends too early")
