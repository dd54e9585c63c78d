"""A comparison, or the forecast of one, as static HTML: the strategies, how they differ, what failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import pandas as pd

from composite_lab.batch import evidence
from composite_lab.batch.comparison import Comparison
from composite_lab.batch.estimate import Forecast
from composite_lab.batch.runs import FINISHED, UNDONE, Row
from composite_lab.notebook.document import SEPARATOR, Bounds, details, fitted, joined, name, row
from composite_lab.notebook.text import UNKNOWN, escaped, one_line, pre, seconds, usd

DASH = "—"
FAILURES = ("strategy", "prompt", "error", "message")
FORECAST = ("strategy", "calls to send", "calls in the store", "prompt tokens", "completion tokens", "USD")
COUNTS = ("calls", "kept_calls", "prompt_tokens", "completion_tokens")
MESSAGE_CHARS = 1_000


def comparison_page(comparison: Comparison) -> str:
    """A comparison as a static page: totals, a table of strategies, the differences, the failures."""
    top = overview(comparison)
    failed = [one for one in planned_rows(comparison) if one.status == "error"]

    def parts(bounds: Bounds) -> Iterator[str]:
        yield top
        if failed:
            shown = failed[: bounds.entries]
            of_all = f" of {len(failed):,}" if len(shown) < len(failed) else ""
            found = failures(comparison, shown, min(bounds.characters, MESSAGE_CHARS))
            yield details(f"Failures ({len(shown):,}{of_all})", found)

    return fitted(parts)


def forecast_page(forecast: Forecast) -> str:
    """A forecast as a small table."""
    cost = "cost unknown" if forecast.cost_usd is None else usd(forecast.cost_usd)
    totals = joined([f"{forecast.calls:,} calls to send", cost])
    assumed = f'<p class="cl-meta">Nothing was sent; {escaped(one_line(forecast.assumption, 200))}.</p>'
    rows = [
        row(
            [
                name(str(one["strategy"])),
                *(f"{one[column]:,}" for column in COUNTS),
                _usd(one["cost_usd"]),
            ]
        )
        for one in forecast.frame.to_dict("records")
    ]  # fmt: skip
    head = f'<p class="cl-facts"><strong>Forecast</strong><br>{totals}</p>'

    def parts(bounds: Bounds) -> Iterator[str]:
        yield head
        yield _table(FORECAST, rows[: bounds.entries])
        yield assumed

    return fitted(parts)


def overview(comparison: Comparison) -> str:
    """Totals, the table of strategies, and their differences from the baseline with verdicts, as HTML."""
    frame = evidence.scored_frame(comparison)
    told = _totals(comparison, frame) + _strategies(evidence.summary(comparison, frame).to_dict("records"))
    if comparison.scorer is None:
        return told + '<p class="cl-note">There is no scorer, so nothing says which answers are better.</p>'
    found = evidence.differences(comparison, frame=frame).to_dict("records")
    return told + (_differences(comparison.baseline, found) if found else "")


def planned_rows(comparison: Comparison) -> Iterator[Row]:
    """What became of every run of the plan, prompt by prompt; also of those that nobody came to."""
    plan = comparison.plan
    for prompt in plan.prompts:
        for repeat in range(plan.repeats):
            for strategy in plan.strategies:
                found = comparison.rows.get((strategy, prompt.id, repeat))
                yield found or Row(strategy, prompt.id, repeat, "", UNDONE, False)


def failures(comparison: Comparison, rows: Iterable[Row], limit: int) -> str:
    """A table of runs that failed or are undone, with their errors."""
    lines = []
    for one in rows:
        facts = (comparison.store.run_facts(one.key) if one.key else None) or {}
        kind = facts.get("error_type") or ("never begun" if one.status == UNDONE else one.status)
        message = facts.get("error_message")
        cells = [name(one.name), name(_which(one)), name(kind), pre(message, limit) if message else ""]
        lines.append(_row(cells, words=range(1, 4)))
    return _table(FAILURES, lines, words=range(1, 4))


def run_facts_line(facts: dict[str, Any], score: float | None) -> str:
    """Score, price, latency and tokens of one run, as HTML."""
    told = "not scored" if score is None else f"score {score:.3g}"
    tokens = facts.get("total_tokens")
    rest = [
        usd(facts["cost_usd"]) if facts.get("cost_usd") is not None else "cost unknown",
        seconds(facts["latency_s"]) if facts.get("latency_s") is not None else "latency unknown",
        "tokens unknown" if tokens is None else f"{tokens:,} tokens",
    ]
    return f"<strong>{escaped(told)}</strong>{SEPARATOR}{joined(rest)}"


def _totals(comparison: Comparison, frame: pd.DataFrame) -> str:
    counts = frame["status"].value_counts()
    done = sum(int(counts.get(status, 0)) for status in FINISHED)
    failed, undone = int(counts.get("error", 0)), int(counts.get(UNDONE, 0))
    prompts = len(comparison.plan.prompts)
    repeats = f", {comparison.plan.repeats} times each" if comparison.plan.repeats > 1 else ""
    told = [
        f"{prompts:,} prompt{'' if prompts == 1 else 's'}{repeats}",
        f"{done:,} runs finished", f"{failed:,} failed", *([f"{undone:,} undone"] if undone else []),
        f"{comparison.calls_paid:,} calls and {usd(comparison.paid_usd)} paid now",
    ]  # fmt: skip
    return f'<p class="cl-facts"><strong>Comparison</strong><br>{joined(told)}</p>'


def _strategies(rows: Sequence[dict[Any, Any]]) -> str:
    scored = any(_is_known(one["score"]) for one in rows)
    right = any(_is_known(one["usd_per_correct"]) for one in rows)
    undone = any(one["undone"] for one in rows)
    headings = [
        "strategy", *(["score", "95 % interval", "scored"] if scored else []), "USD per run",
        *(["USD per right answer"] if right else []), "p50 (s)", "p90 (s)", "p99 (s)", "tokens per run",
        "failed", *(["undone"] if undone else []),
    ]  # fmt: skip
    lines = []
    for one in rows:
        score = [_number(one["score"]), _interval(one["score_low"], one["score_high"]), f"{one['n']:,}"]
        times = [_number(one[f"latency_{share}_s"], ".2f") for share in ("p50", "p90", "p99")]
        cells = [
            name(str(one["strategy"])), *(score if scored else []), _usd(one["cost_usd"]),
            *([_usd(one["usd_per_correct"])] if right else []), *times,
            f"{one['total_tokens']:,.0f}" if _is_known(one["total_tokens"]) else UNKNOWN,
            f"{one['failures']:,}", *([f"{one['undone']:,}"] if undone else []),
        ]  # fmt: skip
        lines.append(row(cells))
    return _table(headings, lines)


def _differences(baseline: str, rows: Sequence[dict[Any, Any]]) -> str:
    headings = (
        "strategy",
        "difference",
        "95 % interval",
        "p (Holm)",
        "wins",
        "ties",
        "losses",
        "what it shows",
    )
    lines = [
        _row(
            [
                name(str(one["strategy"])), _number(one["difference"], "+.3f"),
                _interval(one["low"], one["high"]), _number(one["p_holm"]),
                *(f"{one[count]:,}" for count in ("wins", "ties", "losses")),
                escaped(str(one["verdict"])),
            ],
            words=(7,),
        )
        for one in rows
    ]  # fmt: skip
    heading = f'<p class="cl-label">Against {name(baseline)}, prompt by prompt</p>'
    return heading + _table(headings, lines, words=(7,))


def _table(headings: Sequence[str], rows: Iterable[str], words: Iterable[int] = ()) -> str:
    cells = "".join(map(partial(_cell, "th", frozenset(words)), range(len(headings)), map(escaped, headings)))
    head = (
        f'<div class="cl-wide"><table class="cl-table cl-comparison"><thead><tr>{cells}</tr></thead><tbody>'
    )
    return f"{head}{''.join(rows)}</tbody></table></div>"


def _row(cells: Sequence[str], words: Iterable[int]) -> str:
    """A row in which these columns hold words, not numbers."""
    return f"<tr>{''.join(map(partial(_cell, 'td', frozenset(words)), range(len(cells)), cells))}</tr>"


def _cell(tag: str, words: frozenset[int], position: int, content: str) -> str:
    kind = ' class="cl-words"' if position in words else ""
    return f"<{tag}{kind}>{content}</{tag}>"


def _which(one: Row) -> str:
    return f"{one.prompt}, repeat {one.repeat + 1}" if one.repeat else one.prompt


def _is_known(value: Any) -> bool:
    return value is not None and value is not pd.NA


def _number(value: Any, form: str = ".3f") -> str:
    return format(value, form) if _is_known(value) else DASH


def _interval(low: Any, high: Any) -> str:
    return f"{low:.2f} to {high:.2f}" if _is_known(low) and _is_known(high) else DASH


def _usd(value: Any) -> str:
    return usd(value).removesuffix(" USD") if _is_known(value) else UNKNOWN
