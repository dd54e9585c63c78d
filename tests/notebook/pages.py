"""Runs made up for the tests of pages, and pages taken apart into their elements."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from composite_lab import Ballot, Call, Standing, Trace
from tests import records

TAGS = {
    "style", "div", "p", "span", "strong", "em", "br", "bdi", "pre", "code", "details", "summary", "table",
    "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)></pre></details></div>"
    "<style>*{display:none}</style>\"' onmouseover='alert(1)' <a href=\"javascript:alert(1)\">x</a> "
    "$x$ \\(y\\) \x1b[2J\x00\u202e\u2066\ud800"
    "</summary></table><!-- ]]> &lt;b&gt; {answers}\n\n\n"
)


class Elements(HTMLParser):
    """The elements of a page; unbalanced ones are an error."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "br":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data!r}")


def call(call_id: str = "c", **fields: Any) -> Call:
    return records.call(call_id, **({"request_model": "openai/x", "latency_s": 0.31} | fields))


def trace(*calls: Call, **fields: Any) -> Trace:
    return records.trace(*calls, **({"model": "composite/moa/openai/x"} | fields))


def filled(text: str, status: str = "error") -> Trace:
    """A trace with this text in every place where a model, a user or a file may put one."""
    function = {"id": text, "type": "function", "function": {"name": text, "arguments": text}}
    message = {
        "role": text, "tool_call_id": text, "tool_calls": [function, {text: text}],
        "content": [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": text}}, text],
    }  # fmt: skip
    names = dict.fromkeys(
        ("strategy", "role", "provider", "response_model", "error_type", "error_message", "finish_reason",
         "seat_name", "text", "reasoning"), text
    )  # fmt: skip
    every: dict[str, Any] = names | {
        "stage": text, "request_model": text, "status": status, "tool_calls": [function],
        "messages": [message, {"role": "user", "content": text}], "params": {text: [text]},
    }  # fmt: skip
    tool = every | {"stage": "tool", "role": "tool"}
    ballot = Ballot(
        reviewer=0, call_id="a", labels=[text, "B"], members=[0, 1], ranking=[text, "B"], status="valid"
    )
    standing = Standing(member=0, label=text, place=1, borda=1.0, mean_rank=1.0, ballots=1)
    config = {"aggregator": {"model": text, "name": text, text: text}, text: text, "prompts": {text: text}}
    return trace(
        call("a", **every), call("b", **every, parent_call_id="a"), call("c", **tool), call("d", text=text),
        **dict.fromkeys(("strategy", "model", "error_type", "error_message", "text", "reasoning"), text),
        status="error", messages=[message, {"role": "user", "content": text}], notes=[text], config=config,
        ballots=[ballot], standings=[standing],
    )  # fmt: skip
