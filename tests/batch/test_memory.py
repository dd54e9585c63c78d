"""Finished runs are in the store and not in memory."""

from __future__ import annotations

import gc

import composite_lab as lab
from composite_lab.testing import FakeServer
from tests.conftest import SeatMaker


def alive(*kinds: type) -> int:
    """How many objects of these kinds there are."""
    gc.collect()
    return sum(isinstance(each, kinds) for each in gc.get_objects())


def test_no_call_or_trace_of_a_finished_run_stays_in_memory(fake_openai: FakeServer, seat: SeatMaker) -> None:
    before = alive(lab.Call, lab.Trace, lab.Result)
    most = 0

    def scorer(*_: object) -> float:
        nonlocal most
        most = max(most, alive(lab.Call, lab.Trace, lab.Result) - before)
        return 1.0

    prompts = [f"Question {number}?" for number in range(8)]
    strategies = {"m": lab.MoA(aggregator=seat("agg"), proposers=[seat("a"), seat("b")])}
    comparison = lab.compare(strategies, prompts, scorer=scorer, max_concurrency=2, progress=False)
    assert (comparison.to_dataframe().score == 1.0).all()
    assert alive(lab.Call, lab.Trace, lab.Result) == before
    assert most < 20  # of the 8 * 5 that there were: those of the runs under way
