"""What a cell shows as its last line: explorer and page where a kernel is live, the page everywhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import litellm
import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.formatters import DisplayFormatter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import composite_lab as lab
from composite_lab import Ballot, Result, Trace
from composite_lab.notebook import display, page
from composite_lab.notebook.display import HTML, PLAIN, WIDGET, explore, register_formatters
from tests.conftest import SeatMaker
from tests.notebook.pages import call, trace

BALLOT = Ballot(reviewer=0, labels=["A", "B"], members=[1, 2], ranking=["B", "A"], status="valid")
RUN = trace(call(text="because"), text="because")
RESULT = Result(text="because", message={}, trace=RUN)
STRATEGY = lab.MoA(aggregator="openai/a")


def shell(*, live: bool) -> SimpleNamespace:
    """As much of IPython as shows things, with a kernel or without."""
    made = SimpleNamespace(
        display_formatter=DisplayFormatter(), display_pub=CapturingDisplayPublisher(),
        kernel=object() if live else None,
    )  # fmt: skip
    register_formatters(made)
    return made


def shown(what: Any) -> dict[str, Any]:
    bundle, _ = shell(live=False).display_formatter.format(what)
    return dict(bundle)


def shown_live(what: Any) -> list[dict[str, Any]]:
    """The outputs of a cell in a kernel with this as its last line."""
    living = shell(live=True)
    bundle, _ = living.display_formatter.format(what)
    return [*(output["data"] for output in living.display_pub.outputs), *([bundle] if bundle else [])]


@pytest.fixture
def ipython() -> Iterator[InteractiveShell]:
    """IPython as it runs in a process."""
    InteractiveShell.clear_instance()
    running = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    yield running
    running.restore_sys_module_state()
    InteractiveShell.clear_instance()


def in_a_process(*lines: str) -> str:
    """What these lines print in a Python of their own."""
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parent.parent.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("run", [RESULT, RUN], ids=["result", "trace"])
def test_a_run_is_in_a_live_kernel_the_whole_page_and_then_an_explorer(run: Any) -> None:
    static, view = shown_live(run)
    assert set(static) == {HTML, PLAIN}
    assert static[HTML] == (page.result_page(run) if run is RESULT else page.trace_page(run))
    assert static[PLAIN] == repr(run)
    assert len(static[PLAIN].splitlines()) == 1
    assert set(view) == {WIDGET, PLAIN}
    assert view[WIDGET]["model_id"]
    assert view[PLAIN] == ""


@pytest.mark.parametrize(
    ("what", "html"),
    [
        (RESULT, page.result_page(RESULT)),
        (RUN, page.trace_page(RUN)),
        (BALLOT, page.ballots_page([BALLOT])),
        ([BALLOT, BALLOT], page.ballots_page([BALLOT, BALLOT])),
        (STRATEGY, page.strategy_page(STRATEGY)),
        (lab.Council(chairman="openai/a"), page.strategy_page(lab.Council(chairman="openai/a"))),
    ],
    ids=["result", "trace", "ballot", "ballots", "moa", "council"],
)
def test_without_a_kernel_everything_is_a_page(what: Any, html: str) -> None:
    bundle = shown(what)
    assert set(bundle) == {HTML, PLAIN}
    assert bundle[HTML] == html
    assert isinstance(what, list) or len(bundle[PLAIN].splitlines()) == 1


def test_a_strategy_is_one_line_without_a_secret_where_there_is_no_html() -> None:
    strategy = lab.MoA(aggregator=lab.Seat(model="openai/a", api_key="sk-hidden"))
    (bundle,) = shown_live(strategy)
    assert set(bundle) == {HTML, PLAIN}
    assert bundle[PLAIN] == "<MoA openai/a: 4 calls (3 proposals, then the aggregation)>"
    assert "sk-hidden" not in bundle[HTML]


class Shelf(list[int]):
    """A list that shows itself."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/x-shelf": f"{len(self)} books"}


def test_other_lists_are_shown_as_ever() -> None:
    for what in ([], [1, 2], [BALLOT, 1]):
        assert set(shown(what)) == {PLAIN}
    assert shown(Shelf([1, 2]))["text/x-shelf"] == "2 books"


def test_who_showed_lists_before_still_does_and_registering_again_changes_nothing() -> None:
    made = SimpleNamespace(display_formatter=DisplayFormatter(), kernel=None)
    asked: list[Any] = []

    def earlier(items: list[Any]) -> dict[str, str]:
        asked.append(items)
        return {"text/x-list": str(len(items))}

    made.display_formatter.mimebundle_formatter.for_type(list, earlier)
    register_formatters(made)
    lists = made.display_formatter.mimebundle_formatter.lookup_by_type(list)
    register_formatters(made)
    assert made.display_formatter.mimebundle_formatter.lookup_by_type(list) is lists
    assert made.display_formatter.format([1, 2])[0]["text/x-list"] == "2"
    assert asked == [[1, 2]]
    assert HTML in made.display_formatter.format([BALLOT])[0]


SETUP = (
    "import sys; from types import SimpleNamespace",
    "from IPython.core.formatters import DisplayFormatter",
    "from composite_lab.notebook.display import register_formatters",
    "from tests.notebook.pages import call, trace",
    "from IPython.core.displaypub import CapturingDisplayPublisher",
    "pub = CapturingDisplayPublisher()",
    "shell = SimpleNamespace(display_formatter=DisplayFormatter(), display_pub=pub, kernel=object())",
    "register_formatters(shell)",
    "shell.display_formatter.format(trace(call(text='because')))",
    "(output,) = pub.outputs",
    "print(sorted(output['data'])); print(output['data']['text/html'])",
)


def test_a_fault_in_the_explorer_leaves_the_page_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "ipywidgets.py").write_text("raise RuntimeError('<b>no widgets today</b>')")
    told = in_a_process(f"import sys; sys.path.insert(0, {str(tmp_path)!r})", *SETUP)
    assert told.startswith(f"{[HTML, PLAIN]}\n")
    assert "The explorer could not be made" in told
    assert "RuntimeError: &lt;b&gt;no widgets today&lt;/b&gt;" in told
    assert "because" in told


def test_without_ipywidgets_there_is_the_page_and_no_complaint() -> None:
    told = in_a_process("import sys; sys.modules['ipywidgets'] = None", *SETUP)
    assert told.startswith(f"{[HTML, PLAIN]}\n")
    assert "could not be made" not in told
    assert "because" in told


def test_importing_the_display_imports_no_widget_no_picture_and_no_ipython() -> None:
    heavy = ("IPython", "ipywidgets", "matplotlib", "composite_lab.notebook.page")
    told = in_a_process(
        "import sys, composite_lab.notebook.display",
        f"print([name for name in {heavy!r} if name in sys.modules])",
    )
    assert told == "[]\n"


def outputs(running: InteractiveShell, what: Any) -> list[dict[str, Any]]:
    from IPython.utils.capture import capture_output

    with capture_output() as captured:
        explore(what)
    return [output.data for output in captured.outputs]


def test_explore_shows_what_the_last_line_would(ipython: InteractiveShell) -> None:
    for what, html in (
        (RESULT, page.result_page(RESULT)), (RUN, page.trace_page(RUN)),
        (BALLOT, page.ballots_page([BALLOT])), ([BALLOT], page.ballots_page([BALLOT])),
        ([], page.ballots_page([])), (STRATEGY, page.strategy_page(STRATEGY)),
    ):  # fmt: skip
        assert [output[HTML] for output in outputs(ipython, what)] == [html]


def test_explore_finds_the_run_behind_a_response_and_an_error(
    ipython: InteractiveShell, endpoint: dict[str, str], seat: SeatMaker
) -> None:
    asked = {"model": "composite/moa/openai/a", "messages": [{"role": "user", "content": "Why?"}], **endpoint}
    response = litellm.completion(**asked, proposers=["openai/b"])
    assert outputs(ipython, response)[0][HTML] == page.trace_page(lab.trace_of(response))
    with pytest.raises(lab.QuorumError) as caught:
        lab.MoA(aggregator=seat("a"), proposers=[seat("b+status=400")]).run("Why?")
    shown_error = outputs(ipython, caught.value)[0][HTML]
    assert shown_error == page.trace_page(caught.value.trace)
    assert "This run failed" in shown_error


@pytest.mark.parametrize("what", [42, "text", [1], ValueError("no run"), lab.QuorumError("no trace")])
def test_explore_says_what_it_shows_when_given_something_else(what: Any) -> None:
    with pytest.raises(
        TypeError, match=rf"a Result, a Trace, ballots, .* this {type(what).__name__} carries no"
    ):
        explore(what)


def test_explore_prints_plain_text_outside_of_ipython() -> None:
    told = in_a_process(
        "from tests.notebook.pages import call, trace",
        "from composite_lab import Ballot, explore",
        "run = trace(call('a'), call('b', parent_call_id='a', status='error', error_type='E\\x1b[2J'))",
        "explore(run)",
        "explore([Ballot(reviewer=0, labels=['A'], members=[1], ranking=['A'], status='valid')])",
        "from composite_lab.trace.verdict import Verdict",
        "verdict = Verdict(options=['yes', 'no'], choice='yes', confidence=0.5, status='valid')",
        "explore(trace(call('a'), verdict=verdict))",
    )
    lines = told.splitlines()
    assert lines[0].startswith("<Trace t moa ok: 2 calls, 1 failed")
    assert lines[1:3] == [
        "  proposer 1 · openai/x · 0.31 s · tokens unknown · cost unknown",
        "    proposer 1 · openai/x · 0.31 s · error: E␛[2J",
    ]
    assert lines[3] == "<1 ballot, 1 valid>"
    assert lines[4].startswith("Ballot(reviewer=0")
    assert lines[6] == "Verdict: yes · 50% sure"


def test_a_handle_is_shown_by_whoever_shows_progress() -> None:
    by_name = shell(live=True).display_formatter.ipython_display_formatter
    assert by_name.lookup_by_type(lab.RunHandle) is display._show_handle


def test_a_trace_from_a_file_shows_itself_like_the_run_it_was() -> None:
    again = Trace.model_validate_json(RUN.model_dump_json())
    assert shown(again)[HTML] == shown(RUN)[HTML]
