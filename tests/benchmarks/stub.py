"""A fast OpenAI-compatible server for benchmarks: it answers after as long as the model name says.

`stub-100` answers after 100 ms, `stub-0` at once, and a name that does not end in a number gets 400.
Plain and streamed answers have the same text. A prompt that asks for a final ranking gets one.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

TEXT = "The answer takes about as many words as a short paragraph has. " * 10
PIECES = 20
"""In how many pieces a streamed answer comes."""
USAGE = {"prompt_tokens": 100, "completion_tokens": 120, "total_tokens": 220}
START_S = 60.0


@contextmanager
def running() -> Iterator[str]:
    """The base URL of a stub in a process of its own, which ends with the block or with this process."""
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().decode().strip()
    finally:
        process.stdin.close()
        process.wait(START_S)
        process.stdout.close()


async def chat(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    name, _, latency_ms = body["model"].rpartition("-")
    if not latency_ms.isdigit():
        return web.json_response({"error": {"message": f"no latency in {body['model']!r}"}}, status=400)
    await asyncio.sleep(int(latency_ms) / 1000)
    text = ranking(body["messages"]) or TEXT
    frame = {"id": f"stub-{name}", "created": 1, "model": body["model"]}
    if not body.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return web.json_response({**frame, "object": "chat.completion", "choices": [choice], "usage": USAGE})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for choices, usage in streamed(text):
        chunk = {**frame, "object": "chat.completion.chunk", "choices": choices, "usage": usage}
        await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response


def streamed(text: str) -> Iterator[tuple[list[dict[str, Any]], dict[str, int] | None]]:
    size = len(text) // PIECES + 1
    for start in range(0, len(text), size):
        delta = {"role": "assistant", "content": text[start : start + size]}
        yield [{"index": 0, "delta": delta, "finish_reason": None}], None
    yield [{"index": 0, "delta": {}, "finish_reason": "stop"}], None
    yield [], USAGE


def ranking(messages: list[dict[str, Any]]) -> str | None:
    content = messages[-1]["content"]
    prompt = content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)
    if "FINAL RANKING:" not in prompt:
        return None
    labels = dict.fromkeys(re.findall(r'label="([^"]+)"', prompt))
    lines = [f"{place}. {label}" for place, label in enumerate(labels, 1)]
    return "\n".join([TEXT, "", "FINAL RANKING:", *lines])


async def serve() -> None:
    app = web.Application(client_max_size=2**24)
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"{site.name}/v1".replace(":0/", f":{runner.addresses[0][1]}/"), flush=True)
    await asyncio.to_thread(sys.stdin.read)  # it ends when the parent closes it or is gone


if __name__ == "__main__":
    asyncio.run(serve())
