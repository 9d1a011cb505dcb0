"""Ask every pod of both versions what it counted, and add that to the release's journal."""

from collections.abc import Mapping
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
_LOOKS_WITHOUT = 2
"""A candidate without a pod that gets requests is taken back at the second look: its share is lost to clients."""


class PodCounts:
    """The counts of a release's pods.

    Args:
        cluster: Where they run.
        pods: Finds them.
    """

    def __init__(self, cluster: Cluster, pods: Pods) -> None:
        self._cluster, self._pods = cluster, pods

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
        readings = [self._reading(journal.name, version, pod) for version, pod in pods]
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

    def _reading(self, model: str, version: str, pod: Manifest) -> Reading:
        metadata = pod["metadata"]
        counts, sentence = None, ""
        if answers(pod):
            try:
                answer = self._cluster.ask(pod, port_of(pod), f"/v2/models/{quote(model)}/stats")
                counts = TrafficCounts.parse(answer, metadata["name"])
            except PerennialError as failed:
                sentence = f"the counts of pod {metadata['name']} can't be read: {failed}"
            if counts is not None and version not in counts.versions:
                sentence = (
                    f"pod {metadata['name']} counts nothing, its image is of an older Perennial; release once with the "
                    "strategy 'basic'"
                )
                counts = None
        return Reading(metadata["uid"], metadata["name"], version, restarts(pod), ready(pod), counts, sentence)


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
