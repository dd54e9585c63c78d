"""The frames of a comparison as rich tables. Rows are dicts, None where nothing is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

Rows = Sequence[dict[str, Any]]


def summary(rows: Rows, *, scored: bool) -> Table:
    """A row per strategy; without a scorer there are no scores to show."""
    scores = ["n", "score", "95 % interval"] if scored else []
    table = _table("strategy", *scores, "USD a run", "p50 s", "failed", "undone")
    for row in rows:
        score = [_number(row["n"], "d"), _number(row["score"], ".3f"), _interval(row, "score_")]
        table.add_row(
            Text(row["strategy"]),
            *(score if scored else []),
            _number(row["cost_usd"], ".6f"),
            _number(row["latency_p50_s"], ".2f"),
            _count(row["failures"]),
            _count(row["undone"]),
        )
    return table


def differences(rows: Rows, baseline: str) -> Table:
    """A row per strategy but the baseline: how much better it is, prompt by prompt."""
    table = _table(f"against {baseline}", "difference", "95 % interval", "p (Holm)", "won", "lost", "tied")
    for row in rows:
        table.add_row(
            Text(row["strategy"]),
            _number(row["difference"], "+.3f"),
            _interval(row, "", "+"),
            "<0.001"
            if row["p_holm"] is not None and row["p_holm"] < 0.001
            else _number(row["p_holm"], ".3f"),
            *(_number(row[name], "d") for name in ("wins", "losses", "ties")),
        )
    return table


def verdicts(rows: Rows) -> list[Text]:
    """What each difference shows, in words."""
    return [Text.assemble((row["strategy"], "bold"), f": {row['verdict']}") for row in rows if row["verdict"]]


def forecast(rows: Rows) -> Table:
    """A row per strategy: what would be sent, what is there already, and the price."""
    table = _table("strategy", "calls", "in the store", "tokens in", "tokens out", "USD")
    for row in rows:
        counts = ("calls", "kept_calls", "prompt_tokens", "completion_tokens")
        table.add_row(
            Text(row["strategy"]),
            *(_number(row[name], "d") for name in counts),
            _number(row["cost_usd"], ".6f"),
        )
    return table


def _table(first: str, *numbers: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1))
    table.add_column(Text(first), overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _interval(row: dict[str, Any], prefix: str, sign: str = "") -> str:
    low, high = row[f"{prefix}low"], row[f"{prefix}high"]
    return "-" if low is None or high is None else f"{low:{sign}.3f} to {high:{sign}.3f}"


def _count(number: int) -> Text:
    return Text(str(number), style="red" if number else "")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
