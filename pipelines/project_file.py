"""Read project.yaml: every mistake is one sentence that names the key, what was expected and the nearest known key."""

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from components.shared.errors import InputError
from components.shared.project import Project

FILE_NAME = "project.yaml"


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


def read(path: Path) -> Project:
    """Parse a project file.

    Args:
        path: The file, or the folder that holds ``project.yaml``.

    Raises:
        InputError: If it is absent, not YAML, or not a project; the sentence names the key and the way out.
    """
    file = path / FILE_NAME if path.is_dir() else path
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise InputError(
            f"there is no project file {str(file)!r}; go to a project's folder, name it with --project, "
            "or make one with 'perennial init TABLE --label COLUMN'."
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(f"{file.name} is not UTF-8 at byte {error.start}; save it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise InputError(f"{file.name} is not valid YAML: {' '.join(str(error).split())}; mend that line.") from None
    if not isinstance(content, dict):
        raise InputError(f"{file.name} holds {type(content).__name__}, expected keys such as 'name' and 'sources'.")
    try:
        project = Project.model_validate(content)
    except ValidationError as error:
        raise InputError(_sentence(file.name, error)) from None
    for problem in _contradictions(project):
        raise InputError(f"{file.name}: {problem}")
    return project


def json_schema() -> str:
    """Return the JSON schema of a project file, as editors use it."""
    return json.dumps(Project.model_json_schema(), indent=1, sort_keys=True) + "\n"


def _sentence(name: str, error: ValidationError) -> str:
    """Turn pydantic's findings into one sentence about the first, and the number of the others."""
    findings = error.errors()
    # A misspelt key explains the missing one that it should have been, so it goes first.
    first = min(findings, key=lambda finding: finding["type"] != "extra_forbidden")
    where = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        known = _keys_at(where[:-1])
        near = difflib.get_close_matches(where[-1], known, n=1, cutoff=0.5)
        place = f" in {'.'.join(where[:-1])!r}" if where[:-1] else ""
        hint = f"did you mean {near[0]!r}" if near else f"known are {sorted(known)}"
        text = f"{name}: there is no key {where[-1]!r}{place}; {hint}?"
    elif first["type"] == "missing":
        text = f"{name}: the key {'.'.join(where)!r} is missing; add it."
    else:
        reason = first["msg"].removeprefix("Value error, ")
        got = "" if isinstance(first["input"], dict) else f", got {first['input']!r}"
        text = f"{name}: {'.'.join(where) or 'the project'}: {reason}{got}; mend that value."
    others = len(findings) - 1
    return text if not others else f"{text[:-1]}{text[-1]} ({others} more)"


def _keys_at(where: list[str]) -> set[str]:
    """Collect the keys that the project's types know at a place."""
    models: list[Any] = [Project]
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


def _contradictions(project: Project) -> Iterator[str]:
    """Find what each key allows but their combination does not."""
    sources = sorted(project.sources)
    if project.label.source not in project.sources:
        yield f"label.source is {project.label.source!r}, expected one of the sources {sources}; name one of them."
    for source in project.validation.segment_columns:
        if source not in project.sources:
            yield f"validation.segment_columns names {source!r}, expected one of the sources {sources}."
    columns = sorted(project.features.columns)
    for entry in project.evaluation.slices:
        for column in (entry,) if isinstance(entry, str) else entry:
            if column not in project.features.columns:
                near = difflib.get_close_matches(column, columns, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {columns}."
                yield f"evaluation.slices names {column!r}, which is no feature; {hint}"
    for rule, needed, present in (
        ("slice_gap", "evaluation.slices", project.gate.slice_gap is None or project.evaluation.slices),
        ("fairness_gap", "evaluation.fairness", project.gate.fairness_gap is None or project.evaluation.fairness),
        ("value_positive", "value", not project.gate.value_positive or project.value),
    ):
        if not present:
            yield f"gate.{rule} needs what {needed!r} declares, but that is absent; declare it or drop the rule."
    if project.label.column in project.features.columns:
        yield f"the label {project.label.column!r} is listed as a feature; take it out of features.columns."
    if len(project.features.columns) > project.limits.columns:
        yield (
            f"features.columns lists {len(columns)} features, limits.columns allows {project.limits.columns}; "
            "drop some or raise the limit."
        )
    if project.split.validation + project.split.test >= 1:
        yield (
            f"split.validation {project.split.validation} and split.test {project.split.test} leave nothing to train "
            "on; their sum must be below 1."
        )
    if project.task == "binary" and project.value is None:
        return
    if project.task != "binary" and project.value is not None:
        yield f"'value' is defined for a binary task, this one is {project.task}; take the section out."
