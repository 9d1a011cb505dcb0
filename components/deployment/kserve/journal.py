"""The Lease of a project: who is releasing now, and the journal of that release.

The journal can't stand on the InferenceService: KServe hands its annotations on to the pods, so each line would replace
the champion's. The Lease is a lock that a dead process loses: while it lives, it renews.
"""

import json
import logging
import math
import threading
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from components.deployment.kserve.cluster import Cluster, Document, Refused
from components.deployment.kserve.pace import Pace
from components.shared.errors import StepFailed

logger = logging.getLogger(__name__)

ENTRY = "perennial/release"


@dataclass(frozen=True)
class Entry:
    """A release under way: all that another process needs to finish it or to take it back.

    Args:
        name: The model in the registry.
        version: What takes over.
        storage_uri: Where its package lies.
        former: The version that answered, None at the first release.
        former_champion: The version that had the alias.
        way: ``canary`` or ``services``.
        pods: How many pods the former release had.
        scale: Smallest and largest number of pods that the former release is set to.
        service: The InferenceService of the release.
        runtime: Its ServingRuntime.
        undoing: The release failed and is being taken back; nobody finishes it.
    """

    name: str
    version: str
    storage_uri: str
    former: str | None
    former_champion: str | None
    way: str
    pods: int
    scale: tuple[int, int]
    service: Document
    runtime: Document
    undoing: bool = False

    @property
    def served_name(self) -> str:
        """Name of the service, and of the model in requests."""
        return str(self.service["metadata"]["name"])


class Journal:
    """Hold the project's Lease; its journal can be written as long as it is held.

    Args:
        cluster: Where the Lease lies.
        name: Of the service.
        holder: Who holds it; unique to this process.
        pace: How often it is renewed.
    """

    def __init__(self, cluster: Cluster, name: str, holder: str, pace: Pace) -> None:
        self._cluster, self._name, self._holder, self._pace = cluster, f"perennial-{name}", holder, pace
        self._lease: Document = {}
        self._mutex = threading.Lock()
        self._over = threading.Event()
        self._lost = False
        self._renewed = time.monotonic()

    def __enter__(self) -> "Journal":
        lease = self._cluster.get("Lease", self._name) or self._created()
        if lease["spec"].get("holderIdentity"):
            lease = self._abandoned(lease)
        self._lease = lease
        try:
            self._put(acquireTime=_now())
        except Refused as refused:
            raise self._busy(lease) if refused.status == 409 else refused from None
        self._cluster.guard = self.check
        self._thread = threading.Thread(target=self._renew, daemon=True, name="lease")
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, traceback: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        if not self._lost:
            try:
                with self._mutex:
                    self._put(holderIdentity="")
            except StepFailed as failed:
                logger.warning("the Lease could not be given back, it runs out by itself: %s", failed)

    @property
    def entry(self) -> Entry | None:
        """The release under way."""
        text = (self._lease["metadata"].get("annotations") or {}).get(ENTRY)
        if text is None:
            return None
        found = json.loads(text)
        return Entry(**found | {"scale": tuple(found["scale"])})

    def write(self, entry: Entry | None) -> None:
        """Note the release under way (None: it is over)."""
        self.check()
        with self._mutex:
            annotations = self._lease["metadata"].setdefault("annotations", {})
            annotations.pop(ENTRY, None)
            if entry is not None:
                annotations[ENTRY] = json.dumps(asdict(entry), sort_keys=True)
            self._put()

    def mark_undoing(self, entry: Entry) -> Entry:
        """Note that the release is being taken back."""
        undoing = replace(entry, undoing=True)
        self.write(undoing)
        return undoing

    def check(self) -> None:
        """Refuse to go on where another process has taken over.

        Raises:
            StepFailed: If this one gave no sign of life for too long.
        """
        if self._lost:
            raise StepFailed(
                f"This release lost its Lease {self._name!r} to another one, which finishes it or takes it back; "
                "look at that run."
            )

    def _created(self) -> Document:
        labels = {"app.kubernetes.io/managed-by": "perennial", "app.kubernetes.io/part-of": "perennial"}
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "labels": labels},
            "spec": {"holderIdentity": ""},
        }
        try:
            return self._cluster.create(lease)
        except Refused as refused:
            if refused.status != 409:
                raise
            found = self._cluster.get("Lease", self._name)
            assert found is not None
            return found

    def _abandoned(self, lease: Document) -> Document:
        """Watch for a sign of life; clocks are not compared, since two machines' may differ."""
        seen = lease["metadata"]["resourceVersion"]
        end = time.monotonic() + self._pace.lease_s
        while time.monotonic() < end:
            time.sleep(self._pace.poll_s)
            lease = self._cluster.get("Lease", self._name) or self._created()
            if not lease["spec"].get("holderIdentity"):
                return lease
            if lease["metadata"]["resourceVersion"] != seen:
                raise self._busy(lease)
        return lease

    def _busy(self, lease: Document) -> StepFailed:
        holder = lease["spec"].get("holderIdentity") or "another process"
        return StepFailed(f"Another release of this project is under way by {holder!r}; wait for it and run again.")

    def _renew(self) -> None:
        while not self._over.wait(self._pace.lease_s / 4):
            with self._mutex:
                try:
                    self._put()
                except StepFailed as failed:
                    taken = isinstance(failed, Refused) and failed.status in (404, 409)
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
            self._lease = self._cluster.replace(self._document(spec))
        except Refused as refused:
            # Somebody may have edited it; it is lost only if another one holds it.
            found = self._cluster.get("Lease", self._name) if refused.status == 409 else None
            if found is None or found["spec"].get("holderIdentity") != self._holder:
                raise
            self._lease["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
            self._lease = self._cluster.replace(self._document(spec))
        self._renewed = time.monotonic()

    def _document(self, spec: Document) -> Document:
        return {**self._lease, "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
