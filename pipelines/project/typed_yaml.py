"""Read a YAML document into a pydantic model; each mistake is reported in one sentence with the most similar key."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from components.shared.errors import InputError

Document = TypeVar("Document", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, but a duplicate key is an error rather than the last one taking precedence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool):
                raise yaml.constructor.ConstructorError(
                    None, None, "expected a text, number or boolean as key", key_node.start_mark
                )
            if key in keys:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
            keys.add(key)
        return super().construct_mapping(node, deep)


def load(file: Path) -> dict[str, Any]:
    """Parse a YAML file with a mapping.

    Raises:
        FileNotFoundError: If the file does not exist.
        InputError: If it is not UTF-8, not YAML, or not a mapping.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except UnicodeDecodeError as error:
        raise InputError(f"{file.name} is not UTF-8 at byte {error.start}; save it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise InputError(f"{file.name} is not valid YAML: {' '.join(str(error).split())}. Correct the file.") from None
    if not isinstance(content, dict):
        raise InputError(f"{file.name} contains a {type(content).__name__}; expected a mapping of keys to values.")
    return content


def parse(name: str, content: Mapping[str, Any], type_: type[Document]) -> Document:
    """Validate the content of a file.

    Args:
        name: Name of the file, for messages.
        content: Keys and values of the file.
        type_: Model of the document.

    Raises:
        InputError: If the content is invalid; the message names the key.
    """
    try:
        return type_.model_validate(content)
    except ValidationError as error:
        raise InputError(_message(name, error, type_)) from None


def _message(name: str, error: ValidationError, type_: type[BaseModel]) -> str:
    """Write a message about the first of pydantic's errors, and the number of the others."""
    errors = error.errors()
    # A misspelt key explains why the correct key is missing, so it comes first.
    first = min(errors, key=lambda details: details["type"] != "extra_forbidden")
    path = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        keys = _keys_at(type_, path[:-1])
        similar = difflib.get_close_matches(path[-1], keys, n=1, cutoff=0.5)
        section = f" in {'.'.join(path[:-1])!r}" if path[:-1] else ""
        hint = f"did you mean {similar[0]!r}?" if similar else f"expected one of {sorted(keys)}."
        text = f"{name}: unknown key {path[-1]!r}{section}; {hint}"
    elif first["type"] == "missing":
        text = f"{name}: the key {'.'.join(path)!r} is missing; add it."
    elif first["type"] in ("model_type", "model_attributes_type", "dict_type"):
        below = sorted(_keys_at(type_, path))[:3]
        expected = f"expected keys below it, such as {', '.join(below)}" if below else "expected keys below it"
        value = "has no keys" if first["input"] is None else f"is {first['input']!r}"
        text = f"{name}: {'.'.join(path) or 'the document'} {value}; {expected}, or no such section."
    else:
        reason = first["msg"].removeprefix("Value error, ")
        got = "" if isinstance(first["input"], dict) else f", got {first['input']!r}"
        text = f"{name}: {'.'.join(path) or 'the document'}: {reason}{got}; correct the value."
    others = len(errors) - 1
    return f"{text} ({others} more errors)" if others > 1 else f"{text} (1 more error)" if others else text


def _keys_at(type_: type[BaseModel], path: list[str]) -> set[str]:
    """Return the valid keys at a path of a document."""
    models: list[Any] = [type_]
    for part in path:
        next_models: list[Any] = []
        for model in models:
            fields = model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else {}
            next_models += list(_models(fields[part].annotation)) if part in fields else [model]
        models = next_models
    return {key for model in models for key in model.model_fields}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
