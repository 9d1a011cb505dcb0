"""What a custom resource has that its published definition does not know."""

from pathlib import Path
from typing import Any

import yaml

_KINDS: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": int | float,
}


def problems(document: dict[str, Any], definition: Path) -> list[str]:
    """Return every deviation of a manifest from a file with its CustomResourceDefinition, with its path."""
    versions = {
        version["name"]: version["schema"]["openAPIV3Schema"]
        for version in yaml.load(definition.read_text(), yaml.CSafeLoader)["spec"]["versions"]
    }
    return _problems(document, versions[document["apiVersion"].partition("/")[2]], document["kind"])


def _problems(value: Any, schema: dict[str, Any], where: str) -> list[str]:
    if schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields"):
        return []
    expected = _KINDS.get(schema.get("type", ""), object)
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        return [f"{where} is no {schema['type']}"]
    found = []
    if isinstance(value, dict):
        known, extra = schema.get("properties", {}), schema.get("additionalProperties")
        found += [f"{where} lacks {name}" for name in schema.get("required", []) if name not in value]
        for name, inner in value.items():
            if name in known:
                found += _problems(inner, known[name], f"{where}.{name}")
            elif isinstance(extra, dict):
                found += _problems(inner, extra, f"{where}.{name}")
            elif known and not extra:
                found.append(f"{where}.{name} is unknown")
    if isinstance(value, list):
        for position, inner in enumerate(value):
            found += _problems(inner, schema.get("items", {}), f"{where}[{position}]")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where} is {value!r}, not one of {schema['enum']}")
    return found
