"""Compile pipelines: the committed IR with symbolic images, and a target's IR with content-addressed ones."""

import contextlib
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from components.shared.images import image
from pipelines.images.environments import ROOT, steps
from pipelines.project import project_file

GOLDEN = ROOT / "pipelines" / "definitions" / "compiled"
EDITOR_SCHEMA = ROOT / "docs" / "project.schema.json"


def pipelines() -> dict[str, Callable[..., Any]]:
    """Return the project's pipelines by name."""
    from pipelines.definitions.training import training_pipeline

    return {"training": training_pipeline}


def symbolic(name: str) -> dict[str, Any]:
    """Compile one pipeline to its IR; images stand as ``perennial/<step>``."""
    return _compile(pipelines()[name])


def component(step: str) -> dict[str, Any]:
    """Compile one step alone, as ``component.yaml`` for those who load it elsewhere."""
    import importlib

    module = importlib.import_module(f"components.{step}.component")
    return _compile(getattr(module, step))


def with_references(ir: Mapping[str, Any], references: Mapping[str, str]) -> dict[str, Any]:
    """Fill the image references of a target into an IR.

    Args:
        ir: A symbolic IR; it is not changed.
        references: Step to image reference.
    """
    filled: dict[str, Any] = yaml.safe_load(yaml.safe_dump(dict(ir)))
    by_image = {image(step): reference for step, reference in references.items()}
    for executor in filled["deploymentSpec"]["executors"].values():
        if "container" in executor:
            executor["container"]["image"] = by_image[executor["container"]["image"]]
    return filled


def images_of(ir: Mapping[str, Any]) -> list[str]:
    """List the steps whose images an IR uses."""
    used = {e["container"]["image"] for e in ir["deploymentSpec"]["executors"].values() if "container" in e}
    return [step for step in steps() if image(step) in used]


def write_golden() -> list[Path]:
    """Rewrite the committed pipelines, ``component.yaml`` of every step, and the project file's JSON schema."""
    written = []
    for path, text in golden().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def golden() -> dict[Path, str]:
    """Make everything that is committed though it follows from the source, by the path where it stands."""
    compiled = {GOLDEN / f"{name}.yaml": symbolic(name) for name in pipelines()}
    compiled |= {ROOT / "components" / step / "component.yaml": component(step) for step in steps()}
    return {path: as_text(ir) for path, ir in compiled.items()} | {EDITOR_SCHEMA: project_file.json_schema()}


def as_text(ir: Mapping[str, Any]) -> str:
    """Write an IR the same way every time."""
    return yaml.safe_dump(dict(ir), sort_keys=True, allow_unicode=True, width=120)


def documents(definition: Any) -> list[dict[str, Any]]:
    """Compile to the IR and, where tasks have something that only a cluster knows, the platform beside it."""
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        path = Path(folder) / "ir.yaml"
        compiler.Compiler().compile(definition, str(path))
        return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def _compile(definition: Any) -> dict[str, Any]:
    (ir,) = documents(definition)
    return ir


def write(folder: Path, target: str | None = None, project: Path = Path(), overrides: Sequence[str] = ()) -> list[Path]:
    """Write the IR of every pipeline into a folder.

    Args:
        folder: Where to; created if absent.
        target: Fills in the images of this place and, for a cluster, what only it knows; None leaves images symbolic.
        project: The project's folder or file: its targets, and on a cluster its resources.
        overrides: ``key=value`` for single keys of the target.

    Raises:
        InputError: If target or project won't do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in pipelines():
        text = as_text(symbolic(name)) if target is None else for_target(name, target, project, overrides)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return [folder / f"{name}.yaml" for name in pipelines()]


def for_target(name: str, target: str, project: Path, overrides: Sequence[str] = ()) -> str:
    """Compile one pipeline for a place; see ``write``."""
    from pipelines.images import digests, recipes
    from pipelines.targets import reading
    from pipelines.targets.model import Kfp, Laptop

    root = (project.parent if project.name == project_file.FILE_NAME else project).resolve()
    chosen = reading.read(target, root, overrides)
    used = images_of(symbolic(name))
    if isinstance(chosen, Laptop):
        return as_text(with_references(symbolic(name), {step: recipes.reference(step) for step in used}))
    images = chosen.images
    references = {step: digests.pinned(step, images.base, images.registry) for step in used}
    if isinstance(chosen, Kfp):
        from pipelines.targets.kfp import placement

        return placement.as_text(placement.compile_(pipelines()[name], chosen, project_file.read(root), references))
    return as_text(with_references(symbolic(name), references))
