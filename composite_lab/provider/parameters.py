"""Parameters of the final call, as the caller gave them and not as LiteLLM maps them for a "composite".

Before LiteLLM calls a custom provider it maps the parameters for it, as for some OpenAI-like server: it
refuses what it does not know of such (`reasoning_effort`, `thinking`, `verbosity`), loses it with
`drop_params`, and renames `max_completion_tokens`. What the final model takes is known when it is called, so
a composite accepts all of them, takes them unmapped, and has LiteLLM map them for the final model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import litellm
from litellm.constants import DEFAULT_CHAT_COMPLETION_PARAM_VALUES

from composite_lab.profiles import STRATEGIES
from composite_lab.seats import PROFILE

_KINDS = (*(f"{kind}/" for kind in STRATEGIES), f"{PROFILE}/")
_NOT_PARAMETERS = {"model", "custom_llm_provider", "messages", "api_version", "additional_drop_params"}
_PARAMETERS = [name for name in DEFAULT_CHAT_COMPLETION_PARAM_VALUES if name not in _NOT_PARAMETERS]


class _CompositeConfig(litellm.OpenAILikeChatConfig):
    """What LiteLLM asks for the parameters of custom providers; different only for models of ours."""

    def get_supported_openai_params(self, model: str) -> list[str]:
        supported: list[str] = super().get_supported_openai_params(model)
        return [*supported, *_PARAMETERS] if model.startswith(_KINDS) else supported


def accept_all_parameters() -> None:
    """Have LiteLLM accept every parameter for a composite. Safe to call again."""
    # There is no hook for it: LiteLLM looks the class up here for all custom providers.
    if not issubclass(litellm.OpenAILikeChatConfig, _CompositeConfig):
        litellm.OpenAILikeChatConfig = _CompositeConfig  # type: ignore[misc]


def as_given(request: Mapping[str, Any]) -> dict[str, Any]:
    """What a hook gets as `optional_params`, with the parameters of the call unmapped."""
    given: dict[str, Any] = dict(request.get("optional_params") or {})
    # LiteLLM keeps them for its callbacks, without those that look like secrets.
    logged = getattr(request.get("logging_obj"), "optional_params", None) or {}
    unmapped = {name: value for name, value in logged.items() if name in _PARAMETERS and value is not None}
    if "max_completion_tokens" in unmapped and "max_tokens" not in unmapped:
        given.pop("max_tokens", None)
    return given | unmapped
