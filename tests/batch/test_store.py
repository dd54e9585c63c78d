"""The file of a store: copied while the notebook is open, damaged, of an earlier release, and its size."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import composite_lab as lab
from composite_lab.batch.rows import KeptAnswer
from composite_lab.gateway.memory import Remembered
from composite_lab.testing import FakeServer
from tests.conftest import SeatMaker

QUESTIONS = [f"Question {number}?" for number in range(4)]
LONG = "A sentence of some length that an answer may hold. " * 100


def run(store: Any, seat: SeatMaker, model: str = "m", **options: Any) -> lab.Comparison:
    moa = lab.MoA(aggregator=seat(model), proposers=[seat("a")])
    return lab.compare({"m": moa}, QUESTIONS, store=store, **{"progress": False, **options})


def copied_alone(path: Path, to: Path) -> Path:
    """A copy of the file by itself, as `cp` makes it."""
    to.mkdir()
    return Path(shutil.copy(path, to / "copy.sqlite"))


def rows(path: Path, table: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(path) as db:
        return db.execute(f"SELECT * FROM {table}").fetchall()


def spoil(path: Path, statement: str, *values: Any) -> None:
    with sqlite3.connect(path) as db:
        assert db.execute(statement, values).rowcount > 0


# --- a copy


def test_the_file_alone_is_complete_while_the_comparison_is_still_in_hand(
    fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    path = tmp_path / "runs.sqlite"
    comparison = run(path, seat)
    copy = copied_alone(path, tmp_path / "elsewhere")
    sent = len(fake_openai.requests())
    again = run(copy, seat)
    assert again.calls_paid == 0
    assert len(fake_openai.requests()) == sent
    # and the comparison opens its file again, also after another use of it
    assert (comparison.to_dataframe().status == "ok").all()
    run(path, seat, "other")
    assert len(rows(copied_alone(path, tmp_path / "third"), "runs")) == 2 * len(QUESTIONS)
    assert len(comparison.calls_df()) == 2 * len(QUESTIONS)


def test_the_file_alone_is_complete_after_a_failure_and_a_cancellation(
    fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    def scorer(text: str, target: Any, row: Any) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "failed", seat, scorer=scorer, max_concurrency=1)
    assert rows(copied_alone(tmp_path / "failed", tmp_path / "one"), "answers")

    async def cancelled() -> None:
        moa = lab.MoA(aggregator=seat("m+hang"), proposers=[seat("a")])
        work = lab.acompare({"m": moa}, ["Why?"], store=tmp_path / "cancelled", progress=False)
        task = asyncio.ensure_future(work)
        await asyncio.to_thread(
            fake_openai.wait_until, lambda seen: seen.in_flight == 1 == seen.total - 9, 60
        )
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    fake_openai.reset()
    run(None, seat)  # eight requests
    asyncio.run(cancelled())
    assert len(rows(copied_alone(tmp_path / "cancelled", tmp_path / "two"), "answers")) == 1


def test_a_store_is_opened_again_from_another_folder_and_says_when_it_is_gone(
    fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    comparison = run("runs.sqlite", seat)
    (tmp_path / "below").mkdir()
    os.chdir(tmp_path / "below")
    assert (comparison.to_dataframe().status == "ok").all()
    comparison.store.close()
    (tmp_path / "runs.sqlite").unlink()
    with pytest.raises(lab.StoreError, match="not there any more"):
        comparison.to_dataframe()


def test_one_of_two_comparisons_that_end_leaves_the_other_its_store(
    fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    store = lab.Store(tmp_path / "s")

    async def both() -> list[lab.Comparison]:
        works = (
            lab.acompare({"m": seat(model, input_cost_per_token=1e-6, output_cost_per_token=1e-6)}, QUESTIONS,
                         store=store, progress=False, max_cost_usd=1.0, max_concurrency=1)
            for model in ("m", "n+latency=0.1")
        )  # fmt: skip
        return await asyncio.gather(*works)

    for comparison in asyncio.run(both()):
        assert (comparison.to_dataframe().status == "ok").all()


# --- damage

BODY, FACTS = "UPDATE answers SET body = ", "UPDATE runs SET facts = "
DAMAGES = {
    "cut": (BODY + "substr(body, 1, length(body) / 2)",),
    "empty": (BODY + "''",),
    "null": (BODY + "'null'",),
    "a number": (BODY + "7",),
    "too few": (BODY + "'[]'",),
    "other types": (BODY + """'[[], "1", 3]'""",),
    "no facts": (BODY + "json_set(body, '$[0]', json('{}'), '$[3]', json('[]'))",),
    "no response": (BODY + "json_set(body, '$[2]', json('{}'))",),
    "no choices": (BODY + "json_set(body, '$[2].choices', 'x')",),
    "tokens": (BODY + "json_set(body, '$[0].prompt_tokens', 'many')",),
    "unknown": (BODY + "json_set(body, '$[0].colour', 'red')",),
    "latency": (BODY + "json_set(body, '$[1]', json('null'))",),
    "repeats": (BODY + "json_set(body, '$[3]', json('[\"colour\"]'))",),
    "a text": (BODY + "json_set(body, '$[2].choices[0].message.content', 5)",),
    "no UTF-8": (BODY + "CAST(CAST('[' AS BLOB) || X'FF' || CAST(body AS BLOB) AS TEXT)",),
    "bytes": (BODY + "X'FF00'",),
    "cost": ("UPDATE answers SET cost_usd = 'dear'",),
}
RUNS = {
    "cut": (FACTS + "substr(facts, 1, 9)",),
    "null": (FACTS + "'null'",),
    "no status": (FACTS + "json_remove(facts, '$.status')",),
    "a status": (FACTS + "json_set(facts, '$.status', 3)",),
    "a cost": (FACTS + "json_set(facts, '$.cost_usd', 'dear')",),
    "a text": (FACTS + "json_set(facts, '$.text', 5)",),
    "a cut trace": ("UPDATE runs SET trace = substr(trace, 1, length(trace) / 2)",),
    "another trace": ("UPDATE runs SET trace = json_set(trace, '$.calls', 7)",),
    "no trace": ("UPDATE runs SET trace = json_remove(trace, '$.started_at')",),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_answers_are_asked_for_again_with_a_warning(
    damage: str, fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    run(path, seat)
    spoil(path, *DAMAGES[damage])
    spoil(path, "DELETE FROM runs")
    with pytest.warns(UserWarning, match="an answer in it is damaged"):
        again = run(path, seat)
    assert again.calls_paid == 2 * len(QUESTIONS)
    assert (again.to_dataframe().status == "ok").all()
    assert run(path, seat, "other").calls_paid == len(QUESTIONS)  # what took their place is sound


@pytest.mark.parametrize("damage", RUNS)
def test_damaged_runs_are_made_again_from_their_answers(
    damage: str, fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    before = run(path, seat).to_dataframe()
    spoil(path, *RUNS[damage])
    with pytest.warns(UserWarning, match="(run|trace) in it is damaged"):
        again = run(path, seat)
    assert again.calls_paid == 0
    varying = ["trace_id", "latency_s"]
    pd.testing.assert_frame_equal(again.to_dataframe().drop(columns=varying), before.drop(columns=varying))
    assert len(again.calls_df()) == 2 * len(QUESTIONS)


# --- what is written


def remembered(**extras: Any) -> Remembered:
    message = {"role": "assistant", "content": LONG, "reasoning_content": LONG[:-1], **extras}
    response = {"choices": [{"index": 0, "finish_reason": "stop", "message": message}], "model": "m"}
    facts = {
        "text": LONG,
        "reasoning": LONG[:-1],
        "prompt_tokens": 3,
        **({"extras": extras} if extras else {}),
    }
    return Remembered(facts, 0.5, 1.5, response)


@pytest.mark.parametrize("extras", [{}, {"thinking_blocks": [{"type": "thinking", "thinking": LONG}]}])
def test_what_facts_and_response_have_in_common_is_kept_once(extras: dict[str, Any]) -> None:
    answer = remembered(**extras)
    kept = KeptAnswer.of("k", "s", answer)
    assert kept.body.count(LONG[:-1]) == 2 + len(extras)
    assert kept.answer() == answer


def test_a_fact_that_differs_from_the_response_is_kept_as_it_is() -> None:
    answer = remembered()
    answer.facts["text"] = "with a secret masked"
    assert KeptAnswer.of("k", "s", answer).answer() == answer


def test_a_store_of_version_1_is_read_and_pays_nothing_again(
    fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    before = run(path, seat).to_dataframe()
    with sqlite3.connect(path) as db:
        for key, body in db.execute("SELECT key, body FROM answers").fetchall():
            kept = KeptAnswer(key, "", 0.0, body).answer()
            whole = json.dumps([kept.facts, kept.latency_s, kept.response])
            db.execute("UPDATE answers SET body = ? WHERE key = ?", (whole, key))
        db.execute("UPDATE runs SET facts = json_set(facts, '$.text', json_extract(trace, '$.text'))")
        db.execute("PRAGMA user_version = 1")
    again = run(path, seat)
    assert again.calls_paid == 0
    pd.testing.assert_frame_equal(again.to_dataframe(), before)
    assert run(path, seat, "other").calls_paid == len(QUESTIONS)
