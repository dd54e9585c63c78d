"""Composite language models for LiteLLM and Jupyter: Mixture-of-Agents and Council, traced call by call.

Importing this package makes LiteLLM know `composite/moa/<model>` and `composite/council/<model>`.
"""

import os
import sys
from typing import TYPE_CHECKING, Any

# LiteLLM fetches a price list on import unless told otherwise, and importing a library should touch no
# network. Set it to "False" before the import to have the newest prices fetched.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from composite_lab.errors import (
    BudgetExceeded,
    CallTimeout,
    CompositeError,
    ConfigError,
    EmptyAnswer,
    EngineError,
    QuorumError,
    ReplyTooLarge,
    RunCancelled,
    RunTimeout,
    StoreError,
    ToolLoopError,
    UnreadableReply,
)
from composite_lab.interrupts import interrupts_held
from composite_lab.profiles import (
    load_profiles,
    profile,
    profile_names,
    profiles_schema,
    register_profile,
)
from composite_lab.provider import register, trace_of
from composite_lab.seats import Seat
from composite_lab.strategies.council import Council
from composite_lab.strategies.handle import RunHandle
from composite_lab.strategies.moa import MoA
from composite_lab.strategies.parsing import parse_ranking
from composite_lab.strategies.prompts import CouncilPrompts, MoAPrompts
from composite_lab.strategies.rubric import Rubric
from composite_lab.strategies.verdict import read_verdict
from composite_lab.tools import on_loop_thread
from composite_lab.trace.call import Ballot, Call, Canary, CanaryTrial, Standing, Usage
from composite_lab.trace.events import (
    CallFinished,
    DetailsDelta,
    Failed,
    Finished,
    ReasoningDelta,
    Section,
    StageFinished,
    StageStarted,
    TextDelta,
    ToolCallDelta,
)
from composite_lab.trace.model import Result, Trace
from composite_lab.trace.otel import export_trace
from composite_lab.trace.sink import load_traces, save_traces
from composite_lab.trace.summary import Summary
from composite_lab.trace.verdict import Verdict, Vote

if TYPE_CHECKING:
    from composite_lab.batch.bias import bias
    from composite_lab.batch.compare import acompare, compare, estimate
    from composite_lab.batch.comparison import Comparison
    from composite_lab.batch.dask_engine import Processes
    from composite_lab.batch.scoring import (
        Contains,
        ExactMatch,
        JsonSchema,
        NumericMatch,
        PairwiseJudge,
        Regex,
        RubricJudge,
        Score,
    )
    from composite_lab.batch.store import Store
    from composite_lab.notebook import plots
    from composite_lab.notebook.display import explore

__version__ = "0.1.0"
__all__ = [
    "Ballot",
    "BudgetExceeded",
    "Call",
    "CallFinished",
    "CallTimeout",
    "Canary",
    "CanaryTrial",
    "Comparison",
    "CompositeError",
    "ConfigError",
    "Contains",
    "Council",
    "CouncilPrompts",
    "DetailsDelta",
    "EmptyAnswer",
    "EngineError",
    "ExactMatch",
    "Failed",
    "Finished",
    "JsonSchema",
    "MoA",
    "MoAPrompts",
    "NumericMatch",
    "PairwiseJudge",
    "Processes",
    "QuorumError",
    "ReasoningDelta",
    "Regex",
    "ReplyTooLarge",
    "Result",
    "Rubric",
    "RubricJudge",
    "RunCancelled",
    "RunHandle",
    "RunTimeout",
    "Score",
    "Seat",
    "Section",
    "StageFinished",
    "StageStarted",
    "Standing",
    "Store",
    "StoreError",
    "Summary",
    "TextDelta",
    "ToolCallDelta",
    "ToolLoopError",
    "Trace",
    "UnreadableReply",
    "Usage",
    "Verdict",
    "Vote",
    "acompare",
    "bias",
    "compare",
    "estimate",
    "explore",
    "export_trace",
    "load_profiles",
    "load_traces",
    "on_loop_thread",
    "parse_ranking",
    "plots",
    "profile",
    "profile_names",
    "profiles_schema",
    "read_verdict",
    "register",
    "register_profile",
    "save_traces",
    "trace_of",
]

register()

# Where IPython runs, results and runs show themselves.
if "IPython" in sys.modules and (_shell := sys.modules["IPython"].get_ipython()) is not None:
    from composite_lab.notebook.display import register_formatters
    from composite_lab.notebook.progress import follow_runs

    register_formatters(_shell)
    follow_runs(_shell)


# These bring pandas, scipy, matplotlib or ipywidgets, which take their time to import: on first use.
_ON_USE = {
    "Comparison": "composite_lab.batch.comparison",
    "Contains": "composite_lab.batch.scoring",
    "ExactMatch": "composite_lab.batch.scoring",
    "JsonSchema": "composite_lab.batch.scoring",
    "NumericMatch": "composite_lab.batch.scoring",
    "PairwiseJudge": "composite_lab.batch.scoring",
    "Regex": "composite_lab.batch.scoring",
    "RubricJudge": "composite_lab.batch.scoring",
    "Score": "composite_lab.batch.scoring",
    "Processes": "composite_lab.batch.dask_engine",
    "Store": "composite_lab.batch.store",
    "acompare": "composite_lab.batch.compare",
    "bias": "composite_lab.batch.bias",
    "compare": "composite_lab.batch.compare",
    "estimate": "composite_lab.batch.compare",
    "explore": "composite_lab.notebook.display",
    "plots": "composite_lab.notebook",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    with interrupts_held():
        module = import_module("composite_lab.notebook.plots" if name == "plots" else _ON_USE[name])
    return module if name == "plots" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_USE})
