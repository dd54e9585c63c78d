"""What a model of the fake server does, read from its name: `fake-a+latency=0.3+status=429`.

The fields of `Behaviour` are the one table of options: the parser (`names`), the error texts and the
documentation (`options_table`) are all derived from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import TypeVar

from composite_lab.testing.forms import (
    COUNT,
    FLAG,
    PROBABILITY,
    SECONDS,
    TEXT,
    Form,
    integer,
    number,
    one_of,
    one_or,
    words,
)

Value = TypeVar("Value")

FAIL_KINDS = ("429", "500", "drop", "hang")


@dataclass(frozen=True)
class Option:
    """One row of the table of options."""

    name: str
    form: Form
    meaning: str
    example: str
    fault: bool

    @property
    def written(self) -> str:
        """The option as it may stand in a name."""
        return f"{self.name}={self.example}" if self.example else self.name


def option(default: Value, form: Form, example: str, meaning: str, *, fault: bool = False) -> Value:
    """Declare a field of `Behaviour`; a `fault` is limited by `times`."""
    row = {"form": form, "example": example, "meaning": meaning, "fault": fault}
    declared: Value = field(default=default, metadata=row)
    return declared


@dataclass(frozen=True)
class Behaviour:
    """The options of one model: every field is an option, its default what happens without it."""

    latency: float = option(
        0.0, SECONDS, "0.3", "Seconds before the answer, or before its first chunk.", fault=True
    )
    chunk_latency: float = option(0.0, SECONDS, "0.05", "Seconds between the chunks of a stream.", fault=True)
    status: int | None = option(
        None, integer(400, 599), "429", "Answers with this HTTP status and an OpenAI-style error.", fault=True
    )
    retry_after: float | None = option(
        None, SECONDS, "0.2", "Retry-After header, in seconds, of an answer with status 429."
    )
    times: int | None = option(
        None,
        COUNT,
        "1",
        "Faults and delays apply only to the first N requests that carry this exact model name since the "
        "last reset; later ones succeed.",
    )
    hang: bool = option(False, FLAG, "", "Never answers: waits until the client leaves.", fault=True)
    drop: bool = option(False, FLAG, "", "Closes the connection without a response.", fault=True)
    truncate: bool = option(
        False,
        FLAG,
        "",
        "A stream stops half-way and the connection is closed; a plain body is shorter than its "
        "Content-Length.",
        fault=True,
    )
    malformed: bool = option(
        False, FLAG, "", "HTTP 200, but the body (or the stream's events) is not JSON.", fault=True
    )
    mutate: int | None = option(
        None,
        integer(),
        "7",
        "HTTP 200, but one or two parts of the answer (of a stream: of some event) are gone or of a wrong "
        "kind, drawn by this seed.",
        fault=True,
    )
    empty: bool = option(False, FLAG, "", 'The content is "".', fault=True)
    fail_rate: float = option(
        0.0,
        PROBABILITY,
        "0.3",
        "Each attempt fails with this probability, drawn from the body, how often that body was seen since "
        "the last reset, and fail_seed.",
        fault=True,
    )
    fail_seed: int = option(0, integer(), "7", "Seed of fail_rate.")
    fail_kinds: tuple[str, ...] = option(
        FAIL_KINDS,
        words(*FAIL_KINDS),
        "429,drop",
        "Faults fail_rate draws from; this hang is limited: it closes the connection after 2 seconds.",
    )
    accuracy: float | None = option(
        None, PROBABILITY, "0.8", "Share of the fixture questions answered right (a simulation)."
    )
    seed: int = option(0, integer(), "3", "Seed of the simulation and of the generic texts.")
    reasoning: bool = option(False, FLAG, "", "Adds a reasoning_content text to the message.")
    content_kb: float = option(
        0.0, number(0, 10_000), "64", "Pads the content to this many kB (1024 bytes each)."
    )
    usage: str = option(
        "fixed",
        one_of("fixed", "none", "every", "zero"),
        "none",
        "none: the answer carries no usage; zero: all counts are 0; every: each chunk of a stream carries "
        "what was used so far, asked for or not.",
    )
    prompt_tokens: int | None = option(None, COUNT, "1000", "Prompt tokens of the usage, 100 by default.")
    completion_tokens: int | None = option(
        None, COUNT, "50", "Completion tokens of the usage, 20 by default."
    )
    cached_tokens: int | None = option(
        None, COUNT, "80", "Cached prompt tokens of the usage, 10 by default (never above prompt_tokens)."
    )
    reasoning_tokens: int | None = option(
        None, COUNT, "12", "Reasoning tokens of the usage, 5 by default (never above completion_tokens)."
    )
    echo: bool = option(False, FLAG, "", "Answers with the text of the last user message.")
    text: str | None = option(None, TEXT, "yes%2C%20sir", "Answers with exactly this text.")
    require_key: str | None = option(
        None, TEXT, "sk-test", "401 unless the request carries `Authorization: Bearer KEY`."
    )
    no_tools: bool = option(
        False, FLAG, "", "400 if the request has tools, or tool messages without tools, like a plain model."
    )
    bad_arguments: bool = option(
        False, FLAG, "", "Tool calls carry arguments that are not valid JSON.", fault=True
    )
    tool_loop: bool = option(False, FLAG, "", "Asks for the same tools again after every tool result.")
    bad_ranking: bool = option(False, FLAG, "", "Reviews in prose, without a ranking or scores.", fault=True)
    partial_ranking: bool = option(
        False, FLAG, "", "Leaves the last label out of a ranking or of scores.", fault=True
    )
    first_bonus: float = option(
        0.0,
        number(-1, 1),
        "0.5",
        "A biased reviewer: adds this to the merit (0 to 1) of the answer shown first, less to later ones, "
        "nothing to the last.",
    )
    bad_verdict: bool = option(False, FLAG, "", "Argues without a verdict.", fault=True)
    strings_only: bool = option(
        False, FLAG, "", "422 unless every content is a string, or null beside tool calls, like DeepSeek."
    )
    strict_roles: str | None = option(
        None,
        one_or("mistral", "gemma", "llama"),
        "gemma",
        "400 unless the roles follow each other as this family's chat template wants them.",
    )
    strict_ids: bool = option(
        False, FLAG, "", "400 for ids of tool calls that are missing or repeated, or that a result invents."
    )
    needs_reasoning: bool = option(
        False,
        FLAG,
        "",
        "Tool calls come with a reasoning_content, and it must come back with them: else 400, like DeepSeek.",
    )
    needs_signatures: bool = option(
        False,
        FLAG,
        "",
        "Each tool call comes with a thought_signature in its provider_specific_fields, and it must come "
        "back: else 400, like Gemini.",
    )
    strict_params: bool = option(False, FLAG, "", "400 for arguments that OpenAI does not have.")
    no_max_tokens: bool = option(
        False, FLAG, "", "400 for max_tokens, like OpenAI's reasoning models (max_completion_tokens is fine)."
    )
    think: str | None = option(
        None,
        one_of("open", "close", "unclosed"),
        "open",
        "Thoughts stand in the content, up to </think>: begun by <think>, without it, or never ended.",
    )
    reasoning_field: str = option(
        "reasoning_content",
        one_of("reasoning", "reasoning_content"),
        "reasoning",
        "The name of the field that reasoning travels in; vLLM and OpenRouter say reasoning.",
    )
    tool_ids: str | None = option(
        None, one_of("none", "empty", "same"), "same", "Ids of tool calls are absent, empty or all the same."
    )
    tool_index: str | None = option(
        None, one_of("zero", "none"), "zero", "Streamed tool calls have the index 0, all of them, or none."
    )
    tool_pieces: str | None = option(
        None,
        one_of("whole", "repeated"),
        "whole",
        "whole: a streamed tool call comes in one piece, like Ollama's; with tool_ids=none or tool_index it "
        "always does. repeated: id and name come with every piece, the last one empty, like llama.cpp's.",
    )
    finish: str | None = option(
        None,
        one_of("length", "content_filter"),
        "length",
        "A text ends with this finish_reason before it begins: the content is empty, or null when filtered.",
        fault=True,
    )
    refusal: bool = option(False, FLAG, "", "Refuses: the content is null, the refusal a text.", fault=True)
    no_choices: bool = option(False, FLAG, "", "An answer without choices.", fault=True)
    rich: bool = option(
        False,
        FLAG,
        "",
        "Adds what other fields a message may have: annotations, images, citations; reasoning_details to "
        "reasoning, audio if the request's modalities name it.",
    )
    interleaved: bool = option(False, FLAG, "", "A stream's choices take turns, chunk by chunk.")
    no_finish: bool = option(False, FLAG, "", "A stream ends without a finish_reason.", fault=True)
    no_done: bool = option(False, FLAG, "", "A stream ends without [DONE].")
    empty_first: bool = option(
        False, FLAG, "", "A stream's first chunk has no choices but filter results, like Azure's."
    )
    stream_error: bool = option(
        False,
        FLAG,
        "",
        "A stream carries an error half-way, under status 200, like OpenRouter's.",
        fault=True,
    )


OPTIONS = {declared.name: Option(name=declared.name, **declared.metadata) for declared in fields(Behaviour)}


@cache
def without_faults(behaviour: Behaviour) -> Behaviour:
    """Return the behaviour once `times` is used up: all faults and delays at their defaults."""
    defaults = Behaviour()
    return replace(
        behaviour, **{row.name: getattr(defaults, row.name) for row in OPTIONS.values() if row.fault}
    )


def options_table() -> str:
    """Return the table of options as Markdown, in the order in which they are declared."""
    lines = ["| Option | Value | Meaning |", "|---|---|---|"]
    lines += [f"| `{row.written}` | {row.form.wants} | {row.meaning} |" for row in OPTIONS.values()]
    return "\n".join(lines)
