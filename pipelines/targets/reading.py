"""Find and read a target file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from components.shared.errors import InputError
from pipelines.project import typed_yaml
from pipelines.targets.model import Docker, Kfp, Laptop, Target, Vertex

SHIPPED = Path(__file__).parent
_KINDS: dict[str, type[Target]] = {"laptop": Laptop, "docker": Docker, "kfp": Kfp, "vertex": Vertex}


def read(name: str, root: Path, overrides: Sequence[str] = ()) -> Target:
    """Read a target by its name, or by the path of its file.

    Args:
        name: ``kfp`` is ``targets/kfp.yaml`` next to the project file, or else the one that is shipped.
        root: The project's folder.
        overrides: ``key.inner=value``; the value is YAML.

    Raises:
        InputError: If there is no such target, or the file or an override is wrong.
    """
    file = _find(name, root)
    content = typed_yaml.load(file)
    for override in overrides:
        _set(content, override)
    kind = content.get("kind")
    if kind not in _KINDS:
        raise InputError(f"{file.name}: kind is {kind!r}, expected one of {sorted(_KINDS)}; correct the value.")
    return typed_yaml.parse(file.name, _filled(content, root), _KINDS[kind])


def _find(name: str, root: Path) -> Path:
    if name.endswith((".yaml", ".yml")):
        file = Path(name)
        if not file.is_file():
            raise InputError(
                f"there is no target file {name!r}; create it, or use one of the shipped targets {_shipped()}."
            )
        return file
    for folder in (root / "targets", SHIPPED):
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    own = sorted(path.stem for path in (root / "targets").glob("*.yaml"))
    raise InputError(f"there is no target {name!r}; known are {sorted({*_shipped(), *own})}, or name a file (*.yaml).")


def _shipped() -> list[str]:
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def _set(content: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise InputError(
            f"--set {override!r} is not of the form key=value; write for example --set host=http://localhost:8888."
        )
    *parents, last = key.split(".")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise InputError(f"--set {override!r}: {parent!r} holds a value, not keys; name a key that exists.")
    try:
        content[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise InputError(f"--set {override!r}: the value is not YAML; quote it.") from None


def _filled(value: Any, root: Path) -> Any:
    """Put the project's folders in for ``{root}`` and ``{state}``."""
    if isinstance(value, dict):
        return {key: _filled(inner, root) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, root) for inner in value]
    if isinstance(value, str):
        return value.replace("{root}", str(root)).replace("{state}", str(root / ".perennial"))
    return value
