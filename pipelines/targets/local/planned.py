"""Which tasks a compiled pipeline may run, and what each of them waits for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class PlannedTask:
    """A task that a run reaches, unless a condition or a failure keeps it from that."""

    name: str
    """Names of the nested pipelines that it is in, and its own, joined by slashes."""
    step: str
    code: str
    """The Python source of its component; travels in the compiled command."""
    variables: Mapping[str, str]
    """Environment variables that the pipeline sets for it."""
    scratch: Path
    """Its folder for temporary files."""
    after: frozenset[str]
    """Names of all tasks that it directly or indirectly waits for."""


def tasks(ir: Mapping[str, Any], references: Mapping[str, str], scratch: Path) -> tuple[PlannedTask, ...]:
    """List the tasks of a pipeline in an order in which they can run; of several branches, the first one comes first.

    A task waits for what the nested pipelines around it wait for: a condition for the task that it looks at, a loop
    for the list that it goes through.

    Args:
        ir: Compiled pipeline with the image references filled in.
        references: Step to image reference.
        scratch: Folder of the run that holds a folder per step.
    """
    steps = {reference: step for step, reference in references.items()}
    executors = ir["deploymentSpec"]["executors"]

    def within(dag: Mapping[str, Any], prefix: str, inherited: frozenset[str]) -> Iterator[PlannedTask]:
        inside: dict[str, list[PlannedTask]] = {}
        for name in _in_order(dag["tasks"]):
            former = [task for other in dag["tasks"][name].get("dependentTasks", ()) for task in inside[other]]
            after = inherited.union(*({task.name} | task.after for task in former))
            component = ir["components"][dag["tasks"][name]["componentRef"]["name"]]
            if "dag" in component:
                inside[name] = list(within(component["dag"], f"{prefix}{name}/", after))
            else:
                container = executors[component["executorLabel"]].get("container")
                inside[name] = [_planned(prefix + name, container, after)] if container else []
            yield from inside[name]

    def _planned(name: str, container: Mapping[str, Any], after: frozenset[str]) -> PlannedTask:
        step = steps[container["image"]]
        variables = {variable["name"]: variable["value"] for variable in container.get("env", ())}
        return PlannedTask(name, step, container["command"][-1], variables, scratch / step, after)

    return tuple(within(ir["root"]["dag"], "", frozenset()))


def _in_order(dag: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    """Sort tasks so that each comes after those it depends on, and otherwise by name.

    >>> _in_order({"b": {}, "a": {"dependentTasks": ["c"]}, "c": {}})
    ['c', 'a', 'b']
    """
    ordered: list[str] = []

    def add(name: str) -> None:
        if name not in ordered:
            for other in sorted(dag[name].get("dependentTasks", ())):
                add(other)
            ordered.append(name)

    for name in sorted(dag):
        add(name)
    return ordered
