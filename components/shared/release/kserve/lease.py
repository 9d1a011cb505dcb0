"""The journal of an endpoint on a cluster: an annotation of the project's Lease, which also is the lock.

The journal can't be an annotation of the InferenceService: KServe copies those to the pods, so each change would
replace the champion's pods. A process that is alive renews the Lease; one that dies loses it.
"""

import contextlib
import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime

from components.shared.errors import StepFailed
from components.shared.release.journal import ReleaseJournal
from components.shared.release.kserve.cluster import ApiRefused, Cluster, Manifest
from components.shared.release.kserve.objects import LABELS
from components.shared.release.pace import Pace
from components.shared.release.renewed_hold import Look, RenewedHold

ANNOTATION = "perennial/release"


class LeaseJournalStore(RenewedHold[Manifest]):
    """Hold the project's Lease; the journal in it can be written as long as it is held.

    Args:
        cluster: Where the Lease is.
        name: Name of the service.
        holder: Who holds it; unique to this process.
        pace: How often it is renewed.
    """

    def __init__(self, cluster: Cluster, name: str, holder: str, pace: Pace) -> None:
        self._cluster, self._lease_name = cluster, f"perennial-{name}"
        super().__init__(f"the Lease {self._lease_name!r}", holder, pace)
        self._lease: Manifest = {}

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Acquire the Lease; nothing on the cluster is changed once it is lost."""
        with super().hold():
            self._cluster.guard = self.check
            yield

    def read(self) -> ReleaseJournal | None:
        """Return the release under way: while the Lease is held, as of when it was acquired or written."""
        lease = self._lease if self.is_held else self._cluster.get("Lease", self._lease_name) or {"metadata": {}}
        text = (lease["metadata"].get("annotations") or {}).get(ANNOTATION)
        return None if text is None else ReleaseJournal.parse(json.loads(text), self.name)

    def write(self, journal: ReleaseJournal | None) -> None:
        """Write the release under way."""
        self.check()
        with self.mutex:
            annotations = self._lease["metadata"].setdefault("annotations", {})
            annotations.pop(ANNOTATION, None)
            if journal is not None:
                content = journal.model_copy(update={"holder": self.holder}).model_dump(mode="json")
                annotations[ANNOTATION] = json.dumps(content, sort_keys=True)
            self.replace(self.holder)

    def _look(self) -> Look[Manifest]:
        lease = self._cluster.get("Lease", self._lease_name) or self._created()
        return Look(lease["spec"].get("holderIdentity") or None, lease["metadata"]["resourceVersion"], lease)

    def _adopt(self, content: Manifest) -> None:
        self._lease = content

    def _is_taken(self, failed: StepFailed) -> bool:
        return isinstance(failed, ApiRefused) and failed.status in (404, 409)

    def _created(self) -> Manifest:
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._lease_name, "labels": LABELS},
            "spec": {"holderIdentity": ""},
        }
        try:
            return self._cluster.create(lease)
        except ApiRefused as refused:
            existing = self._cluster.get("Lease", self._lease_name) if refused.status == 409 else None
            if existing is None:
                raise
            return existing

    def _put(self, holder: str | None, *, acquires: bool = False) -> None:
        spec = {
            **self._lease["spec"],
            "holderIdentity": holder or "",
            "leaseDurationSeconds": max(1, math.ceil(self._pace.lease_s)),
            "renewTime": _now(),
        }
        if acquires:
            spec["acquireTime"] = _now()
        try:
            self._lease = self._cluster.replace(self._manifest(spec))
        except ApiRefused as refused:
            # Somebody may have edited it; it is lost only if another process holds it.
            current = self._cluster.get("Lease", self._lease_name) if refused.status == 409 else None
            if current is None or current["spec"].get("holderIdentity") != self.holder:
                raise
            self._lease["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"]
            self._lease = self._cluster.replace(self._manifest(spec))

    def _manifest(self, spec: Manifest) -> Manifest:
        return {**self._lease, "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
