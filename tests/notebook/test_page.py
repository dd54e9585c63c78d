"""Runs as static pages: all is there, nothing of it runs, and no page is too large for a notebook."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import composite_lab as lab
from composite_lab import Ballot, Result, Trace
from composite_lab.notebook import page
from composite_lab.notebook.calls_table import selected
from composite_lab.notebook.document import PAGE_BYTES
from composite_lab.trace.verdict import Verdict, Vote
from tests.conftest import SeatMaker
from tests.notebook.pages import HOSTILE, TAGS, Elements, call, filled, trace


def judged(text: str) -> Trace:
    """A run with this text in every place of its ballots by a rubric and of its verdict."""
    scores = {text: {text: 5.0, "B": 6.0}, "B": {text: 7.0}}
    ballot = Ballot(
        reviewer=0, own=0, call_id="a", labels=[text, "B"], members=[0, 1], scores=scores, status="repaired",
        problem=text, source=text,
    )  # fmt: skip
    votes = [
        Vote(member=0, call_id="a", choice=text, confidence=0.5, status="invalid", problem=text),
        Vote(member=1, call_id="b", choice=f"{text}{text}", status="valid"),
    ]
    verdict = Verdict(options=[text, "B"], choice=text, confidence=0.5, status="repaired", problem=text,
                      votes=votes)  # fmt: skip
    config = {"ranking": text, "rubric": {"criteria": {text: text}, "scale": [text, text]}, "verdict": [text]}
    return filled(text).model_copy(update={"ballots": [ballot], "verdict": verdict, "config": config})


def pages(shown: Trace) -> Iterator[str]:
    yield page.trace_page(shown)
    yield page.result_page(Result(text=shown.text or "", message={}, trace=shown))
    yield page.failures(shown)
    yield page.ballots_page(shown.ballots)


@pytest.mark.parametrize("made", [filled, judged])
def test_hostile_text_becomes_no_element_and_no_attribute(made: Callable[[str], Trace]) -> None:
    tame = made("x")
    for hostile, plain in zip(pages(made(HOSTILE)), pages(tame), strict=True):
        found, expected = Elements(hostile), Elements(plain)
        assert set(found.tags) <= TAGS
        assert {name for name, _ in found.attributes} <= {"class", "style", "dir", "open"}
        assert (found.tags, found.attributes) == (expected.tags, expected.attributes)
        assert not set("\x00\x1b\u202e\u2066\ud800") & set(hostile)
        hostile.encode()


def test_hostile_text_is_shown_as_it_was_written() -> None:
    text = Elements(page.trace_page(filled(HOSTILE))).text
    assert text.count("<script>alert(1)</script><img src=x onerror=alert(1)>") > 20
    assert "␛[2J␀⟨U+202E⟩⟨U+2066⟩⟨U+D800⟩" in text


def test_nothing_on_a_page_is_typeset() -> None:
    for shown in pages(filled("$x$")):
        frames = [text for text in re.split(r"<style>.*?</style>", shown, flags=re.DOTALL) if text]
        assert frames
        assert all(text.startswith('<div class="cl-root tex2jax_ignore mathjax_ignore">') for text in frames)


@pytest.mark.parametrize(
    ("calls", "text"),
    [
        (100, "x" * 100_000), (1_000, "<" * 5_000), (1_000, "ä漢😀" * 1_000), (1_000, "\u202e" * 1_000),
        (5_000, ""),
    ],
    ids=["long", "escaped", "wide", "invisible", "many"],
)  # fmt: skip
def test_a_page_stays_small_whatever_the_run(calls: int, text: str) -> None:
    name = text[:200] or "openai/x"
    each = {"text": text, "messages": [{"role": "user", "content": text}] * 2, "request_model": name}
    states = ("ok", "ok", "error")
    made = [
        call(f"c{n}", seat=n, **each, status=states[n % 3], error_message=text, params={"stop": text})
        for n in range(calls - 1)
    ]
    final = call("final", stage="aggregation", role="aggregator", text="the end")
    run = trace(*made, final, text=text, notes=[text] * 50, messages=[{"role": "user", "content": text}])
    for shown in (page.trace_page(run), page.failures(run)):
        assert len(shown.encode()) <= PAGE_BYTES == 400_000
        Elements(shown)
    whole = Elements(page.trace_page(run)).text
    assert "trace.to_dataframe(include_text=True)" in whole
    assert "aggregator 1" in whole
    assert "error" in whole
    assert len(page.trace_page(run)) > 60_000, "much less than there is room for"


def test_a_page_of_many_ballots_and_votes_stays_small_and_counts_what_it_leaves_out() -> None:
    long = "<" * 5_000
    labels = [f"{n}{long}" for n in range(60)]
    scores = {shown: {f"{n}{long}": 5.0 for n in range(20)} for shown in labels}
    ballots = [
        Ballot(
            reviewer=n, labels=labels, members=list(range(60)), scores=scores, status="repaired", problem=long
        )
        for n in range(60)
    ]
    options = [f"{n}{long}" for n in range(500)]
    votes = [Vote(member=n, call_id="", choice=options[n], status="valid", problem=long) for n in range(500)]
    verdict = Verdict(
        options=options, choice=long, confidence=0.5, status="repaired", problem=long, votes=votes
    )
    run = trace(call(text="short"), text="short", ballots=ballots, verdict=verdict)
    shown = page.trace_page(run)
    assert len(shown.encode()) <= PAGE_BYTES
    text = Elements(shown).text
    assert "short" in text
    assert "30 more candidates and 30 more reviewers." in text
    assert "8 more criteria." in text
    assert "400 more votes." in text
    assert "492 for other options" in text
    assert len(page.ballots_page(ballots).encode()) <= PAGE_BYTES


def test_where_calls_are_left_out_every_stage_and_the_final_call_stay() -> None:
    wide = [call(f"w{n}", seat=n) for n in range(500)]
    failed = [call(f"e{n}", seat=n, status="error") for n in range(500)]
    rounds = [call(f"r{n}", stage="refinement", round=n) for n in range(500)]
    final = call("final", stage="aggregation")
    kept = selected([*wide, *failed, *rounds, final], 40)
    assert len(kept) == 40
    assert {call.call_id[0] for call in kept} == {"w", "e", "r", "f"}
    assert kept[-1] is final


def test_calls_below_a_call_that_is_left_out_are_left_out_with_it() -> None:
    calls = [call("final", stage="aggregation")]
    for n in range(50):
        calls += [call(f"p{n}", seat=n), call(f"c{n}", parent_call_id=f"p{n}")]
    kept = {call.call_id for call in selected(calls, 20)}
    assert kept
    assert {f"p{call_id[1:]}" for call_id in kept if call_id[0] == "c"} <= kept


def test_a_usual_run_is_there_in_full(seat: SeatMaker) -> None:
    long = "word " * 1_000
    members = [seat(f"m{n}+text={long}") for n in range(3)]
    result = lab.Council(chairman=seat("chair"), members=members, repairs=0).run("Why is the sky dark?")
    assert len(result.trace.calls) == 7
    for shown in (page.trace_page(result.trace), page.result_page(result)):
        text = Elements(shown).text
        assert "more characters" not in text
        assert "include_text" not in shown
        for one in result.trace.calls:
            assert one.text is not None
            assert one.text in text
            assert all(part["text"] in text for m in one.messages for part in parts_of(m["content"]))
        assert [f"{stage} " in text for stage in ("Opinions", "Review", "Synthesis")] == [True] * 3


def parts_of(content: Any) -> list[dict[str, str]]:
    return [{"text": content}] if isinstance(content, str) else content


def test_a_stage_opens_and_the_first_is_open() -> None:
    shown = page.trace_page(
        trace(call("a"), call("b", round=1), call("c", stage="tool"), call("d", stage="aggregation"))
    )
    stages = re.findall(r'<details class="cl-stage"( open)?><summary><strong>(.*?)</strong>', shown)
    assert stages == [(" open", "Proposals"), ("", "Proposals, round 2"), ("", "Tool"), ("", "Aggregation")]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"status": "error", "error_type": "QuorumError", "error_message": "too few"},
            "This run failed: QuorumError\ntoo few",
        ),
        ({"status": "cancelled"}, "This run was cancelled"),
        (
            {"status": "degraded", "notes": ["only one came"]},
            "lesser way than the strategy promises:\nonly one came",
        ),
    ],
    ids=["error", "cancelled", "degraded"],
)  # fmt: skip
def test_a_run_that_went_otherwise_than_planned_says_so_on_top(fields: dict[str, Any], told: str) -> None:
    text = Elements(page.trace_page(trace(call(text="an answer"), **fields))).text
    assert told in text
    assert text.index(told) < text.index("an answer")


def test_calls_of_a_composite_stand_inside_of_its_call() -> None:
    run = trace(
        call("outer", seat_name="outer"), call("inner", seat_name="inner", parent_call_id="outer"),
        call("deep", seat_name="deep", parent_call_id="inner"), call("next", seat_name="next"),
    )  # fmt: skip
    depth, found = 0, {}
    for tag in re.findall(
        r'<details class="cl-call"|<details|</details>|<bdi>(?:outer|inner|deep|next)</bdi>',
        page.trace_page(run),
    ):
        depth += tag.startswith("<details") - (tag == "</details>")
        if tag.startswith("<bdi>"):
            found.setdefault(tag[5:-6], depth)
    assert found == {"outer": 2, "inner": 3, "deep": 4, "next": 2}
    indents = re.findall(r"<td>([^<]*)proposer 1</td>", page.calls_table(run.calls))
    assert indents == ["", "↳ ", "&emsp;↳ ", ""]


def test_calls_that_are_their_own_ancestors_are_shown_once() -> None:
    run = trace(call("a", parent_call_id="b"), call("b", parent_call_id="a"), call("c", parent_call_id="c"))
    assert page.trace_page(run).count('<details class="cl-call"') == 3


def test_colours_come_from_the_theme_or_let_it_through() -> None:
    sheet = re.sub(r"/\*.*?\*/", "", page.style(), flags=re.DOTALL)
    assert all("," in theirs for theirs in re.findall(r"var\(--jp-[^)]*\)", sheet)), "a fallback is missing"
    backgrounds = re.findall(r"background: ([^;]+);", sheet)
    assert backgrounds
    assert all(re.search(r"0?\.\d+\)|none", background) for background in backgrounds)
    inks = re.findall(r"[^-]color: ([^;]+);", sheet.replace("border-color", ""))
    assert inks == ["var(--cl-ink)", *["inherit"] * 4, "var(--jp-ui-font-color1, inherit)"]
