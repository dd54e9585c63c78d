"""Every option of a strategy reaches it through LiteLLM, whatever LiteLLM does with names of its own."""

from __future__ import annotations

from typing import Any

import litellm
import pytest
from litellm.types.utils import all_litellm_params

import composite_lab as lab
from composite_lab.gateway.models import FINAL_PARAMS
from composite_lab.testing import FakeServer

ASK = [{"role": "user", "content": "Why is the sky dark at night?"}]
SWALLOWED = {
    "roles",
    "id",
    "ttl",
    "verbose",
    "tags",
    "rpm",
    "tpm",
    "max_budget",
    "organization",
    *all_litellm_params,
}
VALUES: dict[str, Any] = {
    "timeout_s": 30.0,
    "max_cost_usd": 2.0,
    "straggler_grace_s": 5.0,
    "call_timeout_s": 60.0,
    "max_reply_chars": 50_000,
    "max_concurrency": 3,
    "retries": 1,
    "on_final_failure": "best",
    "reasoning": "full",
    "proposers": ["openai/priced-p"],
    "layers": 2,
    "samples": 2,
    "min_proposals": 1,
    "members": ["openai/priced-m", "openai/priced-n"],
    "reviewers": ["openai/priced-r"],
    "min_members": 2,
    "shuffle_seed": 5,
    "self_review": True,
    "canary": True,
    "repairs": 0,
    "ranking": "schulze",
    "reviewer_weights": [2.0],
    "rubric": {"criteria": {"clear": "Is it?"}, "scale": [1.0, 5.0]},
    "verdict": ["yes", "no"],
    "max_tool_iterations": 3,
    "on_tool_limit": "last",
    "tool_executor": {"add": print},
}
PROMPTS = {"moa": {"aggregate": "Merge {answers}"}, "council": {"review": "Rank {answers}"}}


@pytest.mark.parametrize("strategy", [lab.MoA, lab.Council])
def test_no_option_has_a_name_that_litellm_keeps_or_that_belongs_to_the_final_call(strategy: type) -> None:
    names = set(strategy.model_fields)  # type: ignore[attr-defined]
    assert names & SWALLOWED == set()
    assert names & FINAL_PARAMS == set()


@pytest.mark.parametrize("strategy", [lab.MoA, lab.Council])
def test_every_option_arrives(fake_openai: FakeServer, endpoint: dict[str, str], strategy: Any) -> None:
    prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "litellm_provider": "openai"}
    litellm.register_model({f"openai/priced-{name}": {**prices, "mode": "chat"} for name in "apmnr"})
    names = set(strategy.model_fields) - {strategy.final_role, "prompts"}
    options = {name: VALUES[name] for name in names} | {"prompts": PROMPTS[strategy.kind]}
    response = litellm.completion(
        model=f"composite/{strategy.kind}/openai/priced-a", messages=ASK, **options, **endpoint
    )
    config = lab.trace_of(response).config
    for name, value in options.items():
        if name == "tool_executor":
            assert name not in config  # a function is no configuration that goes to JSON
        elif name == "prompts":
            assert value.items() <= config[name].items()
        elif name in ("members", "proposers", "reviewers"):
            assert [seat["model"] for seat in config[name]] == value
        else:
            assert config[name] == value
