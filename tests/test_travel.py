"""Errors in other processes: what a pool, a pickle, a copy or a reload leaves of them."""

from __future__ import annotations

import copy
import copyreg
import importlib
import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import litellm
import openai
import pytest

import composite_lab as lab
from composite_lab import errors, travel
from composite_lab.gateway import CallFailed
from composite_lab.gateway.portable import make_portable
from composite_lab.testing import FakeServer
from tests.conftest import SeatMaker
from tests.notebook.pages import call

WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda error: pickle.loads(pickle.dumps(error)),
    "the oldest pickle": lambda error: pickle.loads(pickle.dumps(error, protocol=0)),
    "deepcopy": copy.deepcopy,
}
OURS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
KEY = "sk-nobody-may-read-this"
BESIDE_DASK = """
import pickle
import litellm
from tblib import pickling_support
import composite_lab as lab
from composite_lab.gateway.portable import make_portable
cause = litellm.RateLimitError("slow", "openai", "a")
failed = lab.QuorumError("none", [cause])
pickling_support.install()  # as Dask does
for error in (cause, failed):
    make_portable(error)  # as every run does with what it raises
(twin,) = pickle.loads(pickle.dumps(failed)).causes
print(type(twin).__name__, twin.status_code)
"""


@pytest.fixture(autouse=True)
def _without_what_dask_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of another test in the same process; it makes classes portable that are not by themselves.
    for kind, way in list(copyreg.dispatch_table.items()):
        if way.__module__.partition(".")[0] == "tblib":
            monkeypatch.delitem(copyreg.dispatch_table, kind)


class TakesTwo(Exception):
    """As many libraries write them: what `args` holds is not what the class wants."""

    def __init__(self, text: str, status_code: int) -> None:
        super().__init__(text)
        self.status_code = status_code


class SaysMore(Exception):
    """Can be unpickled and says another thing then."""

    def __init__(self, number: int) -> None:
        super().__init__(f"number {number}")


class HoldsLock(Exception):
    """Cannot even be pickled."""

    def __init__(self) -> None:
        super().__init__("locked")
        self.held = multiprocessing.get_context  # a bound method of an object of the module
        self.unpicklable = lambda: None


def trace() -> lab.Trace:
    return lab.Trace(
        trace_id="t", strategy="moa", model="m", started_at=datetime.now(UTC), latency_s=1.0, version="1",
        calls=[call()],
    )  # fmt: skip


def ask(base_url: str, proposer: str, aggregator: str) -> str:
    """What a user's function in a pool does; its errors go back as they are."""

    def seat(model: str) -> lab.Seat:
        return lab.Seat(model=f"openai/{model}", api_base=base_url, api_key=KEY)

    moa = lab.MoA(aggregator=seat(aggregator), proposers=[seat(proposer), seat(proposer)], retries=0)
    return moa.run("Why?").text


def provider_error(status: int = 429) -> Exception:
    """LiteLLM's error as a provider's answer makes it, with the client's request and its key behind it."""
    request = httpx.Request("POST", f"https://models.example/v1?key={KEY}", headers={"x-api-key": KEY})
    response = httpx.Response(status, headers={"retry-after": "7"}, request=request, json={"k": KEY})
    error = litellm.RateLimitError("slow down", "openai", "openai/a", response=response)
    error.response = response
    error.request = request
    error.__cause__ = openai.RateLimitError("slow", response=response, body=None)
    return error


# --- ours


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", OURS)
def test_each_error_survives_with_its_text_and_its_trace(kind: type[Exception], way: str) -> None:
    error: Any = kind("what was wrong")
    error.trace = trace()
    error.add_note("a note")
    twin = WAYS[way](error)
    assert type(twin) is kind
    assert (str(twin), twin.args, twin.trace, twin.__notes__) == (
        str(error),
        error.args,
        error.trace,
        ["a note"],
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("lost", [TakesTwo("no", 418), SaysMore(7), HoldsLock()])
def test_a_cause_that_cannot_travel_has_a_stand_in_that_says_what_it_was(lost: Any, way: str) -> None:
    kept = KeyError("kept")
    twin = WAYS[way](lab.QuorumError("none answered", [lost, kept]))
    there, other = twin.causes
    assert isinstance(there, travel.StandIn)
    assert type(there).__name__ == there.class_name == type(lost).__name__
    assert (str(there), there.message) == (str(lost), str(lost))
    assert there.status_code == getattr(lost, "status_code", None)
    assert (type(other), other.args) == (KeyError, ("kept",))
    again = WAYS[way](twin).causes[0]
    assert (again.class_name, again.status_code, str(again)) == (
        there.class_name, there.status_code, str(there)
    )  # fmt: skip


def test_the_cause_behind_an_error_and_a_failed_quorum_as_a_cause_travel_too() -> None:
    inner = lab.QuorumError("inner", [TakesTwo("no", 418)])
    inner.trace = trace()
    outer = lab.QuorumError("outer", [inner])
    outer.__cause__ = TakesTwo("behind", 500)
    make_portable(outer)
    make_portable(inner)
    twin = pickle.loads(pickle.dumps(outer))
    assert twin.causes[0].trace == inner.trace
    assert twin.causes[0].causes[0].class_name == "TakesTwo"
    assert (str(twin.__cause__), twin.__cause__.status_code) == ("behind", 500)


def test_a_failed_call_survives_with_its_record() -> None:
    failed = CallFailed(call(), TakesTwo("no", 418), shown=True)
    twin = pickle.loads(pickle.dumps(failed))
    assert (twin.call, twin.shown, twin.cause.class_name) == (failed.call, True, "TakesTwo")


def test_a_shallow_copy_has_the_very_causes() -> None:
    error = lab.QuorumError("none answered", [HoldsLock()])
    twin = copy.copy(error)
    assert twin is not error
    assert twin.causes[0] is error.causes[0]


def test_an_error_made_before_a_reload_is_one_of_the_new_class_after_it() -> None:
    fields = dict(vars(errors))
    error = lab.QuorumError("none answered", [TakesTwo("no", 418)])
    error.trace = trace()
    try:
        importlib.reload(errors)
        for way in WAYS.values():
            twin = way(error)
            assert type(twin) is errors.QuorumError
            assert type(twin) is not type(error)
            assert (str(twin), twin.trace, twin.causes[0].class_name) == (
                "none answered", error.trace, "TakesTwo"
            )  # fmt: skip
    finally:
        vars(errors).update(fields)


def test_an_error_of_a_class_that_nobody_can_find_is_one_of_the_class_below_it() -> None:
    class Own(lab.BudgetExceeded):
        pass

    twin = pickle.loads(pickle.dumps(Own("too dear")))
    assert (type(twin), str(twin)) == (lab.BudgetExceeded, "too dear")


# --- LiteLLM's


@pytest.mark.parametrize("way", WAYS)
def test_an_error_of_litellm_stays_one_of_its_class_with_what_users_read(way: str) -> None:
    error: Any = provider_error()
    error.trace = trace()
    make_portable(error)
    twin = WAYS[way](WAYS[way](error))
    assert type(twin) is litellm.RateLimitError
    assert (str(twin), twin.status_code, twin.model) == (str(error), 429, "openai/a")
    assert (twin.trace, twin.response.headers["retry-after"]) == (error.trace, "7")


def test_no_key_goes_with_an_error_of_litellm() -> None:
    error = provider_error()
    failed = lab.QuorumError("none", [error])
    make_portable(error)
    make_portable(failed)
    for travelling in (error, error.__cause__, failed):
        assert KEY.encode() not in pickle.dumps(travelling)


def test_what_dask_registers_for_all_exceptions_gives_way() -> None:
    pytest.importorskip("tblib.pickling_support")
    done = subprocess.run([sys.executable, "-c", BESIDE_DASK], capture_output=True, text=True, check=False)
    assert done.stdout == "RateLimitError 429\n", done.stderr


def test_errors_of_other_libraries_are_left_to_them() -> None:
    make_portable(TakesTwo("no", 418))
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(TakesTwo("no", 418)))


# --- a user's pool of processes


def test_runs_that_fail_in_a_pool_take_no_other_with_them(fake_openai: FakeServer) -> None:
    url = fake_openai.base_url
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        quorum = pool.submit(ask, url, "p+status=401", "a")
        final = pool.submit(ask, url, "p", "a+status=429")
        good = pool.submit(ask, url, "p", "a+text=answered")
        with pytest.raises(lab.QuorumError) as failed:
            quorum.result()
        with pytest.raises(litellm.RateLimitError) as limited:
            final.result()
        assert good.result() == "answered"
    assert {type(cause) for cause in failed.value.causes} == {litellm.AuthenticationError}
    assert [cause.status_code for cause in failed.value.causes] == [401, 401]  # type: ignore[attr-defined]
    assert failed.value.trace.summary().calls == 2
    assert limited.value.trace.status == "error"  # type: ignore[attr-defined]
    assert KEY not in repr(vars(limited.value))


def test_a_run_as_a_model_fails_in_a_copy_as_it_does_itself(fake_openai: FakeServer, seat: SeatMaker) -> None:
    with pytest.raises(litellm.BadRequestError) as failed:
        litellm.completion(
            model="composite/moa/openai/a", messages=[{"role": "user", "content": "Why?"}], samples=0,
            api_base=fake_openai.base_url, api_key="sk-test",
        )  # fmt: skip
    twin = pickle.loads(pickle.dumps(failed.value))
    assert (type(twin), str(twin)) == (type(failed.value), str(failed.value))
