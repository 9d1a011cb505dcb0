"""Which artifacts each step of a compiled pipeline reads."""

from collections.abc import Iterator, Mapping
from typing import Any

from components.shared.images import image
from pipelines.images.environments import steps

Artifact = tuple[str, str]
"""The step that wrote it, and the name of its output."""


def inputs(ir: Mapping[str, Any]) -> dict[str, tuple[Artifact, ...]]:
    """Return the artifacts that each step reads; what was imported from outside is left out.

    Args:
        ir: The pipeline with symbolic images.
    """
    return {step: tuple(dict.fromkeys(read)) for step, read in _steps(ir, ir["root"]["dag"], {})}


def _steps(
    ir: Mapping[str, Any], dag: Mapping[str, Any], given: Mapping[str, Artifact]
) -> Iterator[tuple[str, list[Artifact]]]:
    """Go through a DAG and those within it; ``given`` are the artifacts that it gets, by their names in it."""
    of_task = {name: _step(ir, task) for name, task in dag["tasks"].items()}
    for name, task in dag["tasks"].items():
        bound: dict[str, Artifact] = {}
        for key, source in task.get("inputs", {}).get("artifacts", {}).items():
            written = source.get("taskOutputArtifact")
            if written is not None:
                producer = of_task[written["producerTask"]]
                if producer is not None:
                    bound[key] = (producer, written["outputArtifactKey"])
            elif (outer := given.get(source["componentInputArtifact"])) is not None:
                bound[key] = outer
        inner = ir["components"][task["componentRef"]["name"]].get("dag")
        if inner is not None:
            yield from _steps(ir, inner, bound)
        elif (step := of_task[name]) is not None:
            yield step, list(bound.values())


def _step(ir: Mapping[str, Any], task: Mapping[str, Any]) -> str | None:
    """Return the step of a task; None for a condition or an importer."""
    label = ir["components"][task["componentRef"]["name"]].get("executorLabel")
    container = ir["deploymentSpec"]["executors"].get(label, {}).get("container", {})
    return {image(step): step for step in steps()}.get(container.get("image"))
