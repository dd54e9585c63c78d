"""Deterministic example values for JSON schemas: default tool arguments and structured answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from composite_lab.testing.draws import fraction, pick

# Schemas may refer to themselves; below this depth optional parts are left out.
MAX_DEPTH = 6


def example_value(schema: Mapping[str, Any], key: str, *, text: str = "example") -> Any:
    """Return a value that fits the schema, the same for the same key; `text` is used for strings."""
    return _value(schema, schema, key, text, 0)


def _value(schema: Mapping[str, Any], root: Mapping[str, Any], key: str, text: str, depth: int) -> Any:
    schema = _resolved(schema, root)
    fixed = [schema[name] for name in ("const", "default") if name in schema] or schema.get("enum")
    if fixed:
        return pick(fixed[:1] if "default" in schema else fixed, "enum", key)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind == "object":
        return _object(schema, root, key, text, depth)
    if kind == "array":
        size = schema.get("minItems", 0 if depth >= MAX_DEPTH else 1)
        items = schema.get("items", {})
        return [_value(items, root, f"{key}.{i}", text, depth + 1) for i in range(size)]
    if kind in {"integer", "number"}:
        return _number(schema, key)
    plain = {"boolean": fraction("boolean", key) < 0.5, "null": None}
    return plain[kind] if kind in plain else _string(schema, text)


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    for _ in range(MAX_DEPTH):
        reference = schema.get("$ref", "")
        if reference.startswith("#/"):
            found: Any = root
            for step in reference[2:].split("/"):
                found = found.get(step, {})
            schema = {**found, **{name: value for name, value in schema.items() if name != "$ref"}}
            continue
        branches = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        if not branches:
            break
        rest = {name: value for name, value in schema.items() if name not in {"anyOf", "oneOf", "allOf"}}
        chosen = branches if "allOf" in schema else branches[:1]
        for branch in chosen:
            rest = {**branch, **rest}
        schema = rest
    return schema


def _object(schema: Mapping[str, Any], root: Mapping[str, Any], key: str, text: str, depth: int) -> Any:
    properties: Mapping[str, Any] = schema.get("properties", {})
    required = set(schema.get("required", ()))
    wanted = [name for name in properties if depth < MAX_DEPTH or name in required]
    if depth > 3 * MAX_DEPTH:
        return {}
    return {name: _value(properties[name], root, f"{key}.{name}", text, depth + 1) for name in wanted}


def _number(schema: Mapping[str, Any], key: str) -> float:
    low: float = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
    high: float = schema.get("maximum", schema.get("exclusiveMaximum", max(low, 0) + 10) - 1)
    steps = max(high - low, 0) + 1
    return min(low + int(fraction("number", key) * steps), max(low, high))


def _string(schema: Mapping[str, Any], text: str) -> str:
    longest = schema.get("maxLength")
    return text[:longest].ljust(schema.get("minLength", 0), ".")
