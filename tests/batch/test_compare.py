"""compare over HTTP: what is sent, what comes back, what happens when runs, money or the store fail."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import composite_lab as lab
from composite_lab.batch.comparison import FRAME
from composite_lab.batch.prompts import TAKEN
from composite_lab.testing import FakeServer
from tests.conftest import SeatMaker

PRICED = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
QUESTIONS = [f"Question {number}?" for number in range(10)]


def council(seat: SeatMaker, chairman: str = "chair", **options: Any) -> lab.Council:
    members = [seat(name, **PRICED) for name in "abc"]
    return lab.Council(chairman=seat(chairman, **PRICED), members=members, **options)


def run(strategies: dict[str, Any], prompts: Any = QUESTIONS, **options: Any) -> lab.Comparison:
    return lab.compare(strategies, prompts, **{"progress": False, **options})


def sent(server: FakeServer) -> int:
    return len(server.requests())


def test_changing_the_chairman_sends_one_call_a_prompt(
    fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    store = tmp_path / "runs.sqlite"
    run({"council": council(seat)}, store=store)
    before = sent(fake_openai)
    assert before == 7 * len(QUESTIONS)
    changed = run({"council": council(seat, "other")}, store=store)
    new = fake_openai.requests()[before:]
    assert [request.body["model"] for request in new] == ["other"] * len(QUESTIONS)
    assert changed.calls_paid == len(QUESTIONS)
    # What the council costs by itself is all seven calls, whoever paid for them.
    assert changed.to_dataframe().cost_usd.sum() == pytest.approx(7 * changed.paid_usd)


def test_strategies_share_the_calls_that_are_alike(fake_openai: FakeServer, seat: SeatMaker) -> None:
    a, b = seat("a"), seat("b")
    comparison = run({"a": a, "moa": lab.MoA(aggregator=seat("agg"), proposers=[a, b])})
    assert sent(fake_openai) == comparison.calls_paid == 3 * len(QUESTIONS)


def test_samples_and_repeats_stay_distinct(fake_openai: FakeServer, seat: SeatMaker) -> None:
    comparison = run({"self-moa": lab.MoA(aggregator=seat("m"))}, ["Why?"], repeats=2)
    assert sent(fake_openai) == 2 * (3 + 1)
    assert list(comparison.to_dataframe().repeat) == [0, 1]


def test_seats_that_differ_in_name_alone_give_answers_of_their_own(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    twins = [seat("m", name="Ada"), seat("m", name="Ben", timeout_s=50)]
    run({"moa": lab.MoA(aggregator=seat("agg"), proposers=twins)}, ["Why?"])
    assert [request.body["model"] for request in fake_openai.requests()].count("m") == 2


def test_limits_keys_and_prices_do_not_pay_again_and_parameters_do(
    fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    store = tmp_path / "runs.sqlite"
    run({"m": seat("m")}, ["Why?"], store=store)
    run({"m": seat("m", timeout_s=50, retries=1, api_key="sk-another", **PRICED)}, ["Why?"], store=store)
    run({"other name": seat("m", name="Ada")}, ["Why?"], store=store, max_concurrency=3)
    assert sent(fake_openai) == 1
    run({"m": seat("m", temperature=0.5)}, ["Why?"], store=store)
    run({"m": seat("m")}, ["Why?"], store=store, params={"max_tokens": 9})
    assert sent(fake_openai) == 3


def test_calls_from_the_store_cost_nothing_and_keep_what_they_cost(
    fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    store = tmp_path / "runs.sqlite"
    first = run({"m": council(seat)}, ["Why?"], store=store)
    again = run({"m": council(seat, "other")}, ["Why?"], store=store)
    calls = again.calls_df()
    kept = calls[calls.cost_source == "cache"]
    assert len(kept) == 6
    assert (kept.cost_usd == 0).all()
    assert kept.cache_hit.all()
    paid = first.calls_df().query("stage != 'synthesis'")
    assert list(kept.original_cost_usd) == list(paid.cost_usd)
    assert list(kept.original_latency_s) == list(paid.latency_s)
    assert calls.cost_usd.sum() == pytest.approx(again.paid_usd)


def test_a_run_from_the_store_is_told_with_the_latency_it_had(
    fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    slow = [seat("a+latency=0.3"), seat("b+latency=0.3")]

    def moa(aggregator: str) -> lab.MoA:
        return lab.MoA(aggregator=seat(aggregator), proposers=slow)

    run({"m": moa("x")}, ["Why?"], store=tmp_path / "s")
    changed = run({"m": moa("y")}, ["Why?"], store=tmp_path / "s").to_dataframe()
    assert changed.latency_s[0] > 0.3


def test_errors_are_not_kept(fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path) -> None:
    flaky = seat("m+status=500+times=1", retries=0)
    first = run({"m": flaky}, ["Why?"], store=tmp_path / "s").to_dataframe()
    assert list(first.status) == ["error"]
    assert list(first.error_type) == ["InternalServerError"]
    second = run({"m": flaky}, ["Why?"], store=tmp_path / "s").to_dataframe()
    assert list(second.status) == ["ok"]


def test_the_cap_ends_the_spending_and_raising_it_goes_on(
    fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    strategies = {"m": seat("m", **PRICED)}
    price = run(strategies, ["Why?"]).paid_usd
    fake_openai.reset()
    cap, concurrency = 4.5 * price, 2
    capped = run(
        strategies, store=tmp_path / "s", max_cost_usd=cap, max_concurrency=concurrency, scorer=lambda *_: 1
    )
    assert cap <= capped.paid_usd <= cap + concurrency * price
    frame = capped.to_dataframe()
    done = sent(fake_openai)
    assert list(frame.status.value_counts()[["ok", "undone"]]) == [done, len(QUESTIONS) - done]
    assert (frame[frame.status == "undone"].error_type == "BudgetExceeded").all()
    assert frame.score.isna().sum() == len(QUESTIONS) - done
    # The cap is one of the whole experiment: with the same cap nothing more is paid for.
    assert run(strategies, store=tmp_path / "s", max_cost_usd=cap).calls_paid == 0
    assert sent(fake_openai) == done
    raised = run(strategies, store=tmp_path / "s", max_cost_usd=1.0)
    assert (raised.to_dataframe().status == "ok").all()
    assert sent(fake_openai) == len(QUESTIONS)


def test_random_failures_lose_nothing_and_count_nothing_twice(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    fault = "+fail_rate=0.1+fail_seed=3"

    def flaky(name: str) -> lab.Seat:
        return seat(name + fault, timeout_s=20, retries=1)

    members = [flaky(name) for name in "abc"]
    strategies = {
        "single": flaky("a"),
        "moa": lab.MoA(aggregator=flaky("agg"), proposers=members),
        "council": lab.Council(chairman=flaky("chair"), members=members),
    }
    questions = [f"Question {number}?" for number in range(20)]
    comparison = run(strategies, questions)
    frame = comparison.to_dataframe()
    assert len(frame) == 3 * len(questions)
    assert set(frame.status) <= {"ok", "degraded", "error"}
    failed = list(frame.status == "error")
    assert any(failed)
    assert list(frame.text.isna()) == list(frame.error_type.notna()) == failed
    calls = comparison.calls_df()
    assert "error" in set(calls.status)
    # Every attempt that reached the server is a row of its own; what the store answered was sent once.
    assert len(calls[calls.cost_source != "cache"]) == sent(fake_openai)
    assert (calls[calls.cost_source != "cache"].status == "ok").sum() == comparison.calls_paid


def test_a_run_that_the_caller_interrupts_leaves_what_it_paid_for(
    fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    async def impatient() -> None:
        slow = {"quick": seat("q"), "slow": seat("s+hang")}
        async with asyncio.timeout(5):
            await lab.acompare(slow, ["Why?"], store=tmp_path / "s", progress=False)

    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    fake_openai.wait_until(lambda seen: seen.in_flight == 0, 30)
    before = sent(fake_openai)
    assert run({"quick": seat("q")}, ["Why?"], store=tmp_path / "s").calls_paid == 0
    assert sent(fake_openai) == before


@pytest.mark.parametrize("scorer", ["contains", lab.Contains(), lambda text, target, _: target in text])
def test_scores_of_rules_and_functions(fake_openai: FakeServer, seat: SeatMaker, scorer: Any) -> None:
    prompts = [{"prompt": "Why?", "target": "e"}, {"prompt": "Why not?", "target": "no such words"}]
    assert list(run({"m": seat("m")}, prompts, scorer=scorer).to_dataframe().score) == [1.0, 0.0]


def test_a_judge_is_paid_once_and_its_calls_are_rows(
    fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    judge = lab.RubricJudge(judge=seat("judge", **PRICED), rubric="Is it kind?")
    first = run({"m": seat("m", **PRICED)}, ["Why?"], scorer=judge, store=tmp_path / "s")
    judging = first.calls_df().query("stage == 'judging'")
    assert len(judging) >= 1
    assert first.paid_usd == pytest.approx(first.calls_df().cost_usd.sum())
    before = sent(fake_openai)
    again = run({"m": seat("m", **PRICED)}, ["Why?"], scorer=judge, store=tmp_path / "s")
    assert sent(fake_openai) == before
    assert again.to_dataframe().score.equals(first.to_dataframe().score)


def test_a_pairwise_judge_asks_in_both_orders_about_each_rival_of_the_baseline(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    judge = lab.PairwiseJudge(judge=seat("judge"))
    comparison = run({"a": seat("a"), "b": seat("b")}, ["Why?"], scorer=judge)
    asked = [request for request in fake_openai.requests() if request.body["model"] == "judge"]
    assert len({json.dumps(request.body["messages"]) for request in asked}) >= 2
    assert comparison.rows["a", "0", 0].judging is None
    assert comparison.rows["b", "0", 0].judging is not None


def test_the_frame_has_its_columns_also_when_everything_failed(
    fake_openai: FakeServer, seat: SeatMaker
) -> None:
    prompts = pd.DataFrame({"prompt": ["Why?"], "target": [3], "kind": ["deep"]})
    frame = run({"m": seat("m+status=400")}, prompts).to_dataframe()
    assert {name: str(frame.dtypes[name]) for name in FRAME} == FRAME
    assert list(frame.columns) == [*FRAME, "prompt", "target", "kind"]
    assert set(TAKEN) == set(FRAME)
    assert list(frame.target) == [3]


def test_parquet_has_the_same_frame(fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path) -> None:
    comparison = run({"m": seat("m")}, [{"prompt": "Why?", "target": 3}, {"prompt": "And?", "target": "b"}])
    comparison.to_parquet(tmp_path / "frame.parquet")
    back = pd.read_parquet(tmp_path / "frame.parquet")
    assert list(back.text) == list(comparison.to_dataframe().text)
    assert list(back.target) == ["3", "b"]


def test_an_estimate_counts_what_would_be_sent_and_sends_nothing(
    fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    strategies = {"m": seat("m", **PRICED), "council": council(seat)}
    before = lab.estimate(strategies, QUESTIONS, store=tmp_path / "s")
    assert sent(fake_openai) == 0
    assert before.calls == 8 * len(QUESTIONS)
    assert before.cost_usd is not None
    assert before.cost_usd > 0
    run(strategies, store=tmp_path / "s")
    assert sent(fake_openai) == before.calls
    strategies["council"] = council(seat, "other")
    after = lab.estimate(strategies, QUESTIONS, store=tmp_path / "s")
    assert after.calls == len(QUESTIONS)
    assert after.frame.kept_calls.sum() == 7 * len(QUESTIONS)


@pytest.mark.parametrize(
    "options", [{"rubric": {"clear": "Is it?"}}, {"verdict": ["yes", "no - not yet"]}, {"canary": True}]
)
def test_an_estimate_takes_it_that_scores_and_verdicts_can_be_read(
    fake_openai: FakeServer, seat: SeatMaker, options: dict[str, Any]
) -> None:
    strategies = {
        "council": lab.Council(chairman=seat("c"), members=[seat("a"), seat("b"), seat("d")], **options)
    }
    before = lab.estimate(strategies, QUESTIONS)
    run(strategies)
    assert before.calls == sent(fake_openai)


def test_two_processes_share_a_store(fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path) -> None:
    script = (
        "import sys, composite_lab as lab\n"
        "store, url = sys.argv[1:]\n"
        "seat = lab.Seat(model='openai/m+latency=0.05', api_base=url, api_key='none')\n"
        "questions = [f'Question {n}?' for n in range(40)]\n"
        "c = lab.compare({'m': seat}, questions, store=store, max_concurrency=2, progress=False)\n"
        "assert (c.to_dataframe().status == 'ok').all()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "s"), fake_openai.base_url]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    faults = [child.communicate(timeout=120)[1] for child in both]
    assert [child.returncode for child in both] == [0, 0], faults
    assert 40 <= sent(fake_openai) <= 80
    before = sent(fake_openai)
    run({"m": seat("m+latency=0.05")}, [f"Question {n}?" for n in range(40)], store=tmp_path / "s")
    assert sent(fake_openai) == before


# --- the store


def broken(path: Path) -> Path:
    path.write_bytes(b"SQLite format 3\x00" + b"no such thing" * 400)
    return path


def foreign(path: Path) -> Path:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    return path


def newer(path: Path) -> Path:
    lab.Store(path).close()
    with sqlite3.connect(path) as ours:
        ours.execute("PRAGMA user_version = 99")
    return path


@pytest.mark.parametrize(
    ("spoil", "word"), [(broken, "damaged"), (foreign, "another program"), (newer, "version 99")]
)
def test_a_file_that_cannot_be_a_store_is_refused_unread(
    spoil: Any, word: str, fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    path = spoil(tmp_path / "s")
    before = path.read_bytes()
    with pytest.raises(lab.StoreError, match=word):
        run({"m": seat("m")}, store=path)
    assert path.read_bytes() == before
    assert sent(fake_openai) == 0


def test_a_full_disk_ends_the_comparison_and_what_was_kept_is_safe(
    fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    store = lab.Store(tmp_path / "s")
    store._db.execute("PRAGMA max_page_count = 30")  # SQLite's own way to have no room left
    with pytest.raises(lab.StoreError, match="the disk is full") as raised:
        run({"m": seat("m")}, [f"Question {n}?" * 40 for n in range(60)], store=store, max_concurrency=1)
    kept = len(raised.value.comparison.rows)
    assert 0 < kept < 60
    store.close()
    before = sent(fake_openai)
    assert before <= kept + 2  # nothing is paid for that cannot be kept
    run({"m": seat("m")}, [f"Question {n}?" * 40 for n in range(60)], store=tmp_path / "s")
    assert sent(fake_openai) - before >= 60 - kept - 1
    assert sent(fake_openai) <= 60 + 2


def test_a_locked_file_is_waited_for_and_then_reported(
    fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    store = lab.Store(tmp_path / "s")
    store._db.execute("PRAGMA busy_timeout = 50")
    with sqlite3.connect(tmp_path / "s", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(lab.StoreError, match="locked"):
            run({"m": seat("m")}, ["Why?"], store=store)
        other.execute("ROLLBACK")
    assert run({"m": seat("m")}, ["Why?"], store=store).to_dataframe().status[0] == "ok"


# --- bad input


@pytest.mark.parametrize(
    ("strategies", "options", "words"),
    [
        ({}, {}, "by name"),
        ({"m": "gpt-4o"}, {}, "<provider>/<model>"),
        ({"m": "nosuchprovider/gpt"}, {}, "no provider"),
        ({"m": 3}, {}, "not int"),
        ({"m": "openai/m"}, {"repeats": 0}, "repeats"),
        ({"m": "openai/m"}, {"scorer": "exact_mach"}, "exact_match"),
        ({"m": "openai/m"}, {"engine": "threads"}, "engine"),
        ({"m": "openai/m"}, {"baseline": "n"}, "baseline"),
        ({"m": "openai/m"}, {"max_concurrency": 0}, "max_concurrency"),
        ({"m": "openai/m"}, {"max_cost_usd": -1}, "max_cost_usd"),
        ({"m": "openai/some-unpriced-model"}, {"max_cost_usd": 1}, "no price"),
        ({"m": "openai/m"}, {"params": {"temprature": 1}}, "temperature"),
        ({"m": "openai/m"}, {"prompts": []}, "no prompts"),
        ({"m": "openai/m"}, {"prompts": ["a", ""]}, "prompt 1"),
        ({"m": "openai/m"}, {"prompts": [{"id": 1, "prompt": "a"}, {"id": 1, "prompt": "b"}]}, "same id"),
        ({"m": "openai/m"}, {"prompts": [{"question": "a"}]}, "neither"),
        ({"m": "openai/m"}, {"prompts": [{"prompt": "a", "score": 1}]}, "'score'"),
        ({"m": "openai/m"}, {"prompts": "no-such-file.jsonl"}, "no file"),
        ({"m": "openai/m"}, {"store": "no-such-folder/runs.sqlite"}, "no folder"),
    ],
)
def test_a_mistake_is_found_before_anything_is_paid_for(
    strategies: Any, options: dict[str, Any], words: str, fake_openai: FakeServer
) -> None:
    prompts = options.pop("prompts", ["Why?"])
    with pytest.raises((lab.ConfigError, lab.StoreError), match=words):
        run(strategies, prompts, **options)
    assert sent(fake_openai) == 0


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_prompts_from_a_file_keep_their_columns(
    suffix: str, fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    rows = pd.DataFrame({"id": ["007", "b"], "prompt": ["Why?", "How?"], "kind": ["x", "y"]})
    file = tmp_path / f"prompts{suffix}"
    match suffix:
        case ".jsonl":
            rows.to_json(file, orient="records", lines=True)
        case ".csv":
            rows.to_csv(file, index=False)
        case _:
            rows.to_parquet(file)
    frame = run({"m": seat("m")}, file).to_dataframe()
    assert list(frame.prompt_id) == ["007", "b"]
    assert list(frame.kind) == ["x", "y"]
    asked = {request.body["messages"][0]["content"] for request in fake_openai.requests()}
    assert asked == {"Why?", "How?"}
