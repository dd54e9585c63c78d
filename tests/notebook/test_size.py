"""A large trace in a real kernel: what is sent before anything is opened, and how long that takes."""

from __future__ import annotations

import json

from tests.notebook.kernel import Kernel

LARGE_TRACE = """
import composite_lab as lab, time
from datetime import UTC, datetime

def call(number):
    return lab.Call(
        trace_id="t", call_id=f"c{number}", strategy="moa", role="proposer" if number < 99 else "aggregator",
        stage="proposals" if number < 99 else "aggregation", seat=number, request_model="openai/m",
        status="ok", started_at=datetime.now(UTC), start_offset_s=0.0, latency_s=1.0,
        messages=[{"role": "user", "content": "Why?"}], text=f"<b>{number}</b> " + "some words here " * 6250)

trace = lab.Trace(trace_id="t", strategy="moa", model="composite/moa/openai/m", started_at=datetime.now(UTC),
                  latency_s=2.0, version="0", calls=[call(number) for number in range(100)],
                  messages=[{"role": "user", "content": "Why?"}], text="some words " * 9000)
assert all(len(each.text) >= 100_000 for each in trace.calls)
"""
MEASURED = """
formatter = get_ipython().display_formatter.format
def cpu(thing):
    start = time.process_time(); formatter(thing()); return time.process_time() - start
formatter(lab.Trace(**(dict(trace) | {"calls": []})))   # imports belong to neither
formatter(trace.to_dataframe().head())
print(cpu(lambda: trace) - cpu(lambda: trace.to_dataframe(include_text=True)))
"""


def test_a_trace_of_a_hundred_long_calls_is_shown_soon_and_small() -> None:
    with Kernel() as kernel:
        assert kernel.run(LARGE_TRACE).reply["status"] == "ok"
        shown = kernel.run("trace")
        assert [content["data"].keys() for content in shown.of("display_data")] == [
            {"text/html", "text/plain"},
            {"application/vnd.jupyter.widget-view+json", "text/plain"},
        ]
        sent = sum(len(json.dumps(message.content)) for message in shown.outputs)
        assert sent < 1_000_000
        more_than_the_frame = float(kernel.run(MEASURED).printed)  # seconds of the kernel's CPU
        assert more_than_the_frame < 2.0
