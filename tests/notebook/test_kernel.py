"""Runs in a real kernel: what a front end is sent, cell by cell, while they go on, end, fail or are ended."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from composite_lab.testing import FakeServer
from tests.notebook.kernel import LIMIT_S, Cell, Kernel

WIDGET = "application/vnd.jupyter.widget-view+json"
SETUP = """
import composite_lab as lab

def seat(model, **options):
    return lab.Seat(model=f"openai/{{model}}", api_base={url!r}, api_key="none", **options)

def panel(*proposers):
    return lab.MoA(aggregator=seat("agg"), proposers=[seat(p) for p in proposers], retries=0)
"""
ORDINARY_ERRORS = {
    "an exception": "def f():\n    return 1 / 0\nf()",
    "an exception with a cause": "try:\n    {}['x']\nexcept KeyError as e:\n    raise ValueError('y') from e",
    "an exception in async code": "import asyncio\nawait asyncio.sleep(0)\n1 / 0",
    "a group of exceptions": "raise ExceptionGroup('all', [ValueError('one'), KeyError('two')])",
    "a cell that does not compile": "x = = 1",
    "a wrong indentation": "if True:\nx = 1",
    "a null byte": "x = 1 \0",
    "code that does not compile inside of a cell": "exec('x = = 1')",
    "a magic used wrongly": "%cd --nothing --like --this",
    "an exit": "raise SystemExit('out')",
    "an interrupt": "raise KeyboardInterrupt",
}


@pytest.fixture(scope="module")
def before() -> dict[str, Any]:
    """What a kernel without the package sends for each of `ORDINARY_ERRORS`; filled by `kernel`."""
    return {}


@pytest.fixture(scope="module")
def kernel(fake_openai_server: FakeServer, before: dict[str, Any]) -> Iterator[Kernel]:
    """One kernel for all tests, in which the package was imported."""
    with Kernel() as kernel:
        before |= {name: seen(kernel.run(code)) for name, code in ORDINARY_ERRORS.items()}
        assert kernel.run(SETUP.format(url=fake_openai_server.base_url)).reply["status"] == "ok"
        heavy = "'ipywidgets', 'matplotlib', 'composite_lab.notebook.page'"
        before["imported"] = kernel.run(f"import sys\nprint({{{heavy}}} & sys.modules.keys())").printed
        yield kernel


def seen(cell: Cell) -> list[Any]:
    """All that a cell sent and replied, without what counts executions."""
    sent: list[Any] = [(message.kind, message.content) for message in cell.outputs]
    sent = [(kind, content) for kind, content in sent if kind not in ("status", "execute_input")]
    reply = {key: cell.reply.get(key) for key in ("status", "ename", "evalue", "traceback")}
    return [re.sub(r"In\[\d+\]|line \d+|\d+\.py", "", repr(one)) for one in (*sent, reply)]


def in_flight(server: FakeServer, count: int) -> None:
    server.wait_until(lambda seen: seen.in_flight == count, LIMIT_S)


def all_hung_up(server: FakeServer, count: int) -> bool:
    return (
        server.wait_until(lambda s: s.in_flight == 0, LIMIT_S).by_outcome.get("client_disconnected") == count
    )


# --- run in cells


def test_cells_queued_behind_a_run_all_run_in_their_order(kernel: Kernel, fake_openai: FakeServer) -> None:
    codes = [
        "order = []\npanel('p+latency=0.5', 'q+latency=0.5').run('Why?')\norder.append(1)\n'one'",
        "order.append(2)\nprint('two')",
        "import asyncio\nawait asyncio.sleep(0.05)\norder.append(3)\n'three'",
        "order.append(4)\npanel('p+latency=0.2').run('Again?').trace.status",
        "order.append(5)\norder",
    ]  # fmt: skip
    cells = [kernel.send(code) for code in codes]
    for cell in cells:
        kernel.wait(cell)
    assert [cell.reply["status"] for cell in cells] == ["ok"] * 5
    values = [content["data"]["text/plain"] for cell in cells for content in cell.of("execute_result")]
    assert values == ["'one'", "'three'", "'ok'", "[1, 2, 3, 4, 5]"]
    assert cells[1].printed == "two\n"


def test_the_progress_of_a_run_is_shown_while_it_goes_on(kernel: Kernel, fake_openai: FakeServer) -> None:
    cell = kernel.send("result = panel('p', 'q+latency=2').run('Why?')\nprint(result.trace.summary())")
    line = kernel.until(lambda m: m.request == cell.request and m.shows("1 of 2 answered"))
    in_flight(fake_openai, 1)  # so the run goes on while that is on the screen
    assert "<progress max=" in line.content["data"]["text/html"]
    kernel.wait(cell)
    kinds = [message.kind for message in cell.outputs]
    assert kinds.index("display_data") < kinds.index("stream")
    tokens = re.search(r"\d+ tokens", cell.printed)
    assert tokens is not None
    (last,) = cell.shown
    assert re.fullmatch(rf"moa ok · 3 calls · {tokens[0]} · cost unknown · \d+\.\d\d s", last)
    assert "<progress" not in cell.of("update_display_data")[-1]["data"]["text/html"]


def test_a_loop_of_runs_has_one_line_with_the_totals(kernel: Kernel, fake_openai: FakeServer) -> None:
    cell = kernel.run(
        "priced = dict(input_cost_per_token=1e-6, output_cost_per_token=1e-6)\n"
        "moa = lab.MoA(aggregator=seat('agg', **priced), samples=1)\n"
        "traces = [moa.run(f'Why {n}?').trace for n in range(3)]\n"
        "print(sum(trace.usage.total_tokens for trace in traces), sum(trace.cost_usd for trace in traces))"
    )
    tokens, cost = cell.printed.split()
    assert len(cell.of("display_data")) == 1
    line = rf"3 runs: 3 ok · 6 calls · {tokens} tokens · {float(cost):.6f} USD · [\d.]+ s"
    assert re.fullmatch(line, cell.shown[0])


def test_runs_inside_of_runs_have_no_line_of_their_own(kernel: Kernel, fake_openai: FakeServer) -> None:
    inner = 'lab.Seat(model="composite/moa/openai/inner", api_base=seat("x").api_base, api_key="none")'
    cell = kernel.run(f"trace = panel('p').with_seats(lambda s: {inner}).run('Why?').trace\nlen(trace.calls)")
    calls = cell.of("execute_result")[0]["data"]["text/plain"]
    assert int(calls) > 2
    assert [line.split(" · ")[:2] for line in cell.shown] == [["moa ok", f"{calls} calls"]]


def test_an_interrupted_run_ends_its_calls_and_keeps_what_was_answered(
    kernel: Kernel, fake_openai: FakeServer
) -> None:
    cell = kernel.send("panel('quick', 'p+hang', 'q+hang').run('Why?')")
    kernel.until(lambda m: m.request == cell.request and m.shows("1 of 3 answered"))
    in_flight(fake_openai, 2)
    kernel.interrupt()
    kernel.wait(cell)
    assert cell.reply["ename"] == "KeyboardInterrupt"
    assert all_hung_up(fake_openai, 2)
    assert cell.shown[0].startswith("moa cancelled · 3 calls, 2 cancelled · ")
    after = kernel.run("import sys\nsorted(call.status for call in sys.last_value.trace.calls)")
    assert after.of("execute_result")[0]["data"]["text/plain"] == "['cancelled', 'cancelled', 'ok']"
    assert kernel.run("panel('p').run('Why?').text[:0]").reply["status"] == "ok"


BLOCKED = {
    "await, then run": "await asyncio.sleep(0)\npanel('p+hang', 'q+hang').run('Why?')",
    "an awaited function": "async def f():\n    panel('p+hang', 'q+hang').run('Why?')\nawait f()",
    "a task": "async def f():\n    panel('p+hang', 'q+hang').run('Why?')\nawait asyncio.create_task(f())",
    "a stream": "await asyncio.sleep(0)\nlist(panel('p+hang', 'q+hang').stream('Why?'))",
}


def stopped_and_followed(kernel: Kernel, server: FakeServer, code: str) -> Cell:
    """The cell with this code, stopped when its two calls hang; the cells queued behind it must run."""
    cell = kernel.send(f"import asyncio\n{code}")
    behind = [
        kernel.send("'next'"),
        kernel.send("await asyncio.sleep(0)\npanel('p').run('Why?').trace.status"),
    ]
    in_flight(server, 2)
    kernel.interrupt()
    kernel.wait(cell)
    assert [kernel.wait(one).reply["status"] for one in behind] == ["ok", "ok"]
    assert all_hung_up(server, 2)
    return cell


@pytest.mark.parametrize("name", BLOCKED)
def test_stop_ends_a_cell_of_asynchronous_code_that_is_blocked_by_a_run(
    kernel: Kernel, fake_openai: FakeServer, name: str
) -> None:
    kernel.run("panel('p').run('Why?')")
    assert stopped_and_followed(kernel, fake_openai, BLOCKED[name]).reply["ename"] == "CancelledError"


def test_stop_ends_such_a_cell_when_it_is_the_first_of_a_kernel(fake_openai: FakeServer) -> None:
    with Kernel() as new:
        new.run(SETUP.format(url=fake_openai.base_url))
        cell = stopped_and_followed(new, fake_openai, BLOCKED["await, then run"])
        assert cell.reply["ename"] == "CancelledError"
        assert any(line.startswith("moa cancelled") for line in cell.shown)


def test_a_timeout_in_such_a_cell_ends_the_run_and_the_cell(kernel: Kernel, fake_openai: FakeServer) -> None:
    kernel.run("panel('p').run('Why?')")
    cell = kernel.run(
        "import asyncio\nasync with asyncio.timeout(0.5):\n    panel('p+hang', 'q+hang').run('Why?')"
    )
    assert cell.reply["ename"] == "TimeoutError"
    assert all_hung_up(fake_openai, 2)


# --- errors


@pytest.mark.parametrize(
    "code",
    [
        "panel('p+status=400', 'q+status=401').run('Why?')",
        "await panel('p+status=400', 'q+status=401').arun('Why?')",
        "panel('p+status=400', 'q+status=401').start('Why?').result()",
        "import litellm\nlitellm.completion(model='composite/moa/openai/agg', messages=[{'role': 'user', "
        "'content': 'Why?'}], proposers=['openai/p+status=400', 'openai/q+status=401'], retries=0, "
        "api_base=seat('x').api_base, api_key='none')",
        "try:\n    panel('p+status=400', 'q+status=401').run('Why?')\nexcept Exception as error:\n"
        "    raise RuntimeError('my own') from error",
    ],
    ids=["run", "arun", "handle", "litellm", "cause"],
)
def test_the_calls_that_failed_are_shown_once_and_above_the_traceback(
    kernel: Kernel, fake_openai: FakeServer, code: str
) -> None:
    cell = kernel.run(code)
    assert cell.reply["status"] == "error"
    tables = [m for m in cell.outputs if m.shows("BadRequestError")]
    (error,) = [m for m in cell.outputs if m.kind == "error"]
    assert len(tables) == 1
    assert tables[0].kind == "display_data"
    assert cell.outputs.index(tables[0]) < cell.outputs.index(error)
    html = tables[0].content["data"]["text/html"]
    assert "p+status=400" in html
    assert "AuthenticationError" in html
    assert "<script" not in html


def test_the_error_of_a_failed_run_keeps_its_trace_for_the_next_cell(
    kernel: Kernel, fake_openai: FakeServer
) -> None:
    failed = kernel.run("panel('p+status=400').run('Why?')")
    assert failed.reply["ename"] == "QuorumError"
    assert any(line.startswith("moa error · 1 call, 1 failed · ") for line in failed.shown)
    after = kernel.run("import sys\n[call.error_type for call in sys.last_value.trace.calls]")
    assert after.of("execute_result")[0]["data"]["text/plain"] == "['BadRequestError']"


@pytest.mark.parametrize("name", ORDINARY_ERRORS)
def test_ordinary_errors_look_as_they_do_without_the_package(
    kernel: Kernel, before: dict[str, Any], name: str
) -> None:
    assert seen(kernel.run(ORDINARY_ERRORS[name])) == before[name]


def test_importing_the_package_in_a_notebook_imports_no_widgets_and_no_pictures(
    kernel: Kernel, before: dict[str, Any]
) -> None:
    assert before["imported"] == "set()\n"


# --- runs in the background


def stop_button(cell: Cell) -> dict[str, Any]:
    """The widget of the one button that a cell made to stop a run: its id, and its state as it stood last."""
    made = [content for content in cell.of("comm_open") if content["target_name"] == "jupyter.widget"]
    states = {content["comm_id"]: content["data"]["state"] for content in made}
    for content in cell.of("comm_msg"):
        states[content["comm_id"]] |= content["data"].get("state", {})
    (button,) = [
        {"comm_id": comm_id, **state}
        for comm_id, state in states.items()
        if state.get("_model_name") == "ButtonModel" and state.get("icon") == "stop"
    ]
    return button


def test_a_run_in_the_background_is_shown_and_its_stop_button_ends_it(
    kernel: Kernel, fake_openai: FakeServer
) -> None:
    cell = kernel.run("handle = panel('quick', 'p+hang').start('Why?')\nhandle")
    in_flight(fake_openai, 1)  # the cell has ended, the run has not
    view, widget = cell.of("display_data")
    assert view["data"].keys() == {"text/html", "text/plain"}
    assert widget["data"].keys() == {WIDGET, "text/plain"}
    assert "running" in view["data"]["text/html"]
    button = stop_button(cell)
    assert not button["disabled"]
    kernel.tell_widget(button["comm_id"], {"event": "click"})
    assert all_hung_up(fake_openai, 1)
    kernel.until(lambda m: m.kind == "comm_msg" and "'Stopped'" in str(m.content))
    own = view["transient"]["display_id"]
    saved = kernel.until(
        lambda m: m.kind == "update_display_data" and m.content["transient"]["display_id"] == own
    )
    assert "running" not in saved.content["data"]["text/html"]
    after = kernel.run("handle.result()")
    assert after.reply["ename"] == "RunCancelled"
    last = kernel.run("import sys\nsorted(call.status for call in sys.last_value.trace.calls)")
    assert last.of("execute_result")[0]["data"]["text/plain"] == "['cancelled', 'ok']"


def test_a_run_in_the_background_goes_on_while_a_cell_is_busy_and_ends_in_its_place(
    kernel: Kernel, fake_openai: FakeServer
) -> None:
    cell = kernel.run("handle = panel('p+latency=0.3').start('Why?')\nhandle")
    own = cell.of("display_data")[0]["transient"]["display_id"]
    busy = kernel.run("import time\nwhile not handle.done:\n    time.sleep(0.01)\nhandle.status")
    assert busy.of("execute_result")[0]["data"]["text/plain"] == "'ok'"
    # Sent before the cell was idle, so that whoever saves the notebook now saves the end of the run.
    (idle,) = [n for n, m in enumerate(kernel.messages) if m is busy.outputs[-1]]
    updates = [
        message.content["data"]
        for message in kernel.messages[:idle]
        if message.content.get("transient", {}).get("display_id") == own
    ]
    assert "moa ok" in updates[-1]["text/plain"]
    assert "running" not in updates[-1]["text/html"]
    assert "Answer" in updates[-1]["text/html"]
    assert len([one for one in cell.of("display_data") if WIDGET in one["data"]]) == 1


def test_a_run_that_ended_between_two_cells_is_told_once_more_by_the_next_one(
    kernel: Kernel, fake_openai: FakeServer
) -> None:
    cell = kernel.run("handle = panel('p+latency=0.3').start('Why?')\nhandle")
    own = cell.of("display_data")[0]["transient"]["display_id"]
    kernel.until(
        lambda m: (
            m.kind == "update_display_data"
            and m.content["transient"]["display_id"] == own
            and m.shows("moa ok")
        )
    )
    # nbclient, which saves what it executes, hears only what belongs to the running cell.
    (told,) = kernel.run("1 + 1").of("update_display_data")
    assert told["transient"]["display_id"] == own
    assert told["data"]["text/plain"].startswith("<RunHandle moa ok")
    assert "Answer" in told["data"]["text/html"]
    assert kernel.run("1 + 1").of("update_display_data") == []


def test_a_run_that_failed_in_the_background_shows_why(kernel: Kernel, fake_openai: FakeServer) -> None:
    cell = kernel.run(
        "import time\nhandle = panel('p+status=400').start('Why?')\n"
        "while not handle.done:\n    time.sleep(0.01)\nhandle"
    )
    view, widget = cell.of("display_data")
    assert WIDGET in widget["data"]
    assert "BadRequestError" in view["data"]["text/html"]
    assert view["data"]["text/plain"].startswith("<RunHandle moa error: 1 call, 1 failed")
    assert stop_button(cell)["disabled"]


def test_a_run_cancelled_before_it_began_does_not_look_as_if_it_went_on(
    kernel: Kernel, fake_openai: FakeServer
) -> None:
    cell = kernel.run(
        "import threading\ngate, held = threading.Event(), threading.Event()\n"
        "first = panel('p').start('Why?', on_event=lambda _: held.set() or gate.wait() and None)\n"
        "held.wait()  # now nothing else can begin\n"
        "second = panel('p').start('Why?')\nlab.explore(second)\nsecond.cancel()\ngate.set()"
    )
    own = cell.of("display_data")[0]["transient"]["display_id"]
    saved = kernel.until(
        lambda m: m.kind == "update_display_data" and m.content["transient"]["display_id"] == own
    )
    assert "moa cancelled" in saved.content["data"]["text/html"]
    kernel.run("first.result()")


LOG = """
import asyncio, gc, litellm
from litellm.integrations.custom_logger import CustomLogger

class Log(CustomLogger):
    told = 0

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        Log.told += 1

log = Log()
litellm.callbacks.append(log)
"""


def test_runs_in_the_background_and_in_cells_are_quiet_and_told_to_callbacks(
    kernel: Kernel, fake_openai: FakeServer
) -> None:
    in_cells = ["for n in range(4):\n    panel('p', 'q').run(f'{n}?')", "await panel('p').arun('Why?')"]
    start = "handles = [panel('p+latency=0.1', 'q').start(f'{n}?') for n in range(3)]"
    codes = [LOG, *[code for one in in_cells for code in (start, one, "[h.result() for h in handles]")]]
    end = "gc.collect()\nwhile log.told < 32:\n    await asyncio.sleep(0.05)\nprint(log.told)"
    cells = [kernel.send(code) for code in (*codes, end, "litellm.callbacks.remove(log)")]
    assert [kernel.wait(cell).reply["status"] for cell in cells] == ["ok"] * len(cells)
    assert "".join(cell.complaints for cell in cells) == ""
    assert cells[-2].printed == f"{2 * 3 * 3 + 4 * 3 + 2}\n"


# --- results


def test_a_result_as_the_last_line_is_a_page_then_a_widget_and_can_be_had_again(
    kernel: Kernel, fake_openai: FakeServer
) -> None:
    cell = kernel.run("result = panel('p', 'q').run('Why?')\nresult")
    _progress, page, widget = cell.of("display_data")
    assert page["data"].keys() == {"text/html", "text/plain"}
    assert page["data"]["text/plain"].startswith("<Result ")
    assert widget["data"].keys() == {WIDGET, "text/plain"}
    again = kernel.run("(_ is result, Out[max(Out)] is result)")
    assert again.of("execute_result")[0]["data"]["text/plain"] == "(True, True)"
