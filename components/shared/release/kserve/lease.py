"""The journal of an endpoint on a cluster: an annotation of the project's Lease, which also is the lock.

The journal can't be an annotation of the InferenceService: KServe copies those to the pods, so each change would
replace the champion's pods. A process that is alive renews the Lease; one that dies loses it.
"""

import contextlib
import json
import logging
import math
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from components.shared.errors import StepFailed
from components.shared.release.journal import ReleaseJournal, ReleaseUnderWay
from components.shared.release.kserve.cluster import ApiRefused, Cluster, Manifest
from components.shared.release.kserve.objects import LABELS
from components.shared.release.pace import Pace

logger = logging.getLogger(__name__)

ANNOTATION = "perennial/release"


class LeaseJournalStore:
    """Hold the project's Lease; the journal in it can be written as long as it is held.

    Args:
        cluster: Where the Lease is.
        name: Name of the service.
        holder: Who holds it; unique to this process.
        pace: How often it is renewed.
    """

    def __init__(self, cluster: Cluster, name: str, holder: str, pace: Pace) -> None:
        self._cluster, self._name, self._holder, self._pace = cluster, f"perennial-{name}", holder, pace
        self._lease: Manifest = {}
        self._mutex = threading.Lock()
        self._lost = False
        self._renewed = 0.0

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Acquire the Lease, renew it in a thread, and release it at the end."""
        self._acquire()
        over = threading.Event()
        renewal = threading.Thread(target=self._renew, args=(over,), daemon=True, name="lease")
        renewal.start()
        self._cluster.guard = self._check
        try:
            yield
        finally:
            over.set()
            renewal.join()
            self._give_back()

    def read(self) -> ReleaseJournal | None:
        """Return the release under way, as of when the Lease was acquired or written."""
        text = (self._lease["metadata"].get("annotations") or {}).get(ANNOTATION)
        return None if text is None else ReleaseJournal.parse(json.loads(text), f"the Lease {self._name!r}")

    def write(self, journal: ReleaseJournal | None) -> None:
        """Write the release under way."""
        self._check()
        with self._mutex:
            annotations = self._lease["metadata"].setdefault("annotations", {})
            annotations.pop(ANNOTATION, None)
            if journal is not None:
                content = journal.model_copy(update={"holder": self._holder}).model_dump(mode="json")
                annotations[ANNOTATION] = json.dumps(content, sort_keys=True)
            self._put()

    def _acquire(self) -> None:
        lease = self._cluster.get("Lease", self._name) or self._created()
        if lease["spec"].get("holderIdentity"):
            lease = self._await_abandoned(lease)
        self._lease, self._lost = lease, False
        try:
            self._put(acquireTime=_now())
        except ApiRefused as refused:
            raise self._under_way(lease) if refused.status == 409 else refused from None

    def _give_back(self) -> None:
        if self._lost:
            return
        try:
            with self._mutex:
                self._put(holderIdentity="")
        except StepFailed as failed:
            logger.warning("the Lease could not be released, it expires by itself: %s", failed)

    def _check(self) -> None:
        """Refuse to go on if another process has taken over, because this one could not renew for too long."""
        if self._lost:
            raise StepFailed(
                f"this release lost its Lease {self._name!r} to another one, which finishes it or rolls it back; "
                "look at that run."
            )

    def _created(self) -> Manifest:
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "labels": LABELS},
            "spec": {"holderIdentity": ""},
        }
        try:
            return self._cluster.create(lease)
        except ApiRefused as refused:
            existing = self._cluster.get("Lease", self._name) if refused.status == 409 else None
            if existing is None:
                raise
            return existing

    def _await_abandoned(self, lease: Manifest) -> Manifest:
        """Watch for a renewal; times are not compared, since the clocks of two machines may differ."""
        version = lease["metadata"]["resourceVersion"]
        end = time.monotonic() + self._pace.lease_s
        while time.monotonic() < end:
            time.sleep(self._pace.poll_s)
            lease = self._cluster.get("Lease", self._name) or self._created()
            if not lease["spec"].get("holderIdentity"):
                return lease
            if lease["metadata"]["resourceVersion"] != version:
                raise self._under_way(lease)
        return lease

    def _under_way(self, lease: Manifest) -> ReleaseUnderWay:
        holder = lease["spec"].get("holderIdentity") or "another process"
        return ReleaseUnderWay(
            f"another release of this project is under way by {holder!r}; wait for it and run again."
        )

    def _renew(self, over: threading.Event) -> None:
        while not over.wait(self._pace.lease_s / 4):
            with self._mutex:
                try:
                    self._put()
                except StepFailed as failed:
                    taken = isinstance(failed, ApiRefused) and failed.status in (404, 409)
                    if taken or time.monotonic() - self._renewed > self._pace.lease_s:
                        self._lost = True
                        return
                    logger.warning("the Lease could not be renewed: %s", failed)

    def _put(self, **changes: Any) -> None:
        spec = {
            **self._lease["spec"],
            "holderIdentity": self._holder,
            "leaseDurationSeconds": max(1, math.ceil(self._pace.lease_s)),
            "renewTime": _now(),
            **changes,
        }
        try:
            self._lease = self._cluster.replace(self._manifest(spec))
        except ApiRefused as refused:
            # Somebody may have edited it; it is lost only if another process holds it.
            current = self._cluster.get("Lease", self._name) if refused.status == 409 else None
            if current is None or current["spec"].get("holderIdentity") != self._holder:
                raise
            self._lease["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"]
            self._lease = self._cluster.replace(self._manifest(spec))
        self._renewed = time.monotonic()

    def _manifest(self, spec: Manifest) -> Manifest:
        return {**self._lease, "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
