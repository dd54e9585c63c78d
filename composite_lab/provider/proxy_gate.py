"""What LiteLLM's proxy is to ask us besides the handler: who goes past it, and how a refusal is told."""

from __future__ import annotations

from typing import Any

from litellm.exceptions import BadRequestError
from litellm.integrations.custom_logger import CustomLogger

from composite_lab.provider.request import PROVIDER
from composite_lab.seats import COMPOSITE_PREFIX

_REFUSED = "Rejected Request: "


class Gate(CustomLogger):
    """A callback of LiteLLM's proxy: `litellm_settings: {callbacks: [composite_lab.provider.gate]}`."""

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> None:  # noqa: ARG002
        """Refuse a client's `custom_llm_provider`, by which LiteLLM would ask another than our handler."""
        model, provider = kwargs.get("model"), kwargs.get("custom_llm_provider")
        if str(model).startswith(COMPOSITE_PREFIX) and provider not in (None, PROVIDER):
            raise BadRequestError("a client may not set custom_llm_provider: leave it out", model, PROVIDER)

    async def async_post_call_failure_hook(  # LiteLLM calls it by these names
        self,
        request_data: dict[str, Any],  # noqa: ARG002
        original_exception: Exception,
        user_api_key_dict: Any,  # noqa: ARG002
        traceback_str: str | None = None,  # noqa: ARG002
    ) -> Any:
        """Answer a request that LiteLLM itself rejects (`api_base`, …) with 400 and the reason.

        Where its database's library is not installed it would stumble over this and answer 500.
        """
        told = str(original_exception)
        if not isinstance(original_exception, ValueError) or not told.startswith(_REFUSED):
            return None
        from fastapi import HTTPException

        return HTTPException(400, f"a client may not send this: {told.removeprefix(_REFUSED)}")


gate = Gate()
