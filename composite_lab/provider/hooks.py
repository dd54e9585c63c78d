"""LiteLLM's four hooks. One implementation: the synchronous ones run the asynchronous ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import litellm
from litellm.llms.custom_llm import CustomLLM
from litellm.types.utils import ModelResponse, ModelResponseStream
from litellm.utils import custom_llm_setup

from composite_lab.loop import iterate_sync, run_sync
from composite_lab.provider.answer import Chunks, fill
from composite_lab.provider.errors import to_litellm
from composite_lab.provider.parameters import accept_all_parameters
from composite_lab.provider.request import PROVIDER, read_request


class CompositeLLM(CustomLLM):
    """LiteLLM's four hooks. It calls them with keywords only, so they take them as a mapping."""

    def completion(self, *_: Any, **request: Any) -> ModelResponse:
        """Answer `litellm.completion`."""
        return run_sync(self._complete(request))

    async def acompletion(self, *_: Any, **request: Any) -> ModelResponse:
        """Answer `litellm.acompletion`."""
        return await self._complete(request)

    def streaming(self, *_: Any, **request: Any) -> Iterator[ModelResponseStream]:  # type: ignore[override]
        """Answer `litellm.completion(stream=True)`."""
        return iterate_sync(self._stream(request))

    def astreaming(self, *_: Any, **request: Any) -> AsyncIterator[ModelResponseStream]:  # type: ignore[override]
        """Answer `litellm.acompletion(stream=True)`."""
        return self._stream(request)

    async def _complete(self, request: dict[str, Any]) -> ModelResponse:
        try:
            order = read_request(request)
            result = await order.strategy.arun(request["messages"], **order.params)
        except Exception as error:
            raise to_litellm(error, request["model"]) from error.__cause__
        return fill(request, result, order)

    async def _stream(self, request: dict[str, Any]) -> AsyncGenerator[ModelResponseStream, None]:
        try:
            order = read_request(request)
            chunks = Chunks(order, request)
            events = order.strategy.astream(request["messages"], **order.params)
            try:
                async for event in events:
                    for chunk in chunks.of(event):
                        yield chunk
            finally:
                await events.aclose()
        except Exception as error:
            raise to_litellm(error, request["model"]) from error.__cause__


handler = CompositeLLM()


def register() -> None:
    """Make LiteLLM know `composite/…` models. Safe to call again; other custom providers stay."""
    others = [item for item in litellm.custom_provider_map if item["provider"] != PROVIDER]
    litellm.custom_provider_map = [*others, {"provider": PROVIDER, "custom_handler": handler}]
    custom_llm_setup()  # type: ignore[no-untyped-call]
    accept_all_parameters()
