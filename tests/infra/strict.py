"""Check a manifest against the models of the SDKs: an unknown key, a missing one or a wrong type is an error."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import kserve
from kubernetes import client

_SIMPLE: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "datetime": (str, datetime),
}
_GENERIC = re.compile(r"^(list|dict)[\[(](.*)[\])]$")


def problems(document: dict[str, Any]) -> list[str]:
    """Return every deviation of a whole manifest, with its path; none means that the SDK knows every field."""
    version, kind = document["apiVersion"].rpartition("/")[2], document["kind"]
    return list(_model(document, version[0].upper() + version[1:] + kind, f"{kind}/{document['metadata']['name']}"))


def _model(value: Any, name: str, path: str) -> Iterator[str]:
    known = getattr(client, name, None) or getattr(kserve.models, name, None) or getattr(kserve, name, None)
    if known is None:
        yield f"{path}: the SDKs have no type {name}"
        return
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is no {name}"
        return
    keys = {json: attribute for attribute, json in known.attribute_map.items()}
    for key, inner in value.items():
        if key not in keys:
            yield f"{path}.{key}: {name} has no such field"
        else:
            yield from _value(inner, known.openapi_types[keys[key]], f"{path}.{key}")
    try:
        known(**{keys[key]: inner for key, inner in value.items() if key in keys})
    except ValueError as error:
        yield f"{path}: {error}"


def _value(value: Any, name: str, path: str) -> Iterator[str]:
    if generic := _GENERIC.match(name):
        container, inner = generic.groups()
        if container == "list" and isinstance(value, list):
            for number, item in enumerate(value):
                yield from _value(item, inner, f"{path}[{number}]")
        elif container == "dict" and isinstance(value, dict):
            for key, item in value.items():
                yield from _value(item, inner.partition(",")[2].strip(), f"{path}.{key}")
        else:
            yield f"{path}: {value!r} is no {name}"
    elif name in _SIMPLE:
        if not isinstance(value, _SIMPLE[name]) or (isinstance(value, bool) and name != "bool"):
            yield f"{path}: {value!r} is no {name}"
    elif name != "object":
        yield from _model(value, name, path)
