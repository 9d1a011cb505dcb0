"""Compare a project file with the text of ``feature_repo/features.py``, before a run starts.

Feast is installed in the steps that need it and takes seconds to import. The text says most of what they would refuse;
what it does not say plainly (names that are computed) is left to them.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.shared.project import Project
from pipelines.project.suggestion import hint

PATH = Path("feature_repo") / "features.py"
_TEXT = "String"


@dataclass(frozen=True)
class _Declared:
    """What ``features.py`` declares in plain text; None where it is computed."""

    fields: dict[str, str] | None
    """Name to Feast type."""
    services: list[str] | None
    join_keys: list[str] | None


def contradictions(project: Project, folder: Path) -> Iterator[str]:
    """Find what the project file says and ``features.py`` contradicts.

    Args:
        project: The project.
        folder: Its folder. Without the file, or with one that isn't Python, nothing is found: the steps say why.
    """
    try:
        tree = ast.parse((folder / PATH).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return
    declared = _declared(tree)
    service = project.features.service
    if declared.services is not None and service not in declared.services:
        yield f"features.service is {service!r}, which {PATH} does not define; {hint(service, declared.services)}"
    for key in declared.join_keys or ():
        if key != project.entity:
            yield (
                f"{PATH} has an entity with the join key {key!r}, but the project's entity is {project.entity!r}; "
                "expected one entity, by which all features are joined. Join the other table in the SQL of a view, or "
                "correct 'entity'."
            )
    if declared.fields is not None:
        yield from _unsuitable_columns(project, declared.fields)


def _unsuitable_columns(project: Project, fields: dict[str, str]) -> Iterator[str]:
    for name, feature in project.features.columns.items():
        if name not in fields:
            yield f"features.columns names {name!r}, which {PATH} does not deliver; {hint(name, fields)}"
        elif fields[name] == _TEXT and feature.type != "categorical":
            yield (
                f"features.columns.{name} has the type {feature.type}, but {PATH} delivers texts ({_TEXT}); declare it "
                f"as categorical, or cast it in the SQL of the view and change its dtype."
            )


def _declared(tree: ast.AST) -> _Declared:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    fields = [(_text(_argument(call, "name", 0)), _type(_argument(call, "dtype", 1))) for call in _of(calls, "Field")]
    services = [_text(_argument(call, "name", 0)) for call in _of(calls, "FeatureService")]
    keys = [_texts(_argument(call, "join_keys", 1)) for call in _of(calls, "Entity")]
    return _Declared(
        fields={name: kind for name, kind in fields if name} if all(name for name, _ in fields) and fields else None,
        services=[name for name in services if name] if all(services) and services else None,
        join_keys=[key for group in keys for key in group or ()],
    )


def _of(calls: list[ast.Call], function: str) -> Iterator[ast.Call]:
    return (call for call in calls if isinstance(call.func, ast.Name) and call.func.id == function)


def _argument(call: ast.Call, name: str, position: int) -> ast.expr | None:
    named = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    return named or (call.args[position] if len(call.args) > position else None)


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _texts(node: ast.expr | None) -> list[str] | None:
    names = [_text(element) for element in node.elts] if isinstance(node, ast.List) else [None]
    return [name for name in names if name] if all(names) else None


def _type(node: ast.expr | None) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
