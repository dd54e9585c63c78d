"""The one door to LiteLLM: a sub-call goes in, recorded Calls and one Reply come out."""

from composite_lab.gateway.gateway import Gateway
from composite_lab.gateway.models import (
    check_final_params,
    check_taken,
    is_litellms_own,
    is_providers_reasoning,
    provider_of,
    recordable,
)
from composite_lab.gateway.place import CallFailed, Place

__all__ = [
    "CallFailed",
    "Gateway",
    "Place",
    "check_final_params",
    "check_taken",
    "is_litellms_own",
    "is_providers_reasoning",
    "provider_of",
    "recordable",
]
