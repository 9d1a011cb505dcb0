"""Read a YAML document into a type; every mistake is one sentence that names the key and the nearest known one."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from components.shared.errors import InputError

Document = TypeVar("Document", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which refuses a key that stands twice instead of taking the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool):
                raise yaml.constructor.ConstructorError(None, None, "a key must be plain text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def load(file: Path) -> dict[str, Any]:
    """Parse a YAML file that holds keys.

    Raises:
        FileNotFoundError: If there is none.
        InputError: If it is not UTF-8, not YAML, or holds something else than keys.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except UnicodeDecodeError as error:
        raise InputError(f"{file.name} is not UTF-8 at byte {error.start}; save it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise InputError(f"{file.name} is not valid YAML: {' '.join(str(error).split())}; mend that line.") from None
    if not isinstance(content, dict):
        raise InputError(f"{file.name} holds {type(content).__name__}, expected keys; mend that file.")
    return content


def parse(name: str, content: Mapping[str, Any], type_: type[Document]) -> Document:
    """Make a document of a type from what a file holds.

    Args:
        name: Of the file, for the sentence.
        content: Its keys and values.
        type_: What it should be.

    Raises:
        InputError: If it is not; the sentence names the key and the way out.
    """
    try:
        return type_.model_validate(content)
    except ValidationError as error:
        raise InputError(_sentence(name, error, type_)) from None


def _sentence(name: str, error: ValidationError, type_: type[BaseModel]) -> str:
    """Turn pydantic's findings into one sentence about the first, and the number of the others."""
    findings = error.errors()
    # A misspelt key explains the missing one that it should have been, so it goes first.
    first = min(findings, key=lambda finding: finding["type"] != "extra_forbidden")
    where = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        known = _keys_at(type_, where[:-1])
        near = difflib.get_close_matches(where[-1], known, n=1, cutoff=0.5)
        place = f" in {'.'.join(where[:-1])!r}" if where[:-1] else ""
        hint = f"did you mean {near[0]!r}" if near else f"known are {sorted(known)}"
        text = f"{name}: there is no key {where[-1]!r}{place}; {hint}?"
    elif first["type"] == "missing":
        text = f"{name}: the key {'.'.join(where)!r} is missing; add it."
    else:
        reason = first["msg"].removeprefix("Value error, ")
        got = "" if isinstance(first["input"], dict) else f", got {first['input']!r}"
        text = f"{name}: {'.'.join(where) or 'the document'}: {reason}{got}; mend that value."
    others = len(findings) - 1
    return text if not others else f"{text[:-1]}{text[-1]} ({others} more)"


def _keys_at(type_: type[BaseModel], where: list[str]) -> set[str]:
    """Collect the keys that a type knows at a place."""
    models: list[Any] = [type_]
    for part in where:
        found: list[Any] = []
        for model in models:
            fields = model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else {}
            found += list(_models(fields[part].annotation)) if part in fields else [model]
        models = found
    return {key for model in models for key in model.model_fields}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
