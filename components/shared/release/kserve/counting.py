"""Ask every pod of both versions what it counted, and add that to the release's journal."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import quote

from components.shared.documents.traffic_counts import TrafficCounts
from components.shared.errors import PerennialError
from components.shared.release import tally
from components.shared.release.journal import ReleaseJournal
from components.shared.release.kserve.cluster import Cluster, Manifest
from components.shared.release.kserve.layout import objects_of
from components.shared.release.kserve.pods import SERVER, Pods, answers, problem, ready, restarts
from components.shared.release.tally import Reading, Tally
from components.shared.release.traffic import Counted, Down

_PORT = 8080
"""Where a server listens whose pod does not say it."""
_ASKED_AT_ONCE = 16
"""Pods that are asked side by side: the Lease is held meanwhile, and the API server answers others, too."""
_LOOK_S = 20.0
"""Longest look at all pods, however many do not answer; below the time for which the Lease is valid."""
_LOOKS_WITHOUT = 2
"""A candidate without a pod that gets requests is taken back at the second look: its share is lost to clients."""


class PodCounts:
    """The counts of a release's pods.

    Args:
        cluster: Where they run.
        pods: Finds them.
        look_s: Longest that one look at all of them takes, in seconds; who has not answered by then is unread.
    """

    def __init__(self, cluster: Cluster, pods: Pods, look_s: float = _LOOK_S) -> None:
        self._cluster, self._pods, self._look_s = cluster, pods, look_s

    def read(self, journal: ReleaseJournal, services: Mapping[str, str], share: int) -> Counted:
        """Look at all pods once.

        Args:
            journal: A release that is exposed.
            services: The candidate's and the former version's Service.
            share: The candidate's percentage of the requests.

        Returns:
            No counts before every pod of the former version was asked once: what it had counted before the candidate
            came must not be compared. Whether the candidate has pods that get requests is known before.
        """
        pods = [(version, pod) for version, service in services.items() for pod in self._pods.of(service)]
        readings = list(self._readings(journal.name, pods))
        objects, former = objects_of(journal), journal.former
        assert former is not None
        unread, total = _unread(readings), objects.tally
        if total is None or not total.is_comparable:
            if any(pod.problem and pod.version == former for pod in readings):
                total = tally.awaited(total, readings, former=former, candidate=journal.version)
            else:
                total = tally.begun(readings, former=former, before=total)
        if total.is_comparable:
            total = tally.added(total, readings, former=former, candidate=journal.version)
        journal = journal.model_copy(update={"cluster": objects.model_copy(update={"tally": total})})
        candidates = [pod for version, pod in pods if version == journal.version]
        shares = {former: 100 - share, journal.version: share}
        counts = tally.as_counts(total, shares) if total.is_comparable else None
        return Counted(journal, counts, unread, _down(total, candidates))

    def _readings(self, model: str, pods: Sequence[tuple[str, Manifest]]) -> Iterator[Reading]:
        """Ask all pods side by side, and give up on those that have not answered at the deadline."""
        end = time.monotonic() + self._look_s
        executor = ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="counts")
        try:
            asked = [executor.submit(self._counts, model, version, pod) for version, pod in pods]
            for (version, pod), answer in zip(pods, asked, strict=True):
                counts, sentence = self._awaited(answer, end, pod)
                metadata = pod["metadata"]
                name, uid = metadata["name"], metadata["uid"]
                yield Reading(uid, name, version, restarts(pod), ready(pod), counts, sentence)
        finally:
            # A request that still runs ends by its own time limit.
            executor.shutdown(wait=False, cancel_futures=True)

    def _awaited(
        self, answer: "Future[tuple[TrafficCounts | None, str]]", end: float, pod: Manifest
    ) -> tuple[TrafficCounts | None, str]:
        try:
            return answer.result(timeout=max(0.0, end - time.monotonic()))
        except TimeoutError:
            return None, f"pod {pod['metadata']['name']} has not said its counts within {self._look_s:g} s"

    def _counts(self, model: str, version: str, pod: Manifest) -> tuple[TrafficCounts | None, str]:
        """Return what a pod has counted, or a sentence that says why that is unknown; neither while it starts."""
        if not answers(pod):
            return None, ""
        name = pod["metadata"]["name"]
        try:
            answer = self._cluster.ask(pod, port_of(pod), f"/v2/models/{quote(model)}/stats")
            counts = TrafficCounts.parse(answer, name)
        except PerennialError as failed:
            return None, f"the counts of pod {name} can't be read: {failed}"
        if version not in counts.versions:
            return None, (
                f"pod {name} counts nothing, its image is of an older Perennial; release once with the strategy 'basic'"
            )
        return counts, ""


def port_of(pod: Manifest) -> int:
    """Return the port of a pod's REST server.

    >>> port_of({"spec": {"containers": [{"name": "kserve-container", "ports": [{"containerPort": 9000}]}]}})
    9000
    """
    containers = [each for each in pod["spec"]["containers"] if each["name"] == SERVER and each.get("ports")]
    return int(containers[0]["ports"][0]["containerPort"]) if containers else _PORT


def _unread(readings: list[Reading]) -> str | None:
    sentences = [pod.problem for pod in readings if pod.problem]
    more = f" (and {len(sentences) - 1} more)" if len(sentences) > 1 else ""
    return f"{sentences[0].rstrip('.')}{more}" if sentences else None


def _down(total: Tally, candidates: list[Manifest]) -> Down | None:
    """Say that the candidate has had no pod that gets requests for too long, and why."""
    if total.looks_without < _LOOKS_WITHOUT:
        return None
    problems = [trouble.sentence for pod in candidates if (trouble := problem(pod)) is not None]
    why = f": {problems[0]}" if problems else ""
    return Down(f"it has no pod that gets requests{why}", harmful=total.crashes > 0)
