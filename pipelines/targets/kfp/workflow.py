"""Read how the steps of a run fare from Argo's workflow, which only KFP's older API shows."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from components.shared.documents.run_record import StepState

_LEFT_OUT = {"Skipped", "Omitted"}
_ENDED_WELL = {"Succeeded", *_LEFT_OUT}
_ENDED_BADLY = {"Failed", "Error"}


@dataclass(frozen=True)
class Pod:
    """One pod of a run: a driver's, or one attempt of a step."""

    name: str
    node: str
    phase: str
    message: str | None

    @property
    def waits(self) -> bool:
        """Say whether it was made and does not run yet."""
        return self.phase == "Pending"

    @property
    def failed(self) -> bool:
        """Say whether it ended badly."""
        return self.phase in _ENDED_BADLY


@dataclass(frozen=True)
class Task:
    """The state of a step, with its pods in the order of their attempts, the driver's first."""

    state: StepState
    seconds: float | None
    pods: tuple[Pod, ...]


@dataclass(frozen=True)
class Workflow:
    """What a run's workflow says of it."""

    message: str | None
    nodes: tuple[Mapping[str, Any], ...]
    name: str
    is_whole: bool = True
    """False if there are nodes that Argo keeps compressed or elsewhere, which this does not read."""

    @property
    def pods(self) -> list[Pod]:
        """List all pods in the order in which they began."""
        return [self._pod(node) for node in self.nodes if node["type"] == "Pod"]

    def task(self, step: str) -> Task:
        """Return the state of a step."""
        name = step.replace("_", "-")
        driver = self._ending(f".{name}-driver")
        attempts = [node for node in self.nodes if _is_attempt(node, name)]
        whole = self._ending(f".{name}")
        pods = tuple(self._pod(node) for node in (*driver, *attempts) if node["type"] == "Pod")
        # Argo lists what it leaves out, too: a branch that was not taken, or all that would have come after a failure.
        if not driver or driver[-1]["phase"] in _LEFT_OUT:
            return Task("pending", None, pods)
        return Task(_state(driver[-1], attempts, whole), _seconds(driver[0], [*attempts, *whole]), pods)

    def _ending(self, suffix: str) -> list[Mapping[str, Any]]:
        return [node for node in self.nodes if str(node["name"]).endswith(suffix)]

    def _pod(self, node: Mapping[str, Any]) -> Pod:
        number = str(node["id"]).rpartition("-")[2]
        name = self.name if node["id"] == self.name else f"{self.name}-{node['templateName']}-{number}"
        return Pod(name, str(node["name"]).removeprefix(f"{self.name}."), node["phase"], node.get("message"))


def read(answer: bytes) -> Workflow:
    """Read the answer of ``GET /apis/v1beta1/runs/{id}``; a run that was only just made has no nodes."""
    text = json.loads(answer).get("pipeline_runtime", {}).get("workflow_manifest") or "{}"
    workflow = json.loads(text)
    status = workflow.get("status", {})
    nodes = sorted(status.get("nodes", {}).values(), key=lambda node: (node.get("startedAt") or "", node["name"]))
    is_whole = not (status.get("compressedNodes") or status.get("offloadNodeStatusVersion"))
    return Workflow(status.get("message"), tuple(nodes), workflow.get("metadata", {}).get("name", ""), is_whole)


def _is_attempt(node: Mapping[str, Any], task: str) -> bool:
    """Is a node the executor of a task, or one of several attempts, which Argo numbers?"""
    head, separator, tail = str(node["name"]).rpartition(".executor")
    return bool(separator) and head.endswith(f".{task}") and (not tail or tail.startswith("("))


def _state(driver: Mapping[str, Any], attempts: list[Mapping[str, Any]], whole: list[Mapping[str, Any]]) -> StepState:
    if driver["phase"] in _ENDED_BADLY:
        return "failed"
    if driver["phase"] not in _ENDED_WELL:
        return "running"
    if whole and whole[-1]["phase"] in _ENDED_BADLY:
        return "failed"
    ran = [node for node in attempts if node["type"] == "Pod"]
    if not whole or whole[-1]["phase"] not in _ENDED_WELL:
        return "running"
    return "done" if ran else "cached"


def _seconds(first: Mapping[str, Any], nodes: Iterable[Mapping[str, Any]]) -> float | None:
    """Count from the driver's start to the end of all that came of it, in the server's own time."""
    began = _time(first.get("startedAt"))
    ends = [_time(node.get("finishedAt")) for node in (first, *nodes)]
    if began is None or None in ends:
        return None
    return max((end - began).total_seconds() for end in ends if end)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
