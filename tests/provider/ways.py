"""The ways to ask a model or a composite, and what came back of each, in one form that can be compared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import litellm

import composite_lab as lab

Messages = list[dict[str, Any]]


@dataclass
class Seen:
    """An answer as its reader sees it: a whole reply, or a stream put together piece by piece."""

    content: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[Any] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    citations: Any = None
    finish_reason: str | None = None
    others: list[str] = field(default_factory=list)

    @property
    def said(self) -> dict[str, Any]:
        """All but the reasoning, in which a composite tells its stages, and made-up ids."""
        calls = [{name: value for name, value in call.items() if name != "id"} for call in self.tool_calls]
        return {**vars(self), "reasoning": None, "tool_calls": calls}


def of_response(response: Any) -> Seen:
    """What a whole reply says."""
    if not response.choices:
        return Seen()
    first = response.choices[0]
    message = first.message.model_dump(exclude_none=True)
    fields = message.get("provider_specific_fields") or {}
    logprobs = getattr(first, "logprobs", None)
    return Seen(
        content=message.get("content") or "",
        reasoning=message.get("reasoning_content") or "",
        refusal=message.get("refusal") or "",
        tool_calls=[_call(call) for call in message.get("tool_calls") or []],
        annotations=message.get("annotations") or [],
        images=message.get("images") or [],
        tokens=[token.token for token in logprobs.content] if logprobs else [],
        citations=fields.get("citations"),
        finish_reason=first.finish_reason,
        others=[choice.message.content or "" for choice in response.choices[1:]],
    )


def of_chunks(chunks: Iterable[Any]) -> Seen:
    """What the chunks of a stream say, joined by the indexes of choices and tool calls."""
    seen, others, calls = Seen(), dict[int, str](), dict[int, dict[str, Any]]()
    for chunk in chunks:
        for choice in chunk.choices:
            delta = choice.delta.model_dump(exclude_none=True)
            if choice.index:
                others[choice.index] = others.get(choice.index, "") + (delta.get("content") or "")
                continue
            seen.finish_reason = choice.finish_reason or seen.finish_reason
            seen.content += delta.get("content") or ""
            seen.reasoning += delta.get("reasoning_content") or ""
            seen.refusal += delta.get("refusal") or ""
            seen.annotations += delta.get("annotations") or []
            seen.images += delta.get("images") or []
            seen.citations = (delta.get("provider_specific_fields") or {}).get("citations") or seen.citations
            if (logprobs := getattr(choice, "logprobs", None)) is not None:
                told = logprobs.content if hasattr(logprobs, "content") else logprobs["content"]
                seen.tokens += [token["token"] if isinstance(token, dict) else token.token for token in told]
            for piece in delta.get("tool_calls") or []:
                _join(calls.setdefault(piece["index"], {}), _call(piece))
    seen.tool_calls = [calls[index] for index in sorted(calls)]
    seen.others = [others[index] for index in sorted(others)]
    return seen


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function") or call.get("custom") or {}
    fields = {name: value for name, value in call.items() if name not in ("function", "custom", "index")}
    given = {"name": function.get("name"), "given": function.get("arguments") or function.get("input") or ""}
    return {name: value for name, value in (fields | given).items() if value is not None}


def _join(call: dict[str, Any], piece: dict[str, Any]) -> None:
    given = call.get("given", "") + piece.pop("given", "")
    call |= piece | {"given": given}


def events_as_chunks(events: Iterable[Any]) -> Seen:
    """What the events of `stream` say."""
    seen, calls, others = Seen(), dict[int, dict[str, Any]](), dict[int, str]()
    for event in events:
        match event:
            case lab.TextDelta(text=text, choice=0):
                seen.content += text
            case lab.TextDelta(text=text, choice=index):
                others[index] = others.get(index, "") + text
            case lab.ReasoningDelta(text=text, choice=0) | lab.Section(text=text):
                seen.reasoning += text
            case lab.StageFinished(summary=text):
                seen.reasoning += text
            case lab.ToolCallDelta(index=index):
                piece = {"id": event.id, "type": event.type, "name": event.name, "given": event.arguments}
                told = {name: value for name, value in piece.items() if value is not None}
                _join(calls.setdefault(index, {}), told | event.fields)
            case lab.DetailsDelta(fields=fields, choice=0):
                seen.refusal += fields.get("refusal") or ""
                seen.annotations += fields.get("annotations") or []
                seen.images += fields.get("images") or []
                seen.tokens += [
                    token["token"] for token in (fields.get("logprobs") or {}).get("content") or []
                ]
                own = fields.get("provider_specific_fields") or {}
                seen.citations = own.get("citations") or seen.citations
            case lab.Finished(result=result):
                choices = result.response.choices if result.response is not None else []
                seen.finish_reason = choices[0].finish_reason if choices else None
    seen.tool_calls = [calls[index] for index in sorted(calls)]
    seen.others = [others[index] for index in sorted(others)]
    return seen


@dataclass(frozen=True)
class Question:
    """One question to a composite: the final model, its proposers, where they are, what is asked and how."""

    model: str
    proposers: list[Any]
    endpoint: dict[str, str]
    messages: Messages
    params: dict[str, Any]

    def moa(self) -> lab.MoA:
        """The composite, to be asked without LiteLLM."""
        seats = [lab.Seat(model=model, **self.endpoint) for model in self.proposers]
        return lab.MoA(aggregator=lab.Seat(model=self.model, **self.endpoint), proposers=seats, retries=0)

    def request(self) -> dict[str, Any]:
        """The keywords for LiteLLM."""
        return {
            "model": f"composite/moa/{self.model}",
            "messages": self.messages,
            "proposers": self.proposers,
            "retries": 0,
            **self.params,
            **self.endpoint,
        }


def plain(question: Question) -> Seen:
    """The final model alone, asked through LiteLLM."""
    asked = {"model": question.model, "messages": question.messages}
    return of_response(litellm.completion(**asked, **question.params, **question.endpoint))


def _run(question: Question) -> Seen:
    return of_response(question.moa().run(question.messages, **question.params).response)


def _arun(question: Question) -> Seen:
    return of_response(asyncio.run(question.moa().arun(question.messages, **question.params)).response)


def _stream(question: Question) -> Seen:
    return events_as_chunks(question.moa().stream(question.messages, **question.params))


def _astream(question: Question) -> Seen:
    async def read() -> list[Any]:
        return [event async for event in question.moa().astream(question.messages, **question.params)]

    return events_as_chunks(asyncio.run(read()))


def _completion(question: Question) -> Seen:
    return of_response(litellm.completion(**question.request()))


def _acompletion(question: Question) -> Seen:
    return of_response(asyncio.run(litellm.acompletion(**question.request())))


def _streaming(question: Question) -> Seen:
    return of_chunks(litellm.completion(**question.request(), stream=True))


def _astreaming(question: Question) -> Seen:
    async def read() -> list[Any]:
        stream = await litellm.acompletion(**question.request(), stream=True)
        return [chunk async for chunk in stream]

    return of_chunks(asyncio.run(read()))


def _router(question: Question) -> Seen:
    request = question.request()
    owned = {name: request.pop(name) for name in ("model", "proposers", "retries", *question.endpoint)}
    router = litellm.Router(model_list=[{"model_name": "panel", "litellm_params": owned}], num_retries=0)
    return of_response(router.completion(model="panel", **request))


WAYS: dict[str, Callable[[Question], Seen]] = {
    "run": _run,
    "arun": _arun,
    "stream": _stream,
    "astream": _astream,
    "completion": _completion,
    "acompletion": _acompletion,
    "streaming": _streaming,
    "astreaming": _astreaming,
    "router": _router,
}
STREAMED = ("stream", "astream", "streaming", "astreaming")
