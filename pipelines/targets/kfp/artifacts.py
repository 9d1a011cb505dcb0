"""Find where a run on a cluster left what its steps wrote."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.targets.kfp.workflow import Workflow


def located(workflow: Workflow) -> dict[str, str]:
    """Return where the artifacts of a run are: ``step.output`` -> URI, as on this machine.

    A step's driver tells its executor where to read and write. What came from the cache has no executor, but some later
    step that has reads it.
    """
    read: dict[str, str] = {}
    written: dict[str, str] = {}
    for node in workflow.nodes:
        inputs = {p["name"]: p.get("value") for p in node.get("inputs", {}).get("parameters", ())}
        outputs = {p["name"]: p.get("value") for p in node.get("outputs", {}).get("parameters", ())}
        patch = json.loads(outputs.get("pod-spec-patch") or "{}")
        if "task-name" not in inputs or not patch.get("containers"):
            continue
        step = inputs["task-name"]
        executor = _executor_input(patch["containers"][0]["command"])
        sources = json.loads(inputs["task"] or "{}").get("inputs", {}).get("artifacts", {})
        read |= {name: uri for key, uri in _uris(executor["inputs"]) if (name := _producer(sources.get(key, {})))}
        if workflow.task(step).state == "done":
            written |= {f"{step}.{key}": uri for key, uri in _uris(executor["outputs"])}
    return {name.replace("-", "_"): uri for name, uri in (read | written).items()}


def _executor_input(command: list[str]) -> dict[str, Any]:
    """Read the launcher's input; absent parts are empty."""
    executor_input: dict[str, Any] = json.loads(command[command.index("--executor_input") + 1])
    return {"inputs": executor_input.get("inputs", {}), "outputs": executor_input.get("outputs", {})}


def _uris(side: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in side.get("artifacts", {}).items():
        for artifact in value.get("artifacts", ())[:1]:
            yield name, artifact["uri"]


def _producer(source: Mapping[str, Any]) -> str | None:
    """Name the output that a task reads; through a condition kfp calls it ``pipelinechannel--<task>-<output>``."""
    if produced := source.get("taskOutputArtifact"):
        return f"{produced['producerTask']}.{produced['outputArtifactKey']}"
    _, passed_on, name = source.get("componentInputArtifact", "").partition("pipelinechannel--")
    task, _, output = name.rpartition("-")
    return f"{task}.{output}" if passed_on else None
