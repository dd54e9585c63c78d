"""The JSON schema of a profiles file, made from the classes that read it."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from composite_lab.profiles.clients import CAPS
from composite_lab.profiles.document import VARIABLE
from composite_lab.profiles.file import NAME, NOT_IN_BUNDLES, STRATEGIES, option_names
from composite_lab.seats import Frozen, Seat

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {"type": "string", "pattern": f"^{VARIABLE.replace('.', '[.]')}.+$"}
_CRITERIA = [
    {"type": "array", "items": {"type": "string"}, "minItems": 1},
    {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
]
_NOT_TEXT = ("number", "integer", "boolean")


def profiles_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a profiles file, for editors: completion and red lines.

    Print it with `composite-lab profiles --schema`.
    """
    classes: list[type[Frozen]] = [*STRATEGIES.values(), Seat]
    _, made = models_json_schema([(each, "validation") for each in classes])
    defs: dict[str, Any] = made["$defs"]
    for each in classes:
        own = defs[each.__name__]
        own["properties"] = {
            name: _or_variable(option)
            for name, option in own["properties"].items()
            if name in option_names(each)
        }
    for kind, each in STRATEGIES.items():
        own = defs[each.__name__]
        own["properties"] = {"strategy": {"const": kind}} | own["properties"]
        own["required"] = ["strategy", *own["required"]]
    seat = defs["Seat"]
    bundle = {name: option for name, option in seat["properties"].items() if name not in NOT_IN_BUNDLES}
    provider = {"type": "string", "description": "The name of a bundle under `providers`."}
    seat["properties"]["provider"] = provider
    defs["Seat"] = {"anyOf": [{"type": "string", "minLength": 1}, seat]}
    rubric = defs["Rubric"]
    rubric["properties"]["criteria"] = {"anyOf": _CRITERIA}
    defs["Rubric"] = {"anyOf": [*_CRITERIA, rubric]}
    defs["Provider"] = {
        "description": "Fields of Seats that share an endpoint; the seat's own win.",
        "type": "object",
        "properties": bundle,
        "additionalProperties": False,
    }
    defs["Clients"] = _clients()
    profile = {"oneOf": [{"$ref": f"#/$defs/{each.__name__}"} for each in STRATEGIES.values()]}
    names = {"pattern": f"^{NAME.pattern}$"}
    return {
        "$schema": DIALECT,
        "title": "Profiles of composite_lab",
        "type": "object",
        "properties": {
            "providers": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Provider"}},
            "clients": {"$ref": "#/$defs/Clients"},
            "profiles": {
                "type": "object",
                "propertyNames": names,
                "minProperties": 1,
                "additionalProperties": profile,
            },
        },
        "required": ["profiles"],
        "additionalProperties": False,
        "$defs": defs,
    }


def _clients() -> dict[str, Any]:
    text = {"type": "array", "items": {"type": "string", "minLength": 1}}
    limit = {"anyOf": [{"type": "number", "minimum": 0}, _VARIABLE]}
    return {
        "description": "What clients of a proxy may have.",
        "type": "object",
        "properties": {
            "limits": {
                "type": "object",
                "properties": dict.fromkeys(CAPS, limit),
                "additionalProperties": False,
            },
            "models": text,
            "parameters": text,
        },
        "additionalProperties": False,
    }


def _or_variable(option: dict[str, Any]) -> dict[str, Any]:
    """The option's schema, where it is no text, with `os.environ/NAME` as another way to write it."""
    choices = option.get("anyOf", [option])
    if not any(choice.get("type") in _NOT_TEXT or "enum" in choice for choice in choices):
        return option
    about = {name: option[name] for name in ("title", "description", "default") if name in option}
    bare = [{name: value for name, value in choice.items() if name not in about} for choice in choices]
    return about | {"anyOf": [*bare, _VARIABLE]}
