"""Count the pods that a run of a compiled pipeline takes on a cluster.

Kubeflow Pipelines starts a pod for the driver of each DAG (the root, and each condition, taken or not), two for each
task (its driver and its executor) and one for an importer. A loop has one for itself, and for each item one more and
those of its tasks. A task that is taken from the cache has only its driver.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PodCount:
    """The size of a pipeline.

    Attributes:
        tasks: Tasks that run a container, in all conditions.
        conditions: Tasks that are run only if a condition holds, each of which is a DAG of its own.
        pods: The most pods that one run can take; of two opposite conditions, only one is taken.
    """

    tasks: int
    conditions: int
    pods: int

    def __str__(self) -> str:
        """Write it for people.

        >>> str(PodCount(tasks=12, conditions=2, pods=26))
        '12 tasks, 2 conditions, at most 26 pods'
        """
        return f"{self.tasks} tasks, {self.conditions} conditions, at most {self.pods} pods"


def count(ir: Mapping[str, Any]) -> PodCount:
    """Count the tasks, conditions and pods of a compiled pipeline."""
    tasks, conditions, pods = _dag(ir, ir["root"]["dag"]["tasks"].values())
    return PodCount(tasks, conditions, pods)


def _dag(ir: Mapping[str, Any], members: Any) -> tuple[int, int, int]:
    """Return the tasks and conditions of a DAG, and its pods with that of its own driver."""
    tasks, conditions, pods = 0, 0, 1
    taken_by_parameter: dict[str, int] = {}
    for task in members:
        component = ir["components"][task["componentRef"]["name"]]
        condition = task.get("triggerPolicy", {}).get("condition")
        conditions += condition is not None
        if "dag" not in component:
            executor = ir["deploymentSpec"]["executors"][component["executorLabel"]]
            tasks += "container" in executor
            pods += 1 + ("container" in executor)
            continue
        inner_tasks, inner_conditions, inner_pods = _dag(ir, component["dag"]["tasks"].values())
        if "parameterIterator" in task:
            # The driver of the loop, and for each item one more with all that follows it.
            inner_pods = 1 + inner_pods * len(json.loads(task["parameterIterator"]["items"]["raw"]))
        tasks, conditions = tasks + inner_tasks, conditions + inner_conditions
        if condition is None:
            pods += inner_pods
        else:
            # The driver runs in any case, what follows it only where the condition holds.
            pods += 1
            tested = condition.partition("==")[0].strip("!( ")
            taken_by_parameter[tested] = max(taken_by_parameter.get(tested, 0), inner_pods - 1)
    return tasks, conditions, pods + sum(taken_by_parameter.values())
