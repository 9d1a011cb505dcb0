"""Compile pipelines: the committed IR with symbolic images, and a target's IR with content-addressed ones."""

import contextlib
import copy
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from components.shared.images import image
from components.shared.project import Project
from pipelines.definitions import catalog
from pipelines.definitions.kept import kept
from pipelines.images.environments import ROOT, steps
from pipelines.project import project_file

GOLDEN = ROOT / "pipelines" / "definitions" / "compiled"
EDITOR_SCHEMA = ROOT / "docs" / "project.schema.json"


def symbolic(name: str) -> dict[str, Any]:
    """Compile one pipeline to its IR; images have the symbolic names ``perennial/<step>``."""
    return _compile(catalog.entry(name).definition)


def kept_symbolic(entry: catalog.PipelineEntry) -> dict[str, Any]:
    """Return what ``symbolic`` returns, from the user's cache as long as the pipeline's source is the same."""
    ir: dict[str, Any] = kept(entry.module, "ir", lambda: _compile(entry.definition))
    return ir


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
    filled: dict[str, Any] = copy.deepcopy(dict(ir))
    by_image = {image(step): reference for step, reference in references.items()}
    for executor in filled["deploymentSpec"]["executors"].values():
        if "container" in executor:
            executor["container"]["image"] = by_image[executor["container"]["image"]]
    return filled


def cached_by(ir: Mapping[str, Any], parameter: str) -> dict[str, Any]:
    """Let the tasks be cached that are never cached as they are, but take a parameter that says when they may be.

    Args:
        ir: Compiled pipeline; it is not changed.
        parameter: A parameter of the pipeline that changes whenever those tasks would have other outputs.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(ir))
    for task in changed["root"]["dag"]["tasks"].values():
        inputs = task.get("inputs", {}).get("parameters", {}).values()
        if any(source.get("componentInputParameter") == parameter for source in inputs):
            task["cachingOptions"] = {"enableCache": True}
    return changed


def started_as(ir: Mapping[str, Any], project: Project) -> dict[str, Any]:
    """Let training take the project's bundle in place of the champion's models, unless the project continues these.

    A cache compares where inputs are. The step champion leaves its outputs somewhere else whenever the champion has
    changed, which is no reason to repeat a training from scratch.

    Args:
        ir: Compiled pipeline; it is not changed.
        project: Says how its models are trained.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(ir))
    if not project.retraining.continues:
        for component in (changed["root"], *changed["components"].values()):
            if training := component.get("dag", {}).get("tasks", {}).get("training"):
                artifacts = training["inputs"]["artifacts"]
                artifacts["start"] = artifacts["project"]
    return changed


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
    """Generate every committed file that follows from the source, by its path."""
    compiled = {GOLDEN / f"{name}.yaml": symbolic(name) for name in catalog.PIPELINES}
    compiled |= {ROOT / "components" / step / "component.yaml": component(step) for step in steps()}
    return {path: as_text(ir) for path, ir in compiled.items()} | {EDITOR_SCHEMA: project_file.json_schema()}


def as_text(ir: Mapping[str, Any]) -> str:
    """Write an IR the same way every time."""
    return yaml.safe_dump(dict(ir), sort_keys=True, allow_unicode=True, width=120)


def documents(definition: Any) -> list[dict[str, Any]]:
    """Compile to the IR and, where tasks have something that only a cluster knows, the platform document."""
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        path = Path(folder) / "ir.yaml"
        compiler.Compiler().compile(definition, str(path))
        return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def _compile(definition: Any) -> dict[str, Any]:
    (ir,) = documents(definition)
    return ir
