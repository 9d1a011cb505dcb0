"""Count what each release answered, failed and scored: the evidence of a release that is exposed.

A server on an endpoint's folder counts while more than one release is in memory; ``/metrics`` has what is of interest
otherwise. A server with one package, as in a pod, always counts: its release is compared with another pod's.
"""

import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from components.shared.documents.traffic_counts import LATENCY_EDGES_MS, ShadowCounts, TrafficCounts, VersionCounts
from components.shared.inference import PROBE

_DECILES = np.linspace(0.1, 0.9, 9)
_FIRST_SCORES = 200
_WAITING = 64
"""Answers that wait to be counted together: what a call of numpy costs is shared by all of them."""
_SMALLEST, _LARGEST, _PER_OCTAVE = -10, 20, 8
"""The ranges that all pods share are fine from 1/1000 to 1,000,000 (powers of two), in steps of 9 %."""
_FAULTS = ("bug", "infinite", "not_ready")
"""Reasons of a refusal that are the release's fault: every client may send such a request."""


class TrafficCounter:
    """Counts requests by release; safe to use from several threads.

    The ranges of the scores are the deciles of the first 200 scores of the version that answers most, so that a test
    which compares two versions by range needs no knowledge of the scores' scale. Several classes count by the share
    of the likeliest one. Pods can't agree on deciles; a pod's ranges are fine and the same everywhere.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server = uuid.uuid4().hex
        self._versions: dict[str, _Version] = {}
        self._shadows: dict[str, _Shadow] = {}
        self._primary: str | None = None
        self._edges: np.ndarray | None = None
        self._first: list[np.ndarray] = []

    def follow(self, versions: frozenset[str], primary: str | None) -> None:
        """Start from zero for other versions; a change of the shares alone keeps the counts.

        Args:
            versions: The versions in memory.
            primary: The one whose first scores make the ranges, if these are other versions than before.
        """
        with self._lock:
            if versions == self._versions.keys():
                return
            self._server = uuid.uuid4().hex
            self._versions = {version: _Version() for version in versions} if len(versions) > 1 else {}
            self._shadows = {version: _Shadow() for version in self._versions}
            self._primary, self._edges, self._first = primary, None, []

    def always(self, version: str) -> None:
        """Count the one version of this server, in ranges that all servers share."""
        with self._lock:
            self._edges = shared_edges()
            self._versions = {version: _Version(scores=np.zeros(len(self._edges) + 1, np.int64))}

    def counts(self, version: str, request_id: str) -> bool:
        """Return whether a request of a version counts; no probe of a release does."""
        return version in self._versions and not request_id.startswith(PROBE)

    def answered(self, version: str, latency_s: float, scores: np.ndarray) -> None:
        """Count an answer.

        Args:
            version: Who answered.
            latency_s: How long that took.
            scores: (rows,) or (rows, classes).
        """
        with self._lock:
            counted = self._versions.get(version)
            if counted is None:
                return
            counted.latencies_s.append(latency_s)
            counted.waiting.append(scores)
            if len(counted.waiting) >= _WAITING or len(scores) >= _WAITING:
                self._count(version, counted)

    def _count(self, version: str, counted: "_Version") -> None:
        """Count the answers of a version that wait."""
        if not counted.waiting:
            return
        counted.answered += len(counted.waiting)
        latencies_ms = np.array(counted.latencies_s) * 1000
        counted.latencies += _by_range(LATENCY_EDGES_MS, latencies_ms)
        values = np.concatenate([scores if scores.ndim == 1 else scores.max(axis=1) for scores in counted.waiting])
        counted.latencies_s, counted.waiting = [], []
        if self._edges is not None:
            counted.scores += _by_range(self._edges, values)
        elif version == self._primary:
            self._first.append(values)
            if sum(map(len, self._first)) >= _FIRST_SCORES:
                self._edges = np.unique(np.quantile(np.concatenate(self._first), _DECILES))
                self._first = []
                for other in self._versions.values():
                    other.scores = np.zeros(len(self._edges) + 1, np.int64)

    def refused(self, version: str, reason: str) -> None:
        """Count a request that a version did not answer.

        Args:
            version: Whose request it was.
            reason: The refusal's.
        """
        with self._lock:
            if (counted := self._versions.get(version)) is not None:
                if reason in _FAULTS:
                    counted.failed += 1
                else:
                    counted.refused += 1

    def shadowed(self, version: str, rows: int, disagreements: int) -> None:
        """Count rows that a shadow has scored, and those of them with another decision than was answered."""
        with self._lock:
            if (shadow := self._shadows.get(version)) is not None:
                shadow.rows += rows
                shadow.disagreements += disagreements

    def read(self) -> TrafficCounts:
        """Return all counts."""
        with self._lock:
            for version, counted in self._versions.items():
                self._count(version, counted)
            return TrafficCounts(
                server=self._server,
                versions={version: counted.frozen() for version, counted in self._versions.items()},
                shadows={
                    version: ShadowCounts(rows=shadow.rows, disagreements=shadow.disagreements)
                    for version, shadow in self._shadows.items()
                },
                score_edges=() if self._edges is None else tuple(self._edges.tolist()),
            )


def shared_edges() -> np.ndarray:
    """Return ascending edges that suit scores of any scale: by relative size, and as fine towards 1 for shares.

    >>> edges = shared_edges()
    >>> bool((edges[1:] > edges[:-1]).all()), float(edges[0]), float(edges[-1]), len(edges)
    (True, -1048576.0, 1048576.0, 555)
    """
    sizes = 2.0 ** (np.arange(_SMALLEST * _PER_OCTAVE, _LARGEST * _PER_OCTAVE + 1) / _PER_OCTAVE)
    near_one = 1 - sizes[sizes < 0.5]
    return np.unique(np.concatenate([-sizes, [0.0], sizes, near_one]))


def _by_range(edges: Sequence[float] | np.ndarray, values: np.ndarray) -> np.ndarray:
    """Count values by the range between two edges; an edge belongs to the range below it."""
    return np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)


@dataclass
class _Version:
    answered: int = 0
    failed: int = 0
    refused: int = 0
    latencies: np.ndarray = field(default_factory=lambda: np.zeros(len(LATENCY_EDGES_MS) + 1, np.int64))
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    latencies_s: list[float] = field(default_factory=list)
    waiting: list[np.ndarray] = field(default_factory=list)

    def frozen(self) -> VersionCounts:
        return VersionCounts(
            answered=self.answered,
            failed=self.failed,
            refused=self.refused,
            latencies=tuple(self.latencies.tolist()),
            scores=tuple(self.scores.tolist()),
        )


@dataclass
class _Shadow:
    rows: int = 0
    disagreements: int = 0
