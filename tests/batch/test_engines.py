"""Engines: the same comparison in this process, in others, and when those die."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from distributed import Client, LocalCluster

import composite_lab as lab
from composite_lab.batch import worker
from composite_lab.batch.compare import acompare, compare
from composite_lab.batch.dask_engine import Dask, Processes
from composite_lab.batch.engines import Asyncio, engine_of
from composite_lab.batch.orders import Order, Terms, errand_of, pack, units_of
from composite_lab.batch.plan import Plan
from composite_lab.batch.store import Store
from composite_lab.errors import ConfigError, EngineError, StoreError
from composite_lab.testing import FakeServer, load_questions

SeatMaker = Callable[..., lab.Seat]

PRICE = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
OF_A_SESSION = ["trace_id", "latency_s"]
"""The columns of a frame that differ each time."""
NOWHERE = "tcp://127.0.0.1:9"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two worker processes, which stay for all tests of this file."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=":0", silence_logs=50
    ) as cluster:
        yield cluster


@pytest.fixture
def address(cluster: LocalCluster) -> str:
    """Where the cluster's scheduler listens, with both workers there."""
    cluster.wait_for_workers(2, timeout=60)
    return str(cluster.scheduler_address)


@pytest.fixture
def strategies(seat: SeatMaker) -> dict[str, Any]:
    return strategies_on(seat)


def strategies_on(seat: SeatMaker, latency: str = "") -> dict[str, Any]:
    """Three strategies that share calls: eight different ones for each prompt."""
    members = [seat(f"{name}+accuracy=0.6{latency}", **PRICE) for name in ("a", "b", "c")]
    return {
        "single": members[0],
        "moa": lab.MoA(aggregator=seat("moa", **PRICE), proposers=members),
        "council": lab.Council(chairman=seat("chair", **PRICE), members=members),
    }


def questions(count: int) -> list[dict[str, Any]]:
    return [{"id": one.id, "prompt": one.prompt, "target": one.target} for one in load_questions()[:count]]


def lasting(comparison: Any) -> pd.DataFrame:
    """The frame without what differs each time."""
    return comparison.to_dataframe().drop(columns=OF_A_SESSION)


def quietly(strategies: Any, prompts: Any, **options: Any) -> Any:
    return compare(strategies, prompts, progress=False, **options)


def test_workers_bring_about_the_frame_that_one_process_does(
    strategies: dict[str, Any], address: str, fake_openai: FakeServer
) -> None:
    prompts = questions(10)
    prompts.append(prompts[0] | {"id": "again"})  # the same question: its calls are shared
    spread = quietly(strategies, prompts, scorer="numeric_match", engine=address)
    stats = fake_openai.stats()
    assert stats.total == stats.distinct == spread.calls_paid == 10 * 8
    here = quietly(strategies, prompts, scorer="numeric_match")
    pd.testing.assert_frame_equal(lasting(spread), lasting(here))
    assert spread.paid_usd == pytest.approx(here.paid_usd)
    assert len(spread.calls_df()) == len(here.calls_df())


def test_calls_under_way_are_bounded_over_all_workers(
    seat: SeatMaker, address: str, fake_openai: FakeServer
) -> None:
    moa = lab.MoA(aggregator=seat("moa"), proposers=[seat(f"{name}+latency=0.2") for name in "abcdef"])
    quietly({"moa": moa}, questions(4), engine=address, max_concurrency=4)
    assert 2 < fake_openai.stats().peak <= 4


def test_a_second_time_nothing_is_sent_not_even_to_the_scheduler(
    strategies: dict[str, Any], address: str, fake_openai: FakeServer, tmp_path: Path
) -> None:
    options = {"store": tmp_path / "store.sqlite", "scorer": "numeric_match"}
    first = quietly(strategies, questions(3), engine=address, **options)
    before = fake_openai.stats().total
    again = quietly(strategies, questions(3), engine=NOWHERE, **options)
    pd.testing.assert_frame_equal(again.to_dataframe(), first.to_dataframe())
    assert (again.calls_paid, fake_openai.stats().total) == (0, before)


def test_answers_in_the_store_go_to_the_workers_and_are_not_paid_again(
    strategies: dict[str, Any], address: str, fake_openai: FakeServer, seat: SeatMaker, tmp_path: Path
) -> None:
    options = {"store": tmp_path / "store.sqlite"}
    quietly(strategies, questions(3), **options)
    fake_openai.reset()
    other = strategies | {"moa": strategies["moa"].model_copy(update={"aggregator": seat("other", **PRICE)})}
    spread = quietly(other, questions(3), engine=address, **options)
    assert fake_openai.stats().by_model == {"other": 3}
    assert spread.calls_paid == 3


@pytest.mark.parametrize("how", ["client", "dask", "async client"])
def test_a_client_is_an_engine(
    how: str, strategies: dict[str, Any], address: str, fake_openai: FakeServer
) -> None:
    async def with_async_client() -> Any:
        async with Client(address, asynchronous=True, set_as_default=False) as client:
            return await acompare(strategies, questions(1), engine=client, progress=False)

    if how == "async client":
        comparison = asyncio.run(with_async_client())
    else:
        with Client(address, set_as_default=how == "dask") as client:
            engine = "dask" if how == "dask" else client
            comparison = quietly(strategies, questions(1), engine=engine)
            assert client.status == "running"  # it is the caller's
    assert comparison.to_dataframe()["status"].tolist() == ["ok"] * 3


SCRIPT = """
import asyncio, os, sys
import beside
import composite_lab as lab

seat = lab.Seat(model="openai/a", api_base=sys.argv[1], api_key="none")
tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
parent = os.getpid()

def add():
    return beside.told(os.getpid() != parent)

async def cell():
    moa = lab.MoA(aggregator=seat, tool_executor={"add": add})
    options = {"params": {"tools": tools}, "progress": False}
    return lab.compare({"moa": moa}, ["Please use add {}."], engine=lab.Processes(workers=1), **options)

print(asyncio.run(cell()).to_dataframe()["text"].tolist())
"""


def test_a_script_without_a_guard_and_with_functions_of_its_own_uses_processes_from_a_running_loop(
    fake_openai: FakeServer, tmp_path: Path
) -> None:
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "script.py").write_text(SCRIPT)
    (folder / "beside.py").write_text("def told(away):\n    return 'elsewhere' if away else 'here'\n")
    command = [sys.executable, "scripts/script.py", fake_openai.base_url]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("['a was told by its tools: elsewhere']\n", "")


# --- what is refused, before anything is paid for


def test_what_cannot_be_sent_to_workers_is_named(seat: SeatMaker, fake_openai: FakeServer) -> None:
    lock = threading.Lock()

    def locked(name: str, arguments: dict[str, Any]) -> str:
        with lock:
            return "done"

    strategies = {"plain": seat("a"), "tools": lab.MoA(aggregator=seat("b"), tool_executor=locked)}
    with pytest.raises(ConfigError, match=r"strategy 'tools' cannot be sent.*lock"):
        quietly(strategies, ["Why?"], engine=NOWHERE)
    assert fake_openai.stats().total == 0


def test_an_address_where_nobody_is_is_told(seat: SeatMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=f"no Dask scheduler at {NOWHERE}"):
        quietly({"a": seat("a")}, ["Why?"], engine=NOWHERE)


@pytest.mark.parametrize("engine", ["threads", 3, None, object()])
def test_an_unknown_engine_is_refused_with_what_would_work(engine: Any, seat: SeatMaker) -> None:
    with pytest.raises(ConfigError, match=r'engine is "asyncio", "processes".*not'):
        quietly({"a": seat("a")}, ["Why?"], engine=engine)


def test_dask_without_a_client_says_what_to_give() -> None:
    with pytest.raises(ConfigError, match="there is none: make one"):
        engine_of("dask")


@pytest.mark.parametrize("engine", ["processes", "dask", NOWHERE])
def test_without_dask_the_extra_is_named(
    engine: str, seat: SeatMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)  # as if it were not installed
    with pytest.raises(ConfigError, match=r"pip install 'composite-lab\[dask\]'"):
        quietly({"a": seat("a")}, ["Why?"], engine=engine)


def test_engines_are_chosen_by_name_address_or_themselves() -> None:
    assert isinstance(engine_of("asyncio"), Asyncio)
    assert engine_of("processes") == Processes()
    assert engine_of(Processes(workers=2)).workers == 2
    assert engine_of("tls://host:8786") == Dask("tls://host:8786")
    with pytest.raises(ConfigError, match="at least 1, not 0"):
        Processes(workers=0)


def test_a_worker_that_cannot_read_the_strategies_is_a_fault_of_the_configuration(
    seat: SeatMaker, address: str, fake_openai: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def tool(name, arguments):\n    return 'done'\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # type: ignore[import-not-found]

    moa = lab.MoA(aggregator=seat("a"), tool_executor=only_here.tool)
    with pytest.raises(ConfigError, match=r"a worker cannot read the strategies: .*only_here"):
        quietly({"moa": moa}, ["Why?"], engine=address)
    assert fake_openai.stats().total == 0


# --- money


def test_a_cap_holds_over_all_workers_and_more_money_goes_on(
    seat: SeatMaker, address: str, fake_openai: FakeServer, tmp_path: Path
) -> None:
    strategies = {"single": seat("a+latency=0.2", **PRICE)}
    prompts = questions(40)
    options = {"store": tmp_path / "store.sqlite", "engine": address, "max_concurrency": 4}
    price = 0.00014
    capped = quietly(strategies, prompts, max_cost_usd=9.5 * price, **options)
    paid = fake_openai.stats().total
    # What is over: calls under way, and those of half a second.
    assert 10 <= paid < 40
    assert capped.paid_usd == pytest.approx(paid * price)
    assert capped.to_dataframe()["status"].value_counts().to_dict() == {"undone": 40 - paid, "ok": paid}

    whole = quietly(strategies, prompts, max_cost_usd=41 * price, **options)
    assert fake_openai.stats().total == whole.calls_paid + paid == 40
    assert set(whole.to_dataframe()["status"]) == {"ok"}


def test_a_cap_holds_inside_of_a_run(seat: SeatMaker, address: str, fake_openai: FakeServer) -> None:
    moa = lab.MoA(aggregator=seat("a", **PRICE), proposers=[seat("b+latency=0.1", **PRICE)], samples=30)
    capped = quietly({"moa": moa}, ["Why?"], engine=address, max_concurrency=2, max_cost_usd=4.5 * 0.00014)
    assert capped.to_dataframe()["status"].tolist() == ["undone"]
    assert capped.calls_paid == fake_openai.stats().total
    assert 5 <= capped.calls_paid <= 10


def test_where_the_store_has_used_up_the_money_nothing_is_sent(
    seat: SeatMaker, fake_openai: FakeServer, tmp_path: Path
) -> None:
    options = {"store": tmp_path / "store.sqlite", "max_concurrency": 1}
    quietly({"single": seat("a", **PRICE)}, questions(3), **options)
    more = quietly(
        {"single": seat("a", **PRICE)}, questions(5), engine=NOWHERE, max_cost_usd=2.5 * 0.00014, **options
    )
    assert more.to_dataframe()["status"].tolist() == ["ok", "ok", "ok", "undone", "undone"]
    assert fake_openai.stats().total == 3


def test_money_behind_an_earlier_answer_counts_once(
    seat: SeatMaker, address: str, fake_openai: FakeServer, tmp_path: Path
) -> None:
    options = {"store": tmp_path / "store.sqlite", "engine": address}
    single = seat("a", **PRICE)
    quietly({"single": single}, ["Why?"], **options)
    moa = lab.MoA(aggregator=seat("moa", **PRICE), proposers=[single])
    # One call is paid for: half of the price of another is left.
    capped = quietly({"single": single, "moa": moa}, ["Why?"], max_cost_usd=1.5 * 0.00014, **options)
    assert capped.to_dataframe()["status"].tolist() == ["ok", "ok"]
    assert fake_openai.stats().by_model == {"a": 1, "moa": 1}


# --- the end of workers, of the scheduler and of whoever compares


def test_an_interrupt_ends_the_calls_and_keeps_what_was_paid_for(
    seat: SeatMaker, address: str, fake_openai: FakeServer, tmp_path: Path
) -> None:
    members = [seat("a", **PRICE), seat("b", **PRICE)]
    store, prompts = tmp_path / "store.sqlite", questions(4)

    def moa(aggregator: str) -> dict[str, Any]:
        return {"moa": lab.MoA(aggregator=seat(aggregator, **PRICE), proposers=members)}

    async def interrupted() -> None:
        work = asyncio.ensure_future(
            acompare(moa("moa+hang"), prompts, engine=address, store=store, progress=False)
        )
        await asyncio.to_thread(fake_openai.wait_until, lambda stats: stats.by_model.get("moa+hang") == 4, 60)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(interrupted())
    fake_openai.wait_until(lambda stats: stats.in_flight == 0, 30)
    fake_openai.reset()
    quietly(moa("moa"), prompts, store=store)
    assert fake_openai.stats().by_model == {"moa": 4}


def test_answers_come_into_the_store_while_their_run_is_under_way(
    seat: SeatMaker, address: str, fake_openai: FakeServer, tmp_path: Path
) -> None:
    moa = lab.MoA(aggregator=seat("moa+hang"), proposers=[seat("a"), seat("b")])
    store = Store(tmp_path / "store.sqlite")

    async def watched() -> None:
        work = asyncio.ensure_future(
            acompare({"moa": moa}, ["Why?"], engine=address, store=store, progress=False)
        )
        scope = Plan.of({"moa": moa}, ["Why?"]).prompts[0].scope
        async with asyncio.timeout(60):
            while len(store.answers_of(scope)) < 2:  # noqa: ASYNC110  (no event tells of it)
                await asyncio.sleep(0.05)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(watched())


def test_a_full_disk_ends_the_comparison_and_its_calls(
    seat: SeatMaker, address: str, fake_openai: FakeServer, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store.sqlite")
    store._db.execute("PRAGMA max_page_count = 20")
    with pytest.raises(StoreError, match="the disk is full"):
        quietly(
            {"single": seat("a+latency=0.1")}, questions(60), engine=address, store=store, max_concurrency=4
        )
    sent = fake_openai.wait_until(lambda stats: stats.in_flight == 0, 30).total
    assert sent < 60


def test_a_worker_ends_the_calls_of_an_order_that_nobody_waits_for(
    seat: SeatMaker, address: str, fake_openai: FakeServer
) -> None:
    plan = Plan.of({"single": seat("a+hang")}, questions(1))
    (unit,) = units_of(plan)
    order = Order(uuid.uuid4().hex, pack(plan), Terms(1, 0.0, None), [errand_of(unit[0])], [], [])
    with Client(address, set_as_default=False) as client:
        future = client.submit(worker.carry_out, pickle.dumps(order), pure=False)
        fake_openai.wait_until(lambda stats: stats.in_flight == 1, 60)
        del future
        fake_openai.wait_until(lambda stats: stats.in_flight == 0, 30)


def test_the_end_of_the_scheduler_is_told(seat: SeatMaker) -> None:
    command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(
        [*command, "--dashboard-address", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True
    ) as scheduler:
        assert scheduler.stderr is not None
        line = next(line for line in scheduler.stderr if "Scheduler at:" in line)
        threading.Timer(2.0, scheduler.kill).start()
        with pytest.raises(EngineError, match="is gone"):
            quietly({"a": seat("a")}, ["Why?"], engine=line.split()[-1])


def test_a_lost_worker_s_runs_are_done_again_and_count_once(
    seat: SeatMaker, address: str, fake_openai: FakeServer
) -> None:
    strategies, prompts = strategies_on(seat, latency="+latency=0.2"), questions(10)
    undisturbed = quietly(strategies, prompts, scorer="numeric_match")
    calls = fake_openai.stats().total
    fake_openai.reset()
    scored: Counter[tuple[str, str]] = Counter()

    def score(text: str, target: str, row: dict[str, Any]) -> float:
        scored[row["id"], text] += 1
        return float(str(target) in text)

    def kill() -> None:
        fake_openai.wait_until(lambda stats: stats.total >= calls // 3, 60)
        with Client(address, set_as_default=False) as client:
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    lanes = 6
    spread = quietly(strategies, prompts, scorer=score, engine=address, max_concurrency=lanes * 3)
    killer.join()
    without = ["score", "score_note"]
    pd.testing.assert_frame_equal(
        lasting(spread).drop(columns=without), lasting(undisturbed).drop(columns=without)
    )
    assert sum(scored.values()) == len(strategies) * len(prompts)
    assert fake_openai.stats().distinct == calls
    assert fake_openai.stats().total <= calls + lanes * 8


def test_a_run_that_kills_its_workers_is_an_error_and_the_others_go_on(
    seat: SeatMaker, cluster: LocalCluster, fake_openai: FakeServer
) -> None:
    def deadly(name: str, arguments: dict[str, Any]) -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    cluster.scheduler.allowed_failures = 0
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    frame = quietly(
        {"moa": lab.MoA(aggregator=seat("a"), tool_executor=deadly)},
        ["Why?", "Please use add {} and tell me.", "How?"],
        engine=cluster.scheduler_address,
        max_concurrency=1,
        params={"tools": tools},
    ).to_dataframe()
    assert frame["status"].tolist() == ["ok", "error", "ok"]
    assert frame["error_type"].tolist()[1] == "KilledWorker"
