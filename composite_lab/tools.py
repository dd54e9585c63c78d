"""Running a model's tool calls: the contract of an executor, and one round of calls.

An executor is one of

- a function `(name, arguments) -> result`, plain or async, `arguments` a dict;
- a mapping from a tool's name to a function of either kind, called with the arguments as keywords.

A custom tool, whose input is plain text, gets it as the argument `input`.

A result is a string, or anything that goes to JSON. Plain functions run in threads of their own, so
that they block nothing; `@on_loop_thread` marks one that must stay on the thread of the running loop, in
a notebook the one of the cells.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import json
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from composite_lab.errors import ConfigError
from composite_lab.gateway import Gateway
from composite_lab.redaction import printable, printable_in
from composite_lab.seats import unknown_name
from composite_lab.trace.call import Call, function_of

STAGE = "tool"
ToolFunction = Callable[..., Any]
ToolExecutor = ToolFunction | Mapping[str, ToolFunction]

_ON_LOOP_THREAD = "composite_lab_on_loop_thread"
Function = TypeVar("Function", bound=ToolFunction)


class ToolFault(Exception):
    """What the model is told when its tool call could not be carried out."""


def on_loop_thread(function: Function) -> Function:
    """Mark a plain function as one that must not run in a thread of its own. It blocks the loop meanwhile."""
    setattr(function, _ON_LOOP_THREAD, True)
    return function


def check_executor(executor: Any) -> Any:
    """The executor itself. Raises `ConfigError` when it is not one."""
    functions = list(executor.values()) if isinstance(executor, Mapping) else [executor]
    if executor is None or (functions and all(map(callable, functions))):
        return executor
    raise ConfigError(
        f"tool_executor must be a function (name, arguments) or a mapping from tool names to functions, "
        f"not {executor!r}"
    )


async def run_round(
    gateway: Gateway, executor: ToolExecutor, tool_calls: Sequence[Mapping[str, Any]], round_: int
) -> list[dict[str, Any]]:
    """The tool messages for one round of a model's tool calls, run concurrently, in their order.

    Each becomes a Call of the stage `tool`. What goes wrong (bad arguments, an unknown tool, an
    exception) is told to the model and raised to nobody.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_run_one(gateway, executor, tool_call, round_, position))
            for position, tool_call in enumerate(tool_calls)
        ]
    return [
        {"role": "tool", "tool_call_id": tool_call.get("id"), "content": task.result()}
        for tool_call, task in zip(tool_calls, tasks, strict=True)
    ]


async def _run_one(
    gateway: Gateway, executor: ToolExecutor, tool_call: Mapping[str, Any], round_: int, position: int
) -> str:
    name, arguments = function_of(tool_call)
    given = {"input": arguments} if tool_call.get("type") == "custom" else arguments
    started_at, offset = datetime.now(UTC), gateway.elapsed_s()
    start = time.perf_counter()

    def record(**outcome: Any) -> None:
        gateway.record(
            Call(
                trace_id=gateway.trace_id,
                call_id=str(uuid.uuid4()),
                strategy=gateway.strategy,
                stage=STAGE,
                role="tool",
                round=round_,
                seat=position,
                request_model=name,
                started_at=started_at,
                start_offset_s=offset,
                latency_s=time.perf_counter() - start,
                tool_calls=[printable_in(dict(tool_call))],
                **outcome,
            )
        )

    try:
        text = _as_text(await _execute(executor, name, given))
    except asyncio.CancelledError:
        record(status="cancelled")
        raise
    except Exception as error:
        kind = type(error.__cause__ or error) if isinstance(error, ToolFault) else type(error)
        told = gateway.redacted(str(error) if isinstance(error, ToolFault) else f"{kind.__name__}: {error}")
        text = f"Error: {told}"
        record(status="error", error_type=kind.__name__, error_message=told, text=text)
        return text
    record(status="ok", text=text)
    return text


async def _execute(executor: ToolExecutor, name: str, arguments: Any) -> Any:
    given = _read_arguments(arguments)
    if not isinstance(executor, Mapping):
        return await _call(executor, name, given)
    if name not in executor:
        raise ToolFault(unknown_name(name, executor, "tool"))
    return await _call(executor[name], **given)


def _read_arguments(arguments: Any) -> dict[str, Any]:
    try:
        given = json.loads(arguments) if isinstance(arguments, str) and arguments.strip() else arguments or {}
    except ValueError as error:
        raise ToolFault(f"the arguments are not valid JSON: {error}; given: {arguments!r}") from error
    if not isinstance(given, dict):
        raise ToolFault(f"the arguments must be a JSON object; given: {arguments!r}")
    return given


async def _call(function: ToolFunction, *positional: Any, **keywords: Any) -> Any:
    async_ = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  (an object with an async __call__)
    )
    if async_ or getattr(function, _ON_LOOP_THREAD, False):
        result = function(*positional, **keywords)
    else:
        result = await _in_a_thread(lambda: function(*positional, **keywords))
    return await result if isinstance(result, Awaitable) else result


async def _in_a_thread(work: Callable[[], Any]) -> Any:
    # A daemon thread and no pool: a tool that hangs must not keep the process from ending, and LiteLLM's
    # pool is for LiteLLM's requests.
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)

    def run() -> None:
        result, failed = None, None
        try:
            result = context.run(work)
        except Exception as error:
            failed = error
        except BaseException as error:  # SystemExit and the like end the tool, not the process
            failed = RuntimeError(f"the tool raised {type(error).__name__}")
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=run, name="composite_lab-tool", daemon=True).start()
    return await answer


def _as_text(result: Any) -> str:
    if isinstance(result, str):
        return printable(result)
    if hasattr(result, "model_dump"):
        result = result.model_dump(mode="json")
    try:
        return printable(json.dumps(result, ensure_ascii=False))
    except (TypeError, ValueError) as error:
        raise ToolFault(f"the tool's result does not go to JSON: {error}") from error
