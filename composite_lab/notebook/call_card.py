"""One call as a reader sees it: a title of one line, and a card with everything that is known of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from composite_lab.notebook.document import details, joined, name
from composite_lab.notebook.text import escaped, one_line, pre, seconds, tokens, usd
from composite_lab.tools import STAGE as TOOL_STAGE
from composite_lab.trace.call import Call, function_of
from composite_lab.trace.summary import is_unpriced

CARD_CHARS = 20_000
"""How much of each text a card shows, in characters, unless told otherwise."""
MOST_ITEMS = 200
"""How many messages, parts or tool calls a card shows; fewer where texts are cut short."""
MOST_LABELS = 30


def call_title(call: Call) -> str:
    """Who was called and how it went, as plain text on one line."""
    return " · ".join(title_parts(call))


def title_parts(call: Call) -> list[str]:
    """The pieces of a call's title: who, name, time, tokens, cost, and how it ended unless well."""
    parts = [who(call), one_line(call.name), seconds(call.latency_s)]
    if call.usage_source == "children":
        parts.append("tokens and cost in the calls below")
    elif call.stage != TOOL_STAGE:
        if call.total_tokens is not None or call.status == "ok":
            parts.append(tokens(call.total_tokens) if call.total_tokens is not None else "tokens unknown")
        if call.cost_usd is not None or is_unpriced(call):
            parts.append(usd(call.cost_usd) if call.cost_usd is not None else "cost unknown")
    return parts if call.status == "ok" else [*parts, outcome(call)]


def who(call: Call) -> str:
    """The place at the table as people count: proposer 1, sample 2, attempt 3. Plain text."""
    parts = [f"{one_line(call.role)} {call.seat + 1}"]
    for word, index in (("round", call.round), ("sample", call.sample), ("attempt", call.attempt)):
        if index:
            parts.append(f"{word} {index + 1}")
    return ", ".join(parts)


def outcome(call: Call) -> str:
    """How a call ended: its status, and for an error its type. Plain text."""
    kind = one_line(call.error_type or "")
    return f"{call.status}: {kind}" if kind else call.status


def call_card(call: Call, limit: int = CARD_CHARS, labels: Mapping[str, str] | None = None) -> str:
    """Everything about one call, each text cut to `limit` characters; the answer is open, the rest closed.

    `labels` says who was behind each label that a reviewer saw.
    """
    return f'<div class="cl-card">{"".join(_card_parts(call, limit, labels or {}))}</div>'


def messages_list(messages: Sequence[Mapping[str, Any]], limit: int) -> str:
    """A conversation: each message's role, texts and tool calls."""
    return _some(messages, limit, lambda message: _message(message, limit))


def as_json(value: Any) -> str:
    """A value as indented JSON, for reading."""
    try:
        return json.dumps(value, ensure_ascii=False, indent=2, default=str)
    except (TypeError, ValueError, RecursionError) as error:
        return f"(not shown: {type(error).__name__})"


def _card_parts(call: Call, limit: int, labels: Mapping[str, str]) -> Iterator[str]:
    if call.status != "ok":
        told = pre(call.error_message, limit) if call.error_message else ""
        yield f'<div class="cl-alert"><strong>{escaped(outcome(call))}</strong>{told}</div>'
    yield f'<p class="cl-meta">{joined(_facts(call))}</p>'
    if labels:
        some = list(labels.items())[:MOST_LABELS]
        known = ", ".join(f"{name(shown, 20)} = {name(behind, 60)}" for shown, behind in some)
        yield f'<p class="cl-meta">Labels as this reviewer saw them: {known}</p>'
    asked = _tool_calls(call.tool_calls, limit)
    if call.stage == TOOL_STAGE:
        yield details("Tool call", asked, opened=True)
        yield _text_section("Result", call.text, limit, opened=True)
    else:
        yield _text_section("Answer", call.text, limit, opened=True)
        if asked:
            yield details(f"Tool calls ({len(call.tool_calls)})", asked, opened=not call.text)
        yield _text_section("Reasoning", call.reasoning, limit)
    if call.messages:
        request = messages_list(call.messages, limit)
        yield details(f"Request ({_count(len(call.messages), 'message')})", request)
    if call.params:
        yield details("Parameters", pre(as_json(call.params), limit))


def _facts(call: Call) -> Iterator[str]:
    if call.seat_name and call.stage != TOOL_STAGE:
        yield call.request_model
    if call.response_model and call.response_model != call.request_model:
        yield f"answered as {call.response_model}"
    if call.provider:
        yield f"provider {call.provider}"
    yield f"from {seconds(call.start_offset_s)}, took {seconds(call.latency_s)}"
    if call.time_to_first_token_s is not None:
        yield f"first token after {seconds(call.time_to_first_token_s)}"
    yield from _usage_facts(call)
    if call.finish_reason:
        yield f"finish reason {call.finish_reason}"
    if call.cache_hit:
        yield "from the cache"


def _usage_facts(call: Call) -> Iterator[str]:
    if call.usage_source == "children":
        yield "a composite: its tokens and cost are those of the calls below"
        return
    if call.stage == TOOL_STAGE:
        return
    counts = (
        ("in", call.prompt_tokens), ("out", call.completion_tokens), ("cached", call.cached_tokens),
        ("reasoning", call.reasoning_tokens),
    )  # fmt: skip
    known = [f"{count:,} {kind}" for kind, count in counts if count]
    if known:
        estimated = ", estimated" if call.usage_source == "estimated" else ""
        yield f"tokens: {', '.join(known)}{estimated}"
    elif call.status == "ok":
        yield "tokens unknown"
    if call.cost_usd is not None:
        sources = {"litellm": "LiteLLM's price", "user": "the seat's price", "cache": "cached"}
        source = sources.get(call.cost_source)
        yield f"{usd(call.cost_usd)} ({source})" if source else usd(call.cost_usd)
    elif is_unpriced(call):
        yield "cost unknown"


def _text_section(title: str, text: str | None, limit: int, *, opened: bool = False) -> str:
    if not text:
        return ""
    return details(f"{title} ({_count(len(text), 'character')})", pre(text, limit), opened=opened)


def _message(message: Mapping[str, Any], limit: int) -> str:
    answered = message.get("tool_call_id")
    to = f" to {name(str(answered))}" if answered else ""
    role = name(str(message.get("role") or "message"))
    texts = _content(message.get("content"), limit) + _tool_calls(message.get("tool_calls"), limit)
    return f'<p class="cl-label">{role}{to}</p>{texts}'


def _content(content: Any, limit: int) -> str:
    """The parts of a message's content. An image is named and never loaded."""
    if content is None or content == "":
        return ""
    parts = content if isinstance(content, list) else [content]
    return _some(parts, limit, lambda part: pre(_part_text(part), limit))


def _part_text(part: Any) -> str:
    if isinstance(part, str):
        return part
    text = part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None
    return text if isinstance(text, str) else as_json(part)


def _tool_calls(tool_calls: Any, limit: int) -> str:
    if not isinstance(tool_calls, list):
        return ""
    return _some(tool_calls, limit, lambda tool_call: _tool_call(tool_call, limit))


def _tool_call(tool_call: Any, limit: int) -> str:
    called, arguments = function_of(tool_call) if isinstance(tool_call, Mapping) else ("", "")
    if not called:
        return pre(as_json(tool_call), limit)
    return f'<p class="cl-label">calls {name(called)}</p>{pre(arguments, limit)}'


def _some(items: Sequence[Any], limit: int, shown: Callable[[Any], str]) -> str:
    """The items as HTML; of many the first and the last, and how many there are between them."""
    most = max(2, min(MOST_ITEMS, limit // 100))
    if len(items) <= most:
        return "".join(map(shown, items))
    gap = f'<p class="cl-meta">… {len(items) - most:,} more …</p>'
    return f"{shown(items[0])}{gap}{''.join(map(shown, items[len(items) - most + 1 :]))}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
