"""The explorer of a trace: everything can be reached, nothing is sent before, nothing in it runs."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets as widgets
import pytest
from ipywidgets.widgets import widget as registry

import composite_lab as lab
from composite_lab import Ballot, Call, Standing, Trace
from composite_lab.notebook.call_card import call_title
from composite_lab.notebook.call_list import CallList
from composite_lab.notebook.explorer import trace_explorer
from composite_lab.notebook.panes import SENT_CHARS, Faults, widest_limit
from composite_lab.trace.verdict import Verdict, Vote
from tests import records
from tests.notebook.widget_tree import inside, the

QUESTION = [{"role": "user", "content": "Why is the sky dark at night?"}]
NATIVE = {"Tab", "VBox", "HBox", "HTML", "Select", "ToggleButtons", "Button", "Label"}
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202eevil\x1b[31m</pre>\ud800"


def call(**fields: Any) -> Call:
    return records.call(**({"messages": QUESTION} | fields))


def trace(*calls: Call, **fields: Any) -> Trace:
    return records.trace(*calls, **({"latency_s": 2.0, "messages": QUESTION} | fields))


def proposal(seat: int, text: str, **fields: Any) -> Call:
    return call(**({"call_id": f"p{seat}", "seat": seat, "text": text} | fields))


def aggregation(text: str | None, **fields: Any) -> Call:
    return call(**({"call_id": "final", "stage": "aggregation", "role": "aggregator", "text": text} | fields))


def moa(*texts: str, answer: str = "the answer") -> Trace:
    proposals = [proposal(seat, text) for seat, text in enumerate(texts)]
    return trace(*proposals, aggregation(answer), text=answer)


def tabs(explorer: Any) -> Any:
    return next(one for one in explorer.children if isinstance(one, widgets.Tab))


def fault(explorer: Any) -> str:
    return str(explorer.children[1].value)


def opened(explorer: Any, title: str) -> Any:
    """The contents of a tab, selected as a click does it."""
    tab = tabs(explorer)
    place = [one.split(" (")[0] for one in tab.titles].index(title)
    tab.selected_index = place
    return tab.children[place]


def button(root: Any, description: str) -> Any:
    return next(
        one for one in inside(root) if isinstance(one, widgets.Button) and description in one.description
    )


def shown(root: Any) -> str:
    """All HTML that a reader sees."""
    return "".join(
        one.value for one in inside(root) if isinstance(one, widgets.HTML) and one.layout.display != "none"
    )


@pytest.fixture
def made() -> Iterator[Callable[[], list[Any]]]:
    """Every widget made since, also those that stand in no other."""
    before = set(registry._instances)
    yield lambda: [one for key, one in registry._instances.items() if key not in before]
    for key in set(registry._instances) - before:
        registry._instances[key].close()


@pytest.fixture
def sent(made: Callable[[], list[Any]]) -> Callable[[], str]:
    """The state of every widget as it goes to the browser."""
    return lambda: "".join(json.dumps(one.get_state(), default=str) for one in made())


def test_tabs_are_the_answer_then_stages_in_trace_order_then_views_of_the_whole() -> None:
    explorer = trace_explorer(moa("one", "two"))
    assert list(tabs(explorer).titles) == [
        "Answer", "Proposals (2)", "Aggregation", "Changes", "Table", "Timeline"
    ]  # fmt: skip
    assert "composite/moa/openai/a" in explorer.children[0].value
    assert "<style>" in explorer.children[0].value


def test_answer_tab_has_question_answer_and_reasoning() -> None:
    run = moa("one").model_copy(update={"reasoning": "what the stages said"})
    page = shown(opened(trace_explorer(run), "Answer"))
    for text in (QUESTION[0]["content"], "the answer", "what the stages said"):
        assert text in page


def test_nothing_is_sent_before_it_is_opened(sent: Callable[[], str]) -> None:
    texts = [f"begin{number:03} " + "word " * 20_000 for number in range(100)]
    run = trace(
        *(
            proposal(seat, text, messages=[{"role": "user", "content": text}])
            for seat, text in enumerate(texts)
        ),
        aggregation("the answer"),
        text="the answer",
    )
    start = time.process_time()
    explorer = trace_explorer(run)
    assert time.process_time() - start < 3
    assert len(sent()) < 60_000
    assert "begin" not in sent()
    page = opened(explorer, "Proposals")
    assert "begin000" in sent()
    assert "begin001" not in sent()
    assert len(sent()) < 150_000
    the(widgets.Select, page).value = 57
    assert "begin057" in shown(page)
    assert "begin000" not in shown(page)


def test_a_tab_is_built_once() -> None:
    explorer = trace_explorer(moa("one", "two"))
    page = opened(explorer, "Proposals")
    the(widgets.Select, page).value = 1
    opened(explorer, "Answer")
    assert the(widgets.Select, opened(explorer, "Proposals")).value == 1


def test_a_chosen_call_shows_everything_about_it() -> None:
    rich = call(
        call_id="r", seat=1, text="its answer", reasoning="its reasoning", total_tokens=7, prompt_tokens=5,
        completion_tokens=2, cost_usd=0.25, latency_s=3.25, params={"temperature": 0.625},
        tool_calls=[{"id": "1", "function": {"name": "multiply", "arguments": '{"a": 17}'}}],
    )  # fmt: skip
    failed = call(call_id="f", seat=2, status="error", error_type="RateLimitError", error_message="slow down")
    page = opened(trace_explorer(trace(proposal(0, "first"), rich, failed)), "Proposals")
    choice = the(widgets.Select, page)
    assert [label for label, _ in choice.options] == [
        call_title(one) for one in (proposal(0, "first"), rich, failed)
    ]
    choice.value = 1
    for text in (
        "its answer", "its reasoning", "multiply", "&quot;a&quot;: 17", "5 in", "0.250000 USD", "3.25 s",
        "0.625", "Why is the sky dark",
    ):  # fmt: skip
        assert text in shown(page)
    choice.value = 2
    assert "slow down" in shown(page)
    assert "RateLimitError" in shown(page)


def test_calls_can_be_stepped_through_with_buttons() -> None:
    page = opened(trace_explorer(moa("one text", "two text")), "Proposals")
    where = the(widgets.Label, page)
    for step, text, place in (("Next", "two text", 2), ("Next", "two text", 2), ("Previous", "one text", 1)):
        button(page, step).click()
        assert text in shown(page)
        assert where.value == f"{place} of 2"
    button(page, "Previous").click()
    assert the(widgets.Select, page).value == 0


def test_the_titles_in_a_list_hide_nothing() -> None:
    chosen = CallList(["a\u202eb\x1b"], 0, description="Call", choose=print, faults=Faults())
    assert the(widgets.Select, chosen.box).options == (("a⟨U+202E⟩b␛", 0),)


def test_calls_with_equal_titles_are_told_apart() -> None:
    page = opened(trace_explorer(trace(proposal(0, "one text"), proposal(0, "other text"))), "Proposals")
    choice = the(widgets.Select, page)
    assert choice.options[0][0] == choice.options[1][0]
    choice.value = 1
    assert "other text" in shown(page)
    choice.value = 0
    assert "one text" in shown(page)


def test_a_stage_of_one_call_shows_it_without_a_choice() -> None:
    page = opened(trace_explorer(moa("one", "two")), "Aggregation")
    assert not [one for one in inside(page) if isinstance(one, widgets.Select)]
    assert "the answer" in shown(page)


@pytest.mark.parametrize("length", [100_000, 1_000_000])
def test_a_long_text_is_cut_until_all_of_it_is_asked_for(length: int) -> None:
    text = "x" * (length - 3) + "END"
    page = opened(trace_explorer(trace(proposal(0, text), proposal(1, "short"), messages=[])), "Proposals")
    assert f"{length - 20_000:,} more characters" in shown(page)
    assert "END" not in shown(page)
    whole = length + len(QUESTION[0]["content"]) + len("user")
    more = button(page, f"Show all {whole:,} characters")
    more.click()
    assert "xEND</pre>" in shown(page)
    more.click()
    assert "END" not in shown(page)
    the(widgets.Select, page).value = 1
    assert more.layout.display == "none"


def test_a_long_answer_is_cut_until_all_of_it_is_asked_for() -> None:
    page = opened(trace_explorer(trace(text="y" * 50_000 + "END")), "Answer")
    assert "END" not in shown(page)
    button(page, "Show all").click()
    assert "END" in shown(page)


def test_never_more_is_sent_than_a_browser_bears() -> None:
    messages = [{"role": "user", "content": "z" * 1_000_000} for _ in range(8)]
    page = opened(trace_explorer(trace(proposal(0, "short", messages=messages))), "Proposals")
    button(page, "Show up to").click()
    assert 1_500_000 < len(shown(page)) < SENT_CHARS + 50_000


@pytest.mark.parametrize(
    ("lengths", "most", "limit"),
    [([], 10, 0), ([3, 4], 10, 4), ([100, 2], 10, 8), ([100, 100], 10, 5), ([7, 1, 100, 100], 20, 6)],
)
def test_widest_limit_fills_what_may_be_sent(lengths: list[int], most: int, limit: int) -> None:
    assert widest_limit(lengths, most) == limit
    assert sum(min(length, limit) for length in lengths) <= most


def test_answers_stand_side_by_side_a_page_at_a_time() -> None:
    run = trace(
        proposal(0, "failed first", status="error", error_type="E", error_message="broke"),
        *(proposal(seat, f"text{seat:02}", attempt=int(seat == 0)) for seat in range(8)),
    )
    page = opened(trace_explorer(run), "Proposals")
    mode = the(widgets.ToggleButtons, page)
    mode.value = "Side by side"
    assert [f"text{seat:02}" in shown(page) for seat in range(8)] == [True] * 6 + [False] * 2
    assert "proposer 5" in shown(page)
    assert "failed first" not in shown(page)
    button(page, "Previous").click()
    assert "text00" in shown(page)
    button(page, "Next").click()
    assert [f"text{seat:02}" in shown(page) for seat in range(8)] == [False] * 6 + [True] * 2
    assert "7 to 8 of 8" in [one.value for one in inside(page) if isinstance(one, widgets.Label)]
    button(page, "Next").click()
    assert "text07" in shown(page)
    button(page, "Previous").click()
    assert "text00" in shown(page)
    mode.value = "One at a time"
    assert "broke" in shown(page)
    assert "text00" not in shown(page)


def test_what_failed_says_why_side_by_side() -> None:
    run = trace(proposal(0, "fine"), call(call_id="f", seat=1, status="timeout", error_message="too late"))
    page = opened(trace_explorer(run), "Proposals")
    the(widgets.ToggleButtons, page).value = "Side by side"
    assert "too late" in shown(page)


def test_changes_tab_leads_with_the_proposal_that_the_answer_leans_on() -> None:
    run = moa("something else entirely", "the sky is dark", answer="the sky is very dark")
    page = opened(trace_explorer(run), "Changes")
    choice = the(widgets.Select, page)
    shares = [label.split(" ·")[0].strip("\u2007") for label, _ in choice.options]
    assert shares == ["0% kept", "80% kept"]
    assert choice.value == 1
    assert '<ins class="cl-ins"> very</ins>' in shown(page)
    assert "80% of the words" in shown(page)
    choice.value = 0
    assert '<del class="cl-del">something else entirely</del>' in shown(page)


def test_long_proposals_are_compared_when_they_are_chosen() -> None:
    run = moa(*(f"begin{seat} " + "word " * 60_000 for seat in range(12)), answer="begin7 word")
    page = opened(trace_explorer(run), "Changes")
    choice = the(widgets.Select, page)
    assert [label.startswith("not compared") for label, _ in choice.options] == [False] * 3 + [True] * 9
    choice.value = 7
    assert "100% of the words" in shown(page)


@pytest.mark.parametrize(
    "run",
    [
        trace(aggregation("the answer"), text="the answer"),
        trace(proposal(0, "one"), status="error", error_type="QuorumError", error_message="too few"),
        trace(proposal(0, "", status="error"), aggregation("the answer"), text="the answer"),
    ],
    ids=["no proposal", "no answer", "no good proposal"],
)
def test_without_something_to_compare_there_is_no_changes_tab(run: Trace) -> None:
    assert "Changes" not in tabs(trace_explorer(run)).titles


def council() -> Trace:
    opinions = [
        call(call_id=f"o{seat}", strategy="council", stage="opinions", role="member", seat=seat,
             request_model=f"openai/m{seat}", text=f"opinion {seat}")
        for seat in range(3)
    ]  # fmt: skip
    reviews = [
        call(
            call_id=f"r{seat}", strategy="council", stage="review", role="reviewer", seat=seat, text="B first"
        )
        for seat in range(2)
    ]
    ballots = [
        Ballot(reviewer=0, call_id="r0", labels=["Response A", "Response B"], members=[1, 2],
               ranking=["Response B", "Response A"], status="valid"),
        Ballot(reviewer=1, call_id="r1", labels=["Response A", "Response B"], members=[2, 0],
               status="invalid"),
    ]  # fmt: skip
    standings = [
        Standing(member=2, label="Response C", place=1, borda=1.0, mean_rank=1.0, ballots=1),
        Standing(member=1, label="Response B", place=2, borda=0.0, mean_rank=2.0, ballots=1),
    ]
    final = call(call_id="s", stage="synthesis", role="chairman", text="synthesis")
    calls = [*opinions, *reviews, final]
    return trace(*calls, strategy="council", ballots=ballots, standings=standings, text="opinion")


def test_a_council_has_its_ballots_and_says_who_was_behind_the_labels() -> None:
    explorer = trace_explorer(council())
    assert list(tabs(explorer).titles) == [
        "Answer", "Opinions (3)", "Review (2)", "Synthesis", "Changes", "Table", "Timeline", "Ballots"
    ]  # fmt: skip
    page = shown(opened(explorer, "Ballots"))
    assert "Standings" in page
    assert "openai/m2" in page
    assert "invalid" in page
    assert "Response A</bdi> = <bdi>member 2 openai/m1" in shown(opened(explorer, "Review"))
    assert fault(explorer) == ""


def test_a_verdict_is_in_the_header_and_its_votes_below_the_answer() -> None:
    votes = [Vote(member=seat, call_id=f"o{seat}", choice="yes", status="valid") for seat in range(3)]
    verdict = Verdict(options=["yes", EVIL], choice="yes", confidence=0.8, status="valid", votes=votes)
    explorer = trace_explorer(council().model_copy(update={"verdict": verdict}))
    head = explorer.children[0].value
    assert "Verdict: <strong><bdi>yes</bdi></strong>" in head
    assert "<bdi>80% sure</bdi>" in head
    assert "<bdi>votes: 3 yes</bdi>, <bdi>0 &lt;script&gt;" in head
    page = shown(opened(explorer, "Answer"))
    assert "Votes (3)" in page
    assert "member 3" in page
    assert fault(explorer) == ""
    assert "Verdict" not in trace_explorer(council()).children[0].value


def test_the_ballots_by_a_rubric_are_told_with_the_scale_of_the_run() -> None:
    ballot = Ballot(
        reviewer=0, call_id="r0", labels=["Response A"], members=[1], status="valid",
        scores={"Response A": {"correct": 4, "clear": 3}},
    )  # fmt: skip
    config = {"ranking": "mean_score", "rubric": {"scale": [0, 5]}}
    run = council().model_copy(update={"ballots": [ballot], "config": config})
    page = shown(opened(trace_explorer(run), "Ballots"))
    assert ">3.5</td>" in page
    assert "from 0 (worst) to 5 (best)" in page


def nested() -> list[Call]:
    inner = {"call_id": "inner", "stage": "aggregation", "role": "aggregator", "text": "inner answer"}
    deeper = {"call_id": "deeper", "stage": "review", "role": "reviewer", "text": "deeper text"}
    return [
        call(call_id="seat", request_model="composite/moa/b", usage_source="children", text="inner answer"),
        call(call_id="below", parent_call_id="seat", text="below text"),
        call(parent_call_id="below", **deeper),
        call(parent_call_id="seat", **inner),
        aggregation("the answer"),
    ]


def test_calls_of_a_composite_are_listed_below_its_seat() -> None:
    explorer = trace_explorer(trace(*nested(), text="the answer"))
    assert list(tabs(explorer).titles)[:3] == ["Answer", "Proposals", "Aggregation"]
    page = opened(explorer, "Proposals")
    choice = the(widgets.Select, page)
    labels = [label for label, _ in choice.options]
    assert [len(label) - len(label.lstrip("\u00a0")) for label in labels] == [0, 4, 8, 4]
    assert [label.lstrip("\u00a0").startswith("↳") for label in labels] == [False, True, True, True]
    choice.value = 2
    assert "deeper text" in shown(page)
    assert len(the(widgets.Select, opened(explorer, "Changes")).options) == 1


def test_rounds_samples_and_attempts_are_told_apart_in_the_list() -> None:
    run = trace(
        proposal(0, "", status="error", error_type="E"), proposal(0, "a", attempt=1),
        proposal(0, "b", sample=1), proposal(0, "c", round=1),
    )  # fmt: skip
    labels = [label for label, _ in the(widgets.Select, opened(trace_explorer(run), "Proposals")).options]
    assert [label.split(" ·")[0] for label in labels] == [
        "proposer 1", "proposer 1, attempt 2", "proposer 1, sample 2", "proposer 1, round 2"
    ]  # fmt: skip


def test_tool_rounds_are_a_stage_and_tool_calls_may_be_the_answer() -> None:
    asked = [{"id": "1", "type": "function", "function": {"name": "multiply", "arguments": "{}"}}]
    first = aggregation(None, tool_calls=asked, finish_reason="tool_calls")
    tool = call(
        call_id="tool", stage="tool", role="tool", request_model="multiply", text="391", tool_calls=asked
    )
    second = aggregation("the answer", call_id="final2", round=1)
    explorer = trace_explorer(trace(proposal(0, "one"), first, tool, second, text="the answer"))
    assert list(tabs(explorer).titles)[1:5] == ["Proposals", "Aggregation (2)", "Tool", "Changes"]
    assert "391" in shown(opened(explorer, "Tool"))
    bubbled = shown(opened(trace_explorer(trace(proposal(0, "one"), first)), "Answer"))
    assert "multiply" in bubbled


STATES = {
    "no calls": trace(),
    "empty": trace(messages=[]),
    "failed": trace(
        proposal(0, "one"), aggregation(None, status="error", error_type="E", error_message="no"),
        status="error", error_type="E", error_message="no",
    ),
    "cancelled": trace(proposal(0, "", status="cancelled"), status="cancelled"),
    "degraded": trace(proposal(0, "one"), text="one", status="degraded", notes=["the best answer stands in"]),
    "nested": trace(*nested(), text="the answer"),
    "council": council(),
    "own ancestor": trace(call(call_id="x", parent_call_id="x"), call(call_id="y", parent_call_id="x")),
    "images": trace(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_every_trace_can_be_explored(name: str) -> None:
    explorer = trace_explorer(STATES[name])
    for title in tabs(explorer).titles:
        assert shown(opened(explorer, title.split(" (")[0]))
        assert fault(explorer) == ""


def test_a_run_without_an_answer_says_so() -> None:
    assert "No answer" in shown(opened(trace_explorer(STATES["cancelled"]), "Answer"))
    assert "cancelled" in trace_explorer(STATES["cancelled"]).children[0].value


def test_nothing_that_a_model_wrote_runs_or_hides(made: Callable[[], list[Any]]) -> None:
    evil: dict[str, Any] = {
        "text": EVIL, "reasoning": EVIL, "request_model": EVIL, "response_model": EVIL, "seat_name": EVIL,
        "role": EVIL, "provider": EVIL, "error_type": EVIL, "error_message": EVIL, "finish_reason": EVIL,
        "messages": [{"role": EVIL, "content": EVIL}], "params": {EVIL: EVIL},
        "tool_calls": [{"function": {"name": EVIL, "arguments": EVIL}}],
    }  # fmt: skip
    calls = [
        call(stage=stage, call_id=f"{stage}{seat}", seat=seat, status=status, **evil)
        for stage in ("proposals", EVIL, "review", "aggregation", "tool")
        for seat, status in enumerate(["ok", "error", "ok"])
    ]
    ballot = {"labels": [EVIL, "B"], "members": [0, 1], "ranking": ["B", EVIL], "status": "valid"}
    run = trace(
        *calls, text=EVIL, reasoning=EVIL, model=EVIL, notes=[EVIL], status="degraded", strategy=EVIL,
        ballots=[Ballot(reviewer=0, call_id="review0", **ballot)],
        standings=[Standing(member=0, label=EVIL, place=1, borda=None, mean_rank=None, ballots=0)],
        messages=[{"role": "user", "content": EVIL}],
    )  # fmt: skip
    explorer = trace_explorer(run)
    pages: list[str] = []

    def look() -> None:
        pages.extend(one.value for one in made() if isinstance(one, widgets.HTML))
        assert fault(explorer) == ""

    for place in range(len(tabs(explorer).titles)):
        tabs(explorer).selected_index = place
        look()
    for choice in [one for one in made() if isinstance(one, widgets.Select)]:
        for value in range(len(choice.options)):
            choice.value = value
            look()
    for mode in [one for one in made() if isinstance(one, widgets.ToggleButtons)]:
        mode.value = "Side by side"
        look()
    everything = "".join(pages)
    assert everything.count("&lt;script&gt;") > 1_000
    assert "<script" not in everything
    assert "<img" not in everything
    # A title or an option is text for a browser, whatever it looks like.
    plain = [text for one in made() if isinstance(one, widgets.Select) for text, _ in one.options]
    plain += tabs(explorer).titles
    assert sum("<script>" in text for text in plain) > 10
    assert not {"\n"} & set("".join(plain))
    assert not {"\u202e", "\x1b", "\ud800"} & set(everything + "".join(plain))


def test_a_fault_of_the_explorer_is_shown_in_it() -> None:
    broken = moa("one", "two").model_copy(update={"reasoning": 5})
    explorer = trace_explorer(broken)
    assert "This could not be shown" in fault(explorer)
    assert 'role="alert"' in fault(explorer)
    assert "one" in shown(opened(explorer, "Proposals"))
    assert fault(explorer) == ""


def test_a_fault_is_escaped_and_goes_with_the_next_success() -> None:
    faults = Faults()

    def fail(reason: str) -> None:
        if reason:
            raise ValueError(reason)

    faults.shown(fail)(EVIL)
    assert "ValueError: &lt;script&gt;" in faults.pane.value
    assert "<script" not in faults.pane.value
    assert faults.pane.layout.display is None
    faults.shown(fail)("")
    assert faults.pane.value == ""
    assert faults.pane.layout.display == "none"


def test_every_widget_is_native_and_named_for_those_who_do_not_see_it() -> None:
    explorer = trace_explorer(moa(*(f"text {seat}" for seat in range(9))))
    for title in tabs(explorer).titles:
        opened(explorer, title.split(" (")[0])
    the(widgets.ToggleButtons, explorer).value = "Side by side"
    found = list(inside(explorer))
    assert {type(one).__name__ for one in found} == NATIVE
    for one in found:
        if isinstance(one, widgets.Button | widgets.Select | widgets.ToggleButtons):
            assert one.description
        if isinstance(one, widgets.Button) and one.layout.display != "none":
            assert one.tooltip


def test_a_real_council_can_be_explored_to_the_last_call(
    seat: Callable[..., lab.Seat], endpoint: dict[str, str]
) -> None:
    inner = lab.Seat(model="composite/moa/openai/c", **endpoint)
    members = [seat("a"), seat("b+status=500+times=1"), inner]
    result = lab.Council(chairman=seat("chair"), members=members, retries=1).run("Why?")
    explorer = trace_explorer(result.trace)
    listed = 0
    for title in tabs(explorer).titles:
        page = opened(explorer, title.split(" (")[0])
        choices = [one for one in inside(page) if isinstance(one, widgets.Select)]
        if title.startswith(("Opinions", "Review")):
            listed += len(choices[0].options)
        for choice in choices:
            for value in range(len(choice.options)):
                choice.value = value
                assert fault(explorer) == ""
    assert listed + 1 == len(result.trace.calls)
    assert "Ballots" in tabs(explorer).titles
    assert result.text in html.unescape(shown(opened(explorer, "Synthesis")))
