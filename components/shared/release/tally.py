"""Add up what the pods of two versions counted, while pods restart, vanish and join.

A pod counts from its start on, and forgets everything when its server ends. What each pod had counted at the last look
is remembered, so that only the difference is added: totals never go backwards, and a look that is repeated after a kill
adds nothing twice. Lost are only the counts between a pod's last look and its end. A container that ended by itself
while requests came counts as a failed request, since no server is left that could have counted it.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from pydantic import Field

from components.shared.documents.document import Part
from components.shared.documents.traffic_counts import TrafficCounts, VersionCounts

_RANGES = 10
_FIRST_SCORES = 200


class Reading(NamedTuple):
    """What a look found at one pod.

    Attributes:
        uid: The pod.
        name: Its name, for messages.
        version: Which version it serves.
        restarts: How often its server was started again.
        ready: Whether it gets requests.
        counts: What it counted; None if it could not be asked.
        problem: Why it could not be asked.
    """

    uid: str
    name: str
    version: str
    restarts: int
    ready: bool
    counts: TrafficCounts | None
    problem: str = ""


class PodSeen(Part):
    """One pod at the last look that it answered.

    Args:
        server: Whose counts these are; None before the first answer.
        counts: What it had counted, scores in the ranges of the tally.
        restarts: How often its server had been started again.
    """

    server: str | None = None
    counts: VersionCounts = VersionCounts()
    restarts: int = 0


class Tally(Part):
    """What is known of all pods of a release that is exposed.

    Args:
        pods: Pod to what it had counted; only pods that exist.
        totals: Version to what all of its pods counted since the tally began.
        edges: Edges of the ranges of the scores, deciles of the champion's; empty until it has answered enough.
        crashes: How often a server of the candidate ended by itself since the tally began.
        looks_without: For how many looks in a row the candidate has had no pod that gets requests.
        is_comparable: Whether it is known what the champion's pods had counted before; until then, only the candidate's
            pods are in it.
    """

    pods: dict[str, PodSeen] = Field(default_factory=dict)
    totals: dict[str, VersionCounts] = Field(default_factory=dict)
    edges: tuple[float, ...] = ()
    crashes: int = 0
    looks_without: int = 0
    is_comparable: bool = True


def awaited(tally: Tally | None, readings: Sequence[Reading], *, former: str, candidate: str) -> Tally:
    """Watch only whether the candidate's pods crash or get no requests, as the champion's could not all be asked.

    Args:
        tally: What was known; None before the first look.
        readings: Every pod of both versions.
        former: The champion.
        candidate: The version that is compared with it.
    """
    pods = [pod for pod in readings if pod.version == candidate]
    if tally is None:
        tally = Tally(pods={pod.uid: PodSeen(restarts=pod.restarts) for pod in pods}, is_comparable=False)
    return added(tally, pods, former=former, candidate=candidate)


def begun(readings: Sequence[Reading], *, former: str, before: Tally | None = None) -> Tally:
    """Begin with what the champion's pods had counted before; the candidate's pods had counted nothing.

    Args:
        readings: Every pod of both versions; the champion's could all be asked.
        former: The champion.
        before: What was watched until then; None if nothing was.
    """
    before = before or Tally()
    edges = _deciles([pod for pod in readings if pod.version == former])
    pods = {pod.uid: _seen(pod, edges) if pod.version == former else PodSeen(restarts=pod.restarts) for pod in readings}
    return Tally(pods=pods, edges=edges, crashes=before.crashes, looks_without=before.looks_without)


def added(tally: Tally, readings: Sequence[Reading], *, former: str, candidate: str) -> Tally:
    """Add what came since the last look.

    Args:
        tally: What was known.
        readings: Every pod of both versions that exists now, also those that could not be asked.
        former: The champion.
        candidate: The version that is compared with it.
    """
    edges = tally.edges or _deciles([pod for pod in readings if pod.version == former])
    totals, crashes = dict(tally.totals), tally.crashes
    for pod in readings:
        before = tally.pods.get(pod.uid, PodSeen())
        crashed = max(0, pod.restarts - before.restarts)
        new = _new(pod, before, edges) + VersionCounts(failed=crashed)
        totals[pod.version] = totals.get(pod.version, VersionCounts()) + new
        crashes += crashed if pod.version == candidate else 0
    ready = any(pod.ready for pod in readings if pod.version == candidate)
    return Tally(
        pods={pod.uid: _remembered(pod, tally.pods.get(pod.uid, PodSeen()), edges) for pod in readings},
        totals=totals,
        edges=edges,
        crashes=crashes,
        looks_without=0 if ready else tally.looks_without + 1,
        is_comparable=tally.is_comparable,
    )


def as_counts(tally: Tally, shares: Mapping[str, int]) -> TrafficCounts:
    """Return the totals as if one server had counted them all."""
    return TrafficCounts(server="all pods", versions=dict(tally.totals), score_edges=tally.edges, shares=dict(shares))


def _new(pod: Reading, before: PodSeen, edges: tuple[float, ...]) -> VersionCounts:
    if pod.counts is None:
        return VersionCounts()
    now = _counted(pod, edges)
    if pod.counts.server != before.server:
        return now
    if edges and not before.counts.scores:
        # The ranges are new: which of its scores are new is not known.
        before = before.model_copy(update={"counts": before.counts.model_copy(update={"scores": now.scores})})
    return now.since(before.counts)


def _remembered(pod: Reading, before: PodSeen, edges: tuple[float, ...]) -> PodSeen:
    if pod.counts is None:
        return before.model_copy(update={"restarts": max(pod.restarts, before.restarts)})
    return _seen(pod, edges)


def _seen(pod: Reading, edges: tuple[float, ...]) -> PodSeen:
    server = None if pod.counts is None else pod.counts.server
    return PodSeen(server=server, counts=_counted(pod, edges), restarts=pod.restarts)


def _counted(pod: Reading, edges: tuple[float, ...]) -> VersionCounts:
    """Return a pod's counts with the scores in our ranges, which are unions of the pod's."""
    if pod.counts is None:
        return VersionCounts()
    counts = pod.counts.versions.get(pod.version, VersionCounts())
    if not edges:
        return counts.model_copy(update={"scores": ()})
    scores = [0] * (len(edges) + 1)
    for edge, count in zip((*pod.counts.score_edges, float("inf")), counts.scores, strict=False):
        scores[bisect_left(edges, edge)] += count
    return counts.model_copy(update={"scores": tuple(scores)})


def _deciles(champions: Sequence[Reading]) -> tuple[float, ...]:
    """Return those edges of the pods' ranges that are nearest to the deciles of all scores so far."""
    rows: dict[float, int] = {}
    for pod in champions:
        if pod.counts is not None and pod.version in pod.counts.versions:
            for edge, count in zip(pod.counts.score_edges, pod.counts.versions[pod.version].scores, strict=False):
                rows[edge] = rows.get(edge, 0) + count
    edges = sorted(rows)
    sums = list(accumulate(rows[edge] for edge in edges))
    if not sums or sums[-1] < _FIRST_SCORES:
        return ()
    return tuple(sorted({edges[bisect_left(sums, sums[-1] * tenth / _RANGES)] for tenth in range(1, _RANGES)}))
