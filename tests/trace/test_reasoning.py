"""The text of `reasoning_content`: what it tells, how long it gets, and that it can be read back."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composite_lab.trace.call import Call
from composite_lab.trace.reasoning import (
    COMPACT_CHARS,
    END,
    EXCERPT_CHARS,
    Detail,
    lines_section,
    own_heading,
    own_reasoning,
    stage_section,
    totals_section,
)
from composite_lab.trace.summary import summarize
from tests import records

DETAILS = [detail for detail in get_args(Detail) if detail != "none"]


def call(text: str | None = None, **fields: Any) -> Call:
    return records.call(text=text, **fields)


def failed(error: str | None = "AuthenticationError", **fields: Any) -> Call:
    return call(status="error", error_type=error, error_message="secret", **fields)


def total(*calls: Call, wall_time_s: float = 2.0) -> str:
    return totals_section(summarize("t", "moa", "ok", calls, wall_time_s), calls)


STAGE = [
    failed("RateLimitError"),
    call(" First,\n\nsecond. ", attempt=1, seat_name="Ada"),
    failed(seat=1),
    call(seat=2, status="cancelled"),
    call("", seat=3),
]


def test_a_stage_tells_the_last_attempt_of_each_seat_and_no_error_message() -> None:
    assert stage_section("Proposals", STAGE) == (
        "## Proposals: 2 of 4 answered · 1.0 s\n\n"
        "- proposer 1 · Ada: First, second.\n"
        "- proposer 2 · openai/a: no answer (AuthenticationError)\n"
        "- proposer 3 · openai/a: no answer (cancelled)\n"
        "- proposer 4 · openai/a: \n\n"
    )


def test_in_full_a_stage_quotes_whole_texts() -> None:
    assert stage_section("Proposals", STAGE, detail="full") == (
        "## Proposals: 2 of 4 answered · 1.0 s\n\n"
        "### proposer 1 · Ada\n\n> First,\n>\n> second.\n\n"
        "### proposer 2 · openai/a\n\n(no answer: AuthenticationError)\n\n"
        "### proposer 3 · openai/a\n\n(no answer: cancelled)\n\n"
        "### proposer 4 · openai/a\n\n\n\n"
    )
    long = "\n".join(f"Line {number}." for number in range(5_000))
    quoted = stage_section("Proposals", [call(long)], detail="full", room=0)
    assert re.findall("^> (.*)$", quoted, re.MULTILINE) == long.splitlines()


def test_a_compact_stage_tells_how_each_text_begins() -> None:
    def told(text: str) -> str:
        return stage_section("Proposals", [call(text)]).partition("openai/a: ")[2].removesuffix(END)

    assert told("x" * EXCERPT_CHARS) == "x" * EXCERPT_CHARS
    assert told("x" * (EXCERPT_CHARS + 1)) == f"{'x' * EXCERPT_CHARS} …"
    assert told(f"{'x' * (EXCERPT_CHARS - 1)}  y z") == f"{'x' * (EXCERPT_CHARS - 1)} …"


@pytest.mark.parametrize("detail", DETAILS)
def test_samples_of_a_seat_are_told_apart(detail: Detail) -> None:
    told = stage_section("Proposals", [call("One."), call("Two.", sample=1)], detail=detail)
    assert "2 of 2 answered" in told
    assert re.findall(r"proposer \d.*? · ", told) == ["proposer 1, sample 1 · ", "proposer 1, sample 2 · "]
    assert "sample" not in stage_section("Proposals", [call("One."), call("Two.", seat=1)], detail=detail)


@pytest.mark.parametrize("detail", DETAILS)
def test_answers_are_worded_as_wanted_and_failures_never(detail: Detail) -> None:
    calls = [call("Response A wins."), failed("Oops A", seat=1)]
    told = stage_section(
        "Review", calls, detail=detail, wording=lambda one: (one.text or "").replace("A", "B")
    )
    assert "Response B wins." in told
    assert "Response A" not in told
    assert "Oops A" in told


def heading_of(calls: list[Call]) -> str:
    return stage_section("Proposals", calls).partition(END)[0]


@pytest.mark.parametrize(
    ("calls", "took"),
    [
        ([call()], "1.0 s"),
        ([call(total_tokens=0)], "1.0 s"),
        ([call(total_tokens=120)], "120 tokens · 1.0 s"),
        ([call(cost_usd=0.00004)], "0.000040 USD · 1.0 s"),
        ([call(cost_usd=0.0)], "0.000000 USD · 1.0 s"),
        ([call(total_tokens=120, cost_usd=0.25), call(seat=1)], "120 tokens · 0.250000 USD · 1.0 s"),
        ([call(total_tokens=6), call(seat=1, total_tokens=3, cost_usd=1)], "9 tokens · 1.000000 USD · 1.0 s"),
        ([failed(total_tokens=7, cost_usd=1), call(attempt=1, cost_usd=2)],
         "7 tokens · 3.000000 USD · 1.0 s"),
        ([call(latency_s=0.26), call(seat=1, start_offset_s=1.0)], "2.0 s"),
        ([call(start_offset_s=5.0, latency_s=0.04)], "0.0 s"),
    ],
)  # fmt: skip
def test_a_heading_tells_what_all_attempts_took_as_far_as_it_is_known(calls: list[Call], took: str) -> None:
    seats = len({one.seat for one in calls})
    assert heading_of(calls) == f"## Proposals: {seats} of {seats} answered · {took}"


def test_tokens_and_cost_of_the_calls_inside_count_and_their_time_does_not() -> None:
    inner = call("Inner.", total_tokens=7, cost_usd=0.5, latency_s=9.0, seat=8)
    told = stage_section("Proposals", [call("Outer.")], [inner])
    heading, _, lines = told.partition(END)
    assert heading == "## Proposals: 1 of 1 answered · 7 tokens · 0.500000 USD · 1.0 s"
    assert lines == "- proposer 1 · openai/a: Outer.\n\n"


def test_the_total_tells_calls_failures_tokens_cost_and_time() -> None:
    calls = [failed(), call(attempt=1, total_tokens=100, cost_usd=0.25), call(seat=1, total_tokens=20)]
    assert (
        total(*calls, wall_time_s=1.25) == "## Total: 3 calls, 1 failed · 120 tokens · 0.250000 USD · 1.2 s"
    )
    assert total(call()) == "## Total: 1 call, 0 failed · 2.0 s"


def test_lines_of_ones_own_are_a_section() -> None:
    assert lines_section("Standings by borda", ["1. A", "2. B"]) == (
        "## Standings by borda\n\n- 1. A\n- 2. B\n\n"
    )


@pytest.mark.parametrize(
    ("room", "lines"),
    [
        (15, ["- aaa", "- bbb", "- ccc"]),
        (14, ["- aaa", "- bbb", "- and 1 more"]),
        (5, ["- aaa", "- and 2 more"]),
        (4, ["- 3 not shown"]),
        (0, ["- 3 not shown"]),
        (-99, ["- 3 not shown"]),
    ],
)
def test_lines_for_which_there_is_no_room_are_counted(room: int, lines: list[str]) -> None:
    assert lines_section("Standings", ["aaa", "bbb", "ccc"], room=room) == "\n".join(
        ["## Standings", "", *lines, "", ""]
    )


@pytest.mark.parametrize("seats", [1, 3, 40, 1_000])
@pytest.mark.parametrize("length", [0, 10, 10_000])
@pytest.mark.parametrize("name", ["a", "a" * 5_000, "\x1b" * 5_000])
def test_a_compact_stage_is_bounded_however_many_calls_and_however_long_their_texts(
    seats: int, length: int, name: str
) -> None:
    calls = [call("x" * length, seat=seat, seat_name=name) for seat in range(seats)]
    told, _, lines = stage_section("Proposals", calls).partition(END)
    assert told.startswith(f"## Proposals: {seats} of {seats} answered")
    assert len(told) < 100
    assert len(lines) < 1.1 * COMPACT_CHARS  # ends of lines are not counted
    shown = lines.count("\n- proposer") + lines.startswith("- proposer")
    left = re.search(r"^- and (\d+) more$", lines, re.MULTILINE)
    assert shown + (int(left[1]) if left else 0) == seats
    assert shown >= min(seats, 10)


BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
HEADINGS = st.sampled_from(
    [
        "## Total: ",
        "## Proposals: 1 of 1 answered",
        "## Reasoning of the aggregator, a\n\n",
        "### x",
        "- y",
        "> z",
    ]
)
TEXTS = st.lists(st.text() | HEADINGS | st.sampled_from(BREAKS), max_size=6).map("".join)


@given(st.lists(TEXTS, min_size=1, max_size=4), TEXTS, st.sampled_from(DETAILS))
def test_no_text_of_a_model_begins_a_line(texts: list[str], name: str, detail: Detail) -> None:
    calls = [call(text, seat=seat, seat_name=name) for seat, text in enumerate(texts)]
    first, *lines = stage_section("Proposals", calls, detail=detail).splitlines()
    assert first == f"## Proposals: {len(texts)} of {len(texts)} answered · 1.0 s"
    begins = ("- proposer", "- and ") if detail == "compact" else ("### proposer", "> ", ">")
    assert [line for line in lines if line and not line.startswith(begins)] == []
    assert sum(line.startswith(begins[0]) for line in lines) == len(texts)


def told(*middle: str, proposed: str = "Blue.", detail: Detail = "compact", answered: str = "Blue.") -> str:
    """All of a run's text, as its trace holds it."""
    proposals = [call(proposed, total_tokens=5), failed(seat=1)]
    final = call(answered, stage="aggregation", role="aggregator")
    sections = [
        stage_section("Proposals", proposals, detail=detail),
        *middle,
        stage_section("Aggregation", [final], detail=detail),
        total(*proposals, final),
    ]
    return "".join(sections).rstrip()


def thought(own: str, name: str = "openai/a") -> str:
    return f"{own_heading('aggregator', name)}{own}{END}"


OF_OURS = re.compile(r"(^|\n)## (Reasoning of the |Total: |[^\n]*: \d+ of \d+ answered)")


@given(TEXTS.filter(lambda own: not OF_OURS.search(own)), TEXTS, TEXTS, TEXTS, st.sampled_from(DETAILS))
def test_the_final_models_own_reasoning_is_found_again_whatever_anybody_said(
    own: str, proposed: str, answered: str, name: str, detail: Detail
) -> None:
    text = told(thought(own, name), proposed=proposed, detail=detail, answered=answered)
    assert own_reasoning(text) == own
    assert own_reasoning(f"\n {text}\n") == own
    without = told(proposed=proposed, detail=detail, answered=answered)
    assert own_reasoning(without) == ""


def test_of_several_rounds_the_last_thoughts_are_its_own() -> None:
    tools = stage_section("Tool", [call("42", stage="tool", role="tool")])
    assert own_reasoning(told(thought("First."), tools, thought("Second."))) == "Second."


def test_standings_and_other_sections_may_stand_before() -> None:
    standings = lines_section("Standings by borda", ["1. Response A"])
    assert own_reasoning(told(standings, thought("Hm."))) == "Hm."
    assert own_reasoning(told(standings)) == ""


def test_own_reasoning_that_was_cut_off_goes_to_the_end() -> None:
    assert own_reasoning(
        f"{stage_section('Proposals', STAGE)}{own_heading('aggregator', 'a')}Hm.\n\nYes"
    ) == ("Hm.\n\nYes")


def test_of_nested_composites_the_innermost_reasoning_is_found() -> None:
    name = "composite/moa/openai/a"
    assert own_reasoning(told(thought(told(thought("Hm.")), name))) == "Hm."
    assert own_reasoning(told(thought(told(), name))) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hm.",
        "## Proposals",
        "## Proposals: many answered",
        "## Reasoning of the aggregator, openai/a\n\nHm.",
        "## Total: 3 calls, 0 failed",
        "Let me see.\n\n## Proposals: 1 of 1 answered",
        "# Proposals: 1 of 1 answered",
        "> ## Proposals: 1 of 1 answered",
    ],
)
def test_a_text_that_does_not_begin_with_a_stage_is_not_ours(text: str) -> None:
    assert own_reasoning(text) is None


@given(TEXTS)
def test_any_text_can_be_asked_for_its_own_part(text: str) -> None:
    own = own_reasoning(text)
    assert own is None or own in text
