"""Profiles: whole strategies by name, from code or from YAML files, as models `composite/profile/<name>`."""

from composite_lab.profiles.clients import CAPS, Clients
from composite_lab.profiles.file import STRATEGIES
from composite_lab.profiles.registry import (
    client_rules,
    load_profiles,
    profile,
    profile_names,
    register_profile,
)
from composite_lab.profiles.schema import profiles_schema

__all__ = [
    "CAPS",
    "STRATEGIES",
    "Clients",
    "client_rules",
    "load_profiles",
    "profile",
    "profile_names",
    "profiles_schema",
    "register_profile",
]
