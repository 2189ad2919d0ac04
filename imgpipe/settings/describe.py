"""Settings as a table, from their JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel


def describe_fields(settings: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    """(dotted key, what is valid, default, description) of every setting, in order."""
    schema = settings.model_json_schema()
    yield from _describe(schema, schema.get("$defs", {}), "")


def _describe(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, str, str, str]]:
    for name, field in schema["properties"].items():
        section = definitions.get(str(field.get("$ref", "")).rpartition("/")[2])
        if section is not None:
            yield from _describe(section, definitions, f"{prefix}{name}.")
            continue
        default = field.get("default")
        shown = json.dumps(default) if isinstance(default, list | dict | bool) else str(default)
        yield f"{prefix}{name}", _valid(field), "" if default is None else shown, field["description"]


def _valid(field: Mapping[str, Any]) -> str:
    """The allowed values of a JSON Schema that pydantic makes, in words."""
    if "anyOf" in field:
        return " or ".join(_valid(part) for part in field["anyOf"])
    if "const" in field or "enum" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    kind = field.get("type", "")
    if "prefixItems" in field:
        return "[" + ", ".join(_valid(part) for part in field["prefixItems"]) + "]"
    if kind == "array":
        return f"list of {_valid(field['items'])}"
    if kind == "object":
        return f"name: {_valid(field['additionalProperties'])}"
    low, high = field.get("minimum"), field.get("maximum")
    above = field.get("exclusiveMinimum")
    names = {"number": "number", "integer": "integer", "string": "text"}
    words = names.get(kind, "`true`, `false`" if kind == "boolean" else kind)
    start = f"above {above:g}" if above is not None else "" if low is None else f"at least {low}"
    end = "" if high is None else f"{high:g}" if isinstance(high, float) else f"{high}"
    if end and above is None and low is not None:
        words += f" {low}..{end}"
    elif start or end:
        words += f" {start}{' ' if start and end else ''}{'up to ' if end else ''}{end}"
    return words
