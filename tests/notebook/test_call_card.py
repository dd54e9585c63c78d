"""One call and many as HTML fragments: titles, cards, tables, bars."""

from __future__ import annotations

import re

from composite_lab.notebook import page
from tests.notebook.pages import HOSTILE, Elements, call, trace


def test_a_failed_call_shows_its_error_where_it_stands() -> None:
    failed = call(status="error", error_type="RateLimitError", error_message="come back later")
    card = Elements(page.call_card(failed)).text
    assert card.startswith("error: RateLimitError\ncome back later")
    assert "RateLimitError" in page.call_title(failed)
    row = re.search(
        r"<tbody><tr>(.*?)</tr>",
        page.failures(trace(call("ok"), failed.model_copy(update={"attempt": 1}))),
        re.DOTALL,
    )
    assert row is not None
    cells = [Elements(cell).text.strip() for cell in re.findall(r"<td>(.*?)</td>", row[1], re.DOTALL)]
    assert cells == ["proposer 1", "openai/x", "2", "error: RateLimitError", "come back later", "0.31 s"]
    assert "No call failed" in page.failures(trace(call()))


def test_a_title_is_one_line_of_plain_facts() -> None:
    title = page.call_title
    assert (
        title(call(total_tokens=120, cost_usd=0.0002))
        == "proposer 1 · openai/x · 0.31 s · 120 tokens · 0.000200 USD"
    )
    again = call(seat=1, sample=2, attempt=1, status="timeout", error_type="CallTimeout")
    assert (
        title(again)
        == "proposer 2, sample 3, attempt 2 · openai/x · 0.31 s · cost unknown · timeout: CallTimeout"
    )
    assert title(call()) == "proposer 1 · openai/x · 0.31 s · tokens unknown · cost unknown"
    assert len(title(call(seat_name=HOSTILE * 9, role="a\nb")).splitlines()) == 1


def test_what_is_unknown_is_never_a_zero() -> None:
    cells = re.findall(r"<td>(.*?)</td>", page.calls_table([call()]))
    assert cells[3:6] == ["unknown"] * 3
    head = Elements(page.facts(trace(call()))).text
    assert "tokens unknown" in head
    assert "cost unknown" in head
    assert "5 tokens" in Elements(page.facts(trace(call(), call("b", total_tokens=5)))).text
    assert "(+ 1 call of unknown price)" in page.facts(trace(call(), call("b", cost_usd=0.5)))


def test_a_cancelled_call_has_not_failed() -> None:
    ended = [call(str(seat), status=status) for seat, status in enumerate(("ok", "error", "cancelled"))]
    assert " · 1 failed · 1 cancelled · " in Elements(page.facts(trace(*ended))).text
    assert "1 call · 1 cancelled · " in Elements(page.facts(trace(ended[2]))).text


def test_bars_are_percents_of_the_run_and_mark_the_critical_path() -> None:
    calls = [
        call("a", latency_s=1.0),
        call("b", seat=1, latency_s=3.0),
        call("c", stage="aggregation", start_offset_s=3.0, latency_s=1.0),
    ]
    shown = page.timeline(calls)
    assert re.findall(r"margin-left:([\d.]+)%;width:([\d.]+)%", shown) == [
        ("0.0", "25.0"),
        ("0.0", "75.0"),
        ("75.0", "25.0"),
    ]
    assert re.findall(r"<tr><td>(◆ )?\w+", shown) == ["", "◆ ", "◆ "]
    assert shown.count("cl-bar cl-ok cl-critical") == 2
    assert Elements(shown).text.startswith("0.00 s 1.00 s 2.00 s 3.00 s 4.00 s ")
    assert "No calls" in page.timeline([])
