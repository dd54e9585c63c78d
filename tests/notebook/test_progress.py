"""What a shell is given of the runs of its cells: a line, a table of what failed, the view of a handle."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import litellm
import pytest
from IPython.core.interactiveshell import InteractiveShell
from litellm.llms.custom_llm import CustomLLM

import composite_lab as lab
from composite_lab.notebook.handle_view import HandleView
from composite_lab.notebook.meter import observer
from composite_lab.notebook.progress import CellLine, failed_trace, failures_bundle, follow_runs, show_handle
from composite_lab.strategies.base import WATCHERS
from composite_lab.testing import FakeServer
from tests.conftest import SeatMaker
from tests.notebook.pages import HOSTILE, call, trace


class Outputs:
    """Stands in the place of a front end: what it was told to show, by output, the newest last."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []
        self.newest: dict[str, dict[str, Any]] = {}

    def show(self, bundle: dict[str, Any]) -> None:
        self.shown.append(bundle)

    def publish(self, *, data: dict[str, Any], transient: dict[str, str], update: bool, **_: Any) -> None:
        assert update == (transient["display_id"] in self.newest)
        self.newest[transient["display_id"]] = data
        self.show(data)

    def lines(self) -> list[str]:
        return [data["text/plain"] for data in self.newest.values()]


# --- the shell


@pytest.fixture
def shell() -> Iterator[Any]:
    """An IPython shell that has a kernel as far as it knows, and what it displays."""
    InteractiveShell.clear_instance()
    before = list(WATCHERS)
    shell: Any = InteractiveShell()
    shell.kernel = object()
    shell.display_pub = Outputs()
    shell.get_parent = lambda: {"header": {"msg_id": "cell 1"}}
    yield shell
    WATCHERS[:] = before


def test_runs_are_followed_once_however_often_the_package_is_imported(shell: Any) -> None:
    before = len(WATCHERS)
    follow_runs(shell)
    handler = shell.CustomTB
    follow_runs(shell)
    assert len(WATCHERS) == before + 1
    assert shell.CustomTB is handler
    assert shell.custom_exceptions == (Exception,)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_draws_no_line(shell: Any) -> None:
    follow_runs(shell)
    strategy = lab.MoA(aggregator="openai/a")
    child = os.fork()
    if child == 0:
        os._exit(WATCHERS[-1](strategy) is not None)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert WATCHERS[-1](strategy) is not None  # and its parent does


def test_an_error_handler_of_somebody_else_stays(shell: Any) -> None:
    shell.set_custom_exc((ZeroDivisionError,), lambda *_, **__: None)
    theirs = shell.CustomTB
    follow_runs(shell)
    assert shell.custom_exceptions == (ZeroDivisionError,)
    assert shell.CustomTB is theirs


def test_a_terminal_stays_as_it_is(
    shell: Any, fake_openai: FakeServer, seat: SeatMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.kernel = None
    before = list(WATCHERS)
    follow_runs(shell)
    assert before == WATCHERS
    assert shell.custom_exceptions == ()
    handle = lab.MoA(aggregator=seat("agg"), samples=1).start("Why?")
    handle.result()
    show_handle(handle)
    assert capsys.readouterr().out.startswith("<RunHandle moa ok")


def test_a_tool_that_asks_counts_in_the_line_of_its_cell(
    shell: Any, fake_openai: FakeServer, seat: SeatMaker
) -> None:
    follow_runs(shell)
    inner = lab.MoA(aggregator=seat("inner"), samples=1)
    place = {"type": "object", "properties": {"a": {"type": "integer"}}}
    tools = [{"type": "function", "function": {"name": "ask", "parameters": place}}]
    question = 'Please use ask {"a": 2} and tell me.'
    executor = {"ask": lambda a: inner.run(f"What is {a}?").text}
    trace = (
        lab.MoA(aggregator=seat("agg"), samples=1).run(question, tools=tools, tool_executor=executor).trace
    )
    shell.events.trigger("post_execute")
    assert [call.status for call in trace.calls if call.stage == "tool"] == ["ok"]
    assert shell.display_pub.shown[-1]["text/plain"].startswith(
        f"2 runs: 2 ok · {len(trace.calls) + 2} calls · "
    )


def test_each_cell_has_a_line_of_its_own(shell: Any, fake_openai: FakeServer, seat: SeatMaker) -> None:
    follow_runs(shell)
    moa = lab.MoA(aggregator=seat("agg"), samples=1)
    for cell in ("cell 1", "cell 2", "cell 2"):
        shell.get_parent = lambda cell=cell: {"header": {"msg_id": cell}}
        moa.run("Why?")
        shell.events.trigger("post_execute")
    lines = shell.display_pub.lines()
    assert [line.split(" · ")[0] for line in lines] == ["moa ok", "2 runs: 2 ok"]


class Asking(CustomLLM):
    """A model that a user has added to LiteLLM, and that asks a panel before it answers."""

    def __init__(self, panel: lab.MoA) -> None:
        super().__init__()
        self.panel = panel

    async def acompletion(self, model: str, messages: Any, **_: Any) -> Any:
        return self.panel.run(messages).response


def test_a_run_inside_of_another_runs_call_is_counted_once(
    shell: Any, fake_openai: FakeServer, seat: SeatMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow_runs(shell)
    handler = Asking(lab.MoA(aggregator=seat("inner"), samples=1))
    entry = {"provider": "asking", "custom_handler": handler}
    monkeypatch.setattr(litellm, "custom_provider_map", [*litellm.custom_provider_map, entry])
    nested = lab.Seat(model="composite/moa/asking/panel")
    calls = lab.MoA(aggregator=seat("agg"), proposers=[nested]).run("Why?").trace.calls
    shell.events.trigger("post_execute")
    assert "openai/inner" in {call.request_model for call in calls}
    assert [line.split(" · ")[:2] for line in shell.display_pub.lines()] == [
        ["moa ok", f"{len(calls)} calls"]
    ]


def test_a_mistake_in_an_option_shows_no_line(shell: Any, fake_openai: FakeServer, seat: SeatMaker) -> None:
    follow_runs(shell)
    with pytest.raises(lab.ConfigError):
        lab.MoA(aggregator=seat("agg"), samples=1).run("Why?", temprature=1)
    shell.events.trigger("post_execute")
    assert shell.display_pub.shown == []


def test_the_line_of_a_cell_is_there_with_the_first_event(shell: Any) -> None:
    line = CellLine(shell)
    observer(line.tally, lab.MoA(aggregator="openai/a"), line.changed)(lab.StageStarted("proposals", 0, 3))
    assert "0 of 3 answered" in shell.display_pub.shown[0]["text/plain"]


# --- errors


def failed(*calls: lab.Call, status: str = "error") -> Exception:
    error = RuntimeError("why")
    error.trace = trace(*calls, status=status)  # type: ignore[attr-defined]
    return error


def test_the_trace_of_a_failed_run_is_found_behind_other_errors() -> None:
    behind = failed(call(status="error"))
    caused, during = ValueError("caused by it"), ValueError("during it")
    caused.__cause__ = behind
    during.__context__ = caused
    assert failed_trace(behind) is failed_trace(caused) is failed_trace(during) is behind.trace  # type: ignore[attr-defined]


def test_errors_without_failed_calls_have_no_table() -> None:
    circle = ValueError("its own cause")
    circle.__cause__ = circle
    no_trace = ValueError("of another library")
    no_trace.trace = ["its own idea of a trace"]  # type: ignore[attr-defined]
    cancelled = failed(call(status="cancelled"), status="cancelled")
    for error in (circle, no_trace, failed(call()), cancelled):
        assert failed_trace(error) is None


def test_the_table_of_failed_calls_is_escaped_and_names_who_failed_why() -> None:
    bad = call(status="error", error_type="BadRequestError", error_message=HOSTILE, request_model=HOSTILE)
    bundle = failures_bundle(trace(call(), bad, call(seat=1, attempt=1, status="timeout"), status="error"))
    assert "<img" not in bundle["text/html"]
    assert "\x1b" not in bundle["text/plain"]
    first, second = bundle["text/plain"].splitlines()
    assert first.startswith("proposer 1 (<script>alert(1)</script><img ")
    assert ": BadRequestError: <script>" in first
    assert second == "proposer 2 (openai/x), attempt 2: timeout"


# --- the view of a handle


def test_the_view_of_an_ended_run_is_complete_at_once(fake_openai: FakeServer, seat: SeatMaker) -> None:
    handle = lab.MoA(aggregator=seat("agg"), samples=1).start("Why?")
    handle.result()
    page, widget = Outputs(), Outputs()
    view = HandleView(handle, page, widget)
    view.show()
    assert [bundle["text/plain"] for bundle in page.shown] == [repr(handle)]
    assert [bundle["text/plain"] for bundle in widget.shown] == [""]
    assert view.line.value.startswith("moa ok · 2 calls · ")
    assert view.line.layout.display == "none"  # as the explorer says the same
    assert (view.stop.disabled, len(view.end.children)) == (True, 1)


def test_what_goes_wrong_in_the_view_is_shown_in_it(fake_openai: FakeServer, seat: SeatMaker) -> None:
    handle = lab.MoA(aggregator=seat("agg+hang"), samples=1).start("Why?")
    view = HandleView(handle, Outputs(), Outputs())
    view.show()
    cancel = handle.cancel

    def fail() -> None:
        raise RuntimeError("<b>cannot</b>")

    handle.cancel = fail  # type: ignore[method-assign]
    view.stop.click()
    assert "RuntimeError: &lt;b&gt;cannot&lt;/b&gt;" in view.fault.value
    cancel()
    with pytest.raises(lab.RunCancelled):
        handle.result()
    deadline = time.monotonic() + 30
    while not view._settled:  # its thread would make widgets while other tests count theirs
        assert time.monotonic() < deadline
        time.sleep(0.01)
