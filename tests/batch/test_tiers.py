"""A service tier has a price of its own, in the forecast as in the run."""

from __future__ import annotations

import litellm
import pytest

import composite_lab as lab

FLEX = {
    "litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2e-6, "output_cost_per_token": 4e-6,
    "input_cost_per_token_flex": 1e-6, "output_cost_per_token_flex": 2e-6,
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
def test_flex_costs_half_in_the_estimate_and_in_the_run(endpoint: dict[str, str], stream: bool) -> None:
    litellm.register_model({"openai/tiered": FLEX})

    def single(**params: str) -> lab.MoA:
        seat = lab.Seat(model="openai/tiered", params=params, **endpoint)
        return lab.MoA(aggregator=seat, proposers=[seat])

    standard, flex = (
        lab.estimate({"moa": strategy}, ["Why is the sky dark at night?"]).cost_usd
        for strategy in (single(), single(service_tier="flex"))
    )
    assert flex == pytest.approx(standard / 2)
    paid = []
    for strategy in (single(), single(service_tier="flex")):
        result = strategy.run("Why?") if not stream else list(strategy.stream("Why?"))[-1].result  # type: ignore[union-attr]
        paid.append(result.cost_usd)
    assert paid[1] == pytest.approx(paid[0] / 2)
