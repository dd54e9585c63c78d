"""Which models may be shown as they speak: those whose text does not begin inside of thoughts."""

from __future__ import annotations

import litellm

_LISTED = frozenset(litellm.model_cost)
"""LiteLLM's price list before anybody adds to it: models of services, which mark both ends of thoughts."""
_PLAIN: set[tuple[str, str | None]] = set()
"""Other models, with their endpoints, that have answered plainly in this process."""


def speaks_plainly(model: str, api_base: str | None) -> bool:
    """Whether the model's text can be shown as it comes.

    What a server of somebody's own does is seen in its first answer.
    """
    return (model, api_base) in _PLAIN or model in _LISTED or model.partition("/")[2] in _LISTED


def learn(model: str, api_base: str | None, *, plainly: bool) -> None:
    """Keep in mind how a model's answer began."""
    if plainly:
        _PLAIN.add((model, api_base))
    else:
        _PLAIN.discard((model, api_base))
