"""Whether the pods of a release are ready, and if not, why, and whether waiting can help."""

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass

from components.shared.errors import StepFailed
from components.shared.release.kserve.cluster import Cluster, Manifest
from components.shared.release.pace import Pace

logger = logging.getLogger(__name__)

_IMAGE = {"ImagePullBackOff", "ErrImagePull", "RegistryUnavailable"}
_NEVER = {"InvalidImageName", "ErrImageNeverPull"}
_CONFIG = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
SERVER = "kserve-container"
"""The container of the model server."""
_CRASHES = 3
_KILLS = 2


@dataclass(frozen=True)
class PodProblem:
    """What keeps a pod from being ready.

    Args:
        kind: Stays equal as long as it is the same problem.
        sentence: The message to the user.
        permanent: Waiting can't help.
        waits: Time does not make it permanent: a node may be added.
        log: Container whose last line shows the reason.
    """

    kind: str
    sentence: str
    permanent: bool = False
    waits: bool = False
    log: str | None = None


def problem(pod: Manifest) -> PodProblem | None:
    """Read from a pod's status what is wrong with it.

    >>> unschedulable = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes: Insufficient cpu."}
    >>> problem({"status": {"conditions": [unschedulable]}}).sentence
    'no node has room for it: 0/1 nodes: Insufficient cpu.'
    """
    status = pod.get("status", {})
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return PodProblem("scheduling", f"no node has room for it: {condition.get('message', '')}", waits=True)
    if status.get("phase") == "Failed":
        return PodProblem("failed", f"it was ended: {status.get('reason')}: {status.get('message', '')}")
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        if current := _of_container(container, pod):
            return current
    return None


def _of_container(status: Manifest, pod: Manifest) -> PodProblem | None:
    waiting = status.get("state", {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    image, name, restarts = status.get("image", ""), status["name"], status.get("restartCount", 0)
    if reason in _NEVER or reason in _IMAGE:
        return PodProblem(
            "image", f"its image {image!r} can't be pulled: {message or reason}", permanent=reason in _NEVER
        )
    if reason in _CONFIG:
        return PodProblem("config", f"its container {name!r} can't be created: {message or reason}")
    states = (status.get("state", {}), status.get("lastState", {}))
    ended = next((state["terminated"] for state in states if state.get("terminated")), None)
    if ended is None or ended.get("exitCode") == 0:
        return None
    if ended.get("reason") == "OOMKilled":
        return PodProblem(
            "memory", f"its container {name!r} ran out of memory ({_limit(pod, name)})", permanent=restarts >= _KILLS
        )
    what = "the model's files could not be fetched" if name == "storage-initializer" else f"its container {name!r} ends"
    sentence = f"{what} with exit code {ended.get('exitCode')}"
    # KServe keeps the end of its container's log here, where it outlives the log.
    if text := (ended.get("message") or "").strip().splitlines():
        return PodProblem("crash", f"{sentence}: {text[-1][:400]}", permanent=restarts >= _CRASHES, waits=True)
    return PodProblem("crash", sentence, permanent=restarts >= _CRASHES, waits=True, log=name)


def _limit(pod: Manifest, name: str) -> str:
    containers = [*pod["spec"].get("containers", []), *pod["spec"].get("initContainers", [])]
    limits = [
        container.get("resources", {}).get("limits", {}).get("memory")
        for container in containers
        if container["name"] == name
    ]
    return f"its limit is {limits[0]}" if limits and limits[0] else "it has no limit of its own"


def ready(pod: Manifest) -> bool:
    """Return whether a pod takes requests."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def answers(pod: Manifest) -> bool:
    """Return whether a pod's server runs, ready or not."""
    servers = [one for one in pod.get("status", {}).get("containerStatuses", []) if one["name"] == SERVER]
    return ready(pod) or any(one.get("state", {}).get("running") for one in servers)


def restarts(pod: Manifest) -> int:
    """Return how often a pod's server was started again."""
    servers = [one for one in pod.get("status", {}).get("containerStatuses", []) if one["name"] == SERVER]
    return max((int(one.get("restartCount", 0)) for one in servers), default=0)


class Pods:
    """The pods behind a Service of KServe's.

    Args:
        cluster: Where they run.
        pace: How long they may take.
    """

    def __init__(self, cluster: Cluster, pace: Pace) -> None:
        self._cluster, self._pace = cluster, pace

    def wait(self, service: str, owner: str, release: str, count: int = 1, replaces: Collection[str] = ()) -> None:
        """Wait until so many pods are ready; the reason why they are not is logged when it changes.

        Args:
            service: The Service, and the Deployment of the same name.
            owner: The InferenceService, which knows why there is no Deployment.
            release: Its version, for messages.
            count: How many pods.
            replaces: Pods, by uid, that do not count, and have to be gone as well.

        Raises:
            StepFailed: After the deadline, or as soon as waiting can't help.
        """
        end = time.monotonic() + self._pace.start_s
        since: dict[str, float] = {}
        while True:
            live = [pod for pod in self.of(service) if not pod["metadata"].get("deletionTimestamp")]
            pods = [pod for pod in live if pod["metadata"]["uid"] not in replaces]
            good = [pod for pod in pods if ready(pod)]
            if len(good) >= count and len(pods) == len(live):
                return
            now = time.monotonic()
            pod, current = self._worst(pods, service, owner)
            if current is not None and current.kind not in since:
                logger.warning("release %s is not ready yet: %s", release, current.sentence)
            since = {current.kind: since.get(current.kind, now)} if current else {}
            stuck = current is not None and not current.waits and now - since[current.kind] > self._pace.stuck_s
            if current is not None and (current.permanent or stuck):
                raise self._failed(release, pod, current, "does not start")
            if now > end:
                raise self._failed(release, pod, current, f"is not ready after {self._pace.start_s:.0f} s")
            time.sleep(self._pace.poll_s)

    def gone(self, service: str) -> bool:
        """Return whether the Deployment is gone."""
        return self._cluster.get("Deployment", service) is None

    def scale(self, service: str) -> int:
        """Return how many pods the Deployment is to have."""
        deployment = self._cluster.get("Deployment", service)
        return int(deployment["spec"].get("replicas", 1)) if deployment else 1

    def of(self, service: str) -> list[Manifest]:
        """Return the pods behind a Service, also those that are ending."""
        return self._cluster.find("Pod", labels=f"app=isvc.{service}")

    def _worst(self, pods: list[Manifest], service: str, owner: str) -> tuple[str | None, PodProblem | None]:
        for pod in pods:
            if not ready(pod) and (current := problem(pod)):
                return pod["metadata"]["name"], current
        if pods:
            return pods[0]["metadata"]["name"], None
        return None, self._no_pod(service, owner)

    def _no_pod(self, service: str, owner: str) -> PodProblem | None:
        deployment = self._cluster.get("Deployment", service)
        for condition in (deployment or {}).get("status", {}).get("conditions", []):
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                return PodProblem("pod", f"its pod is refused: {condition.get('message', '')}")
        if deployment is None:
            status = (self._cluster.get("InferenceService", owner) or {}).get("status", {})
            failure = status.get("modelStatus", {}).get("lastFailureInfo") or {}
            bad = [
                condition
                for condition in status.get("conditions", [])
                if condition["status"] == "False" and condition.get("message")
            ]
            if text := failure.get("message") or (bad and bad[0]["message"]):
                return PodProblem("service", f"KServe creates no pod for it: {text}")
        return None

    def _failed(self, release: str, pod: str | None, current: PodProblem | None, what: str) -> StepFailed:
        sentence = current.sentence if current else self._event(pod) or "the reason is not known"
        if current and current.log and pod and (line := self._last_line(pod, current.log)):
            sentence += f": {line}"
        # The pod is removed with the release, its events stay for an hour.
        look = f"get events --field-selector involvedObject.name={pod}" if pod else "get inferenceservices,deployments"
        command = f"kubectl -n {self._cluster.namespace} {look}"
        return StepFailed(f"release {release} {what}: {sentence.rstrip('.')}. {command!r} shows more.")

    def _last_line(self, pod: str, container: str) -> str | None:
        """Return the last line of a container's log; None if this process may not read it."""
        for previous in (True, False):
            try:
                lines = self._cluster.log(pod, container, previous=previous)
            except StepFailed:
                continue
            if lines:
                return lines[-1][:400]
        return None

    def _event(self, pod: str | None) -> str | None:
        if pod is None:
            return None
        try:
            events = self._cluster.find("Event", fields=f"involvedObject.name={pod},type=Warning")
        except StepFailed:
            return None
        return str(events[-1].get("message")) if events else None
