"""Composite language models for LiteLLM and Jupyter: Mixture-of-Agents and Council, traced call by call.

Importing this package makes LiteLLM know `composite/moa/<model>` and `composite/council/<model>`.
"""

import os

# LiteLLM fetches a price list on import unless told otherwise, and importing a library should touch no
# network. Set it to "False" before the import to have the newest prices fetched.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from composite_lab.errors import (
    BudgetExceeded,
    CallTimeout,
    CompositeError,
    ConfigError,
    EmptyAnswer,
    QuorumError,
    RunTimeout,
    ToolLoopError,
    TruncatedStream,
)
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
from composite_lab.strategies.moa import MoA
from composite_lab.strategies.prompts import CouncilPrompts, MoAPrompts
from composite_lab.tools import on_loop_thread
from composite_lab.trace.call import Ballot, Call, Standing, Usage
from composite_lab.trace.events import (
    CallFinished,
    Finished,
    ReasoningDelta,
    StageFinished,
    StageStarted,
    TextDelta,
    ToolCallDelta,
)
from composite_lab.trace.model import Result, Trace
from composite_lab.trace.otel import export_trace
from composite_lab.trace.sink import load_traces, save_traces
from composite_lab.trace.summary import Summary

__version__ = "0.1.0"
__all__ = [
    "Ballot",
    "BudgetExceeded",
    "Call",
    "CallFinished",
    "CallTimeout",
    "CompositeError",
    "ConfigError",
    "Council",
    "CouncilPrompts",
    "EmptyAnswer",
    "Finished",
    "MoA",
    "MoAPrompts",
    "QuorumError",
    "ReasoningDelta",
    "Result",
    "RunTimeout",
    "Seat",
    "StageFinished",
    "StageStarted",
    "Standing",
    "Summary",
    "TextDelta",
    "ToolCallDelta",
    "ToolLoopError",
    "Trace",
    "TruncatedStream",
    "Usage",
    "export_trace",
    "load_profiles",
    "load_traces",
    "on_loop_thread",
    "profile",
    "profile_names",
    "profiles_schema",
    "register",
    "register_profile",
    "save_traces",
    "trace_of",
]

register()
