"""Serving profiles through LiteLLM's proxy: its configuration, its key, its process."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from composite_lab.errors import ConfigError
from composite_lab.profiles import load_profiles
from composite_lab.profiles.references import ENVIRONMENT_VARIABLE
from composite_lab.provider.remote import ALLOW_VARIABLE

KEY_VARIABLE = "LITELLM_MASTER_KEY"


def proxy_config(names: Sequence[str], *, any_model: bool = False) -> dict[str, Any]:
    """LiteLLM's proxy configuration that serves these profiles under their names.

    With `any_model` clients may also ask for `composite/moa/<model>` and the like, with any model that
    the server's keys can pay for; seats of any model want `models` among what `start_proxy` allows.
    """
    models = [
        {"model_name": name, "litellm_params": {"model": f"composite/profile/{name}"}} for name in names
    ]
    if any_model:
        models.append({"model_name": "composite/*", "litellm_params": {"model": "composite/*"}})
    return {
        "model_list": models,
        # Without it a client that hangs up on a plain request leaves all of its calls running.
        "general_settings": {"cancel_on_disconnect": True},
        # One client's mistake would be everybody's 429 for a while: a model here is one deployment alone.
        "router_settings": {"disable_cooldowns": True},
        "litellm_settings": {
            "callbacks": ["composite_lab.provider.gate"],
            "custom_provider_map": [
                {"provider": "composite", "custom_handler": "composite_lab.provider.handler"}
            ],
        },
    }


def write_config(path: Path, profiles: Path, *, any_model: bool = False) -> list[str]:
    """Write the configuration for a file of profiles; the names of these. Raises `ConfigError`."""
    names = load_profiles(profiles)
    path.write_text(yaml.safe_dump(proxy_config(names, any_model=any_model), sort_keys=False))
    return names


def new_master_key() -> str:
    """A key that LiteLLM accepts as strong."""
    return f"sk-{secrets.token_urlsafe(32)}"


def start_proxy(
    config: Path, profiles: Path, *, host: str, port: int, master_key: str, allow: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Start LiteLLM's proxy as a process. Raises `ConfigError` when it is not installed.

    Clients may do what `allow` names and what `COMPOSITE_LAB_REMOTE_ALLOW` names already.
    """
    beside = Path(sys.executable).with_name("litellm")
    command = str(beside) if beside.exists() else shutil.which("litellm")
    if command is None or not _proxy_is_installed():
        raise ConfigError("LiteLLM's proxy is not installed: pip install 'composite-lab[proxy]'")
    environment = os.environ | {
        ENVIRONMENT_VARIABLE: str(profiles.absolute()),
        KEY_VARIABLE: master_key,
        ALLOW_VARIABLE: ",".join(_allowed(allow)),
    }
    arguments = [command, "--config", str(config), "--host", host, "--port", str(port)]
    return subprocess.Popen(arguments, env=environment)


def _allowed(more: Sequence[str]) -> list[str]:
    stated = [*os.environ.get(ALLOW_VARIABLE, "").split(","), *more]
    return sorted({group.strip() for group in stated} - {""})


def _proxy_is_installed() -> bool:
    from importlib.util import find_spec

    return find_spec("fastapi") is not None and find_spec("uvicorn") is not None
