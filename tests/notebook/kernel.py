"""A real kernel, driven as a front end drives it: requests in, all that comes back by request."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

LIMIT_S = 90.0  # generous, for a busy machine


@dataclass
class Message:
    """A message of the kernel: its type, its content, and the request that it belongs to."""

    kind: str
    content: dict[str, Any]
    request: str

    def shows(self, text: str) -> bool:
        """Whether this is an output with that in its plain text."""
        return text in self.content.get("data", {}).get("text/plain", "")


@dataclass
class Cell:
    """What came of one execute request, its outputs in the order in which they came."""

    request: str
    reply: dict[str, Any] = field(default_factory=dict)
    outputs: list[Message] = field(default_factory=list)

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        """The contents of the outputs of these kinds."""
        return [message.content for message in self.outputs if message.kind in kinds]

    @property
    def printed(self) -> str:
        """What the cell wrote to stdout."""
        return self._stream("stdout")

    @property
    def complaints(self) -> str:
        """What the cell wrote to stderr."""
        return self._stream("stderr")

    @property
    def shown(self) -> list[str]:
        """The plain texts of what it displayed, each as it stood last."""
        texts: dict[str, str] = {}
        for content in self.of("display_data", "update_display_data"):
            texts[content["transient"].get("display_id", str(len(texts)))] = content["data"]["text/plain"]
        return list(texts.values())

    def _stream(self, name: str) -> str:
        return "".join(content["text"] for content in self.of("stream") if content["name"] == name)


class Kernel:
    """A kernel of this environment; `messages` are all that it has published, in order."""

    def __init__(self) -> None:
        self.manager = KernelManager()
        self.messages: list[Message] = []

    def __enter__(self) -> Self:
        self.manager.start_kernel()
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=LIMIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def send(self, code: str) -> Cell:
        """Ask for a cell to be run, and go on at once."""
        return Cell(self.client.execute(code, stop_on_error=False))

    def run(self, code: str) -> Cell:
        """Run a cell to its end."""
        return self.wait(self.send(code))

    def wait(self, cell: Cell) -> Cell:
        """Wait for the reply to a cell and for all its outputs."""
        while not cell.reply:
            message = self.client.get_shell_msg(timeout=LIMIT_S)
            if message["parent_header"].get("msg_id") == cell.request:
                cell.reply = message["content"]
        self.until(lambda message: message.request == cell.request and _is_idle(message))
        cell.outputs = [message for message in self.messages if message.request == cell.request]
        return cell

    def until(self, wanted: Callable[[Message], bool]) -> Message:
        """The first message that is wanted, of those that came and those that come."""
        for message in self.messages:
            if wanted(message):
                return message
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            try:
                raw = self.client.get_iopub_msg(timeout=1.0)
            except queue.Empty:
                continue
            message = Message(raw["msg_type"], raw["content"], raw["parent_header"].get("msg_id", ""))
            self.messages.append(message)
            if wanted(message):
                return message
        kinds = [message.kind for message in self.messages[-20:]]
        raise TimeoutError(f"no such message in {LIMIT_S:g} s; the last were {kinds}")

    def tell_widget(self, model_id: str, content: dict[str, Any]) -> None:
        """What a browser sends when somebody uses a widget."""
        told = {"comm_id": model_id, "data": {"method": "custom", "content": content}}
        self.client.shell_channel.send(self.client.session.msg("comm_msg", told))

    def interrupt(self) -> None:
        """What a front end's stop button does to a running cell."""
        self.manager.interrupt_kernel()


def _is_idle(message: Message) -> bool:
    return message.kind == "status" and message.content["execution_state"] == "idle"
