"""Run a compiled pipeline of TFX as the launcher of a backend does: a container's command line for each task.

What a pod gets is the command line of its executor with the ``ExecutorInput`` in it, and what it leaves for the tasks
after it is the ``ExecutorOutput`` in the file that the input names. The check before the cache (``preCacheCheck``) runs
first where there is one. Only the image is missing: a command runs in this virtualenv.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

Run = Callable[[Sequence[str]], None]
"""Runs a command line."""


class Launcher:
    """Runs the tasks of one pipeline.

    Args:
        spec: The pipeline, schema 2.0.0.
        root: Gets a folder per task.
        run: Runs the command lines.
    """

    def __init__(self, spec: Mapping[str, Any], root: Path, run: Run) -> None:
        self._spec, self._root, self._run = spec, root, run
        self.outputs: dict[str, dict[str, Any]] = {}
        """Task -> output -> list of artifacts, as the task left them."""

    def to_the_end(self) -> None:
        """Run every task after those that it takes artifacts from."""
        tasks = self._spec["root"]["dag"]["tasks"]
        order = TopologicalSorter({name: task.get("dependentTasks", ()) for name, task in tasks.items()})
        for name in order.static_order():
            self._launch(name, tasks[name])

    def _launch(self, name: str, task: Mapping[str, Any]) -> None:
        component = self._spec["components"][task["componentRef"]["name"]]
        container = self._spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        output_file = self._root / name / "executor_output.json"
        given = {
            "inputs": self._inputs(task),
            "outputs": {"artifacts": self._places(name, component), "outputFile": str(output_file)},
        }
        check = container.get("lifecycle", {}).get("preCacheCheck")
        for part in filter(None, (check, container)):
            line = [*part["command"], *part["args"]]
            self._run([word.replace("{{$}}", json.dumps(given)) for word in line])
            if output_file.exists():
                # A check may change what the executor gets.
                left = json.loads(output_file.read_text(encoding="utf-8")).get("artifacts", {})
                for output, listed in left.items():
                    for place, artifact in zip(
                        given["outputs"]["artifacts"][output]["artifacts"], listed["artifacts"], strict=True
                    ):
                        place.update(artifact)
        self.outputs[name] = given["outputs"]["artifacts"]

    def _inputs(self, task: Mapping[str, Any]) -> dict[str, Any]:
        asked = task.get("inputs", {})
        artifacts = {}
        for name, source in asked.get("artifacts", {}).items():
            producer = source["taskOutputArtifact"]
            artifacts[name] = self.outputs[producer["producerTask"]][producer["outputArtifactKey"]]
        parameters = {
            name: source["runtimeValue"]["constantValue"] for name, source in asked.get("parameters", {}).items()
        }
        return {"artifacts": artifacts, "parameters": parameters}

    def _places(self, name: str, component: Mapping[str, Any]) -> dict[str, Any]:
        declared = component.get("outputDefinitions", {}).get("artifacts", {})
        return {
            output: {
                "artifacts": [
                    {
                        "name": f"{name}/{output}",
                        "uri": str(self._root / name / output),
                        "type": definition["artifactType"],
                        "metadata": definition.get("metadata", {}),
                    }
                ]
            }
            for output, definition in declared.items()
        }
