"""The journal of an endpoint of Vertex AI: an object in the release's bucket, which also is the lock.

Labels of the endpoint would be too small, and an endpoint does not exist before the first release. Each change of the
object names the generation that it replaces, so two processes never both succeed. A process that is alive renews the
object; one that dies loses it.
"""

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from components.shared.cloud_storage import ABSENT, CloudStorage, GenerationChanged
from components.shared.errors import StepFailed
from components.shared.release.journal import ReleaseJournal, ReleaseUnderWay
from components.shared.release.pace import Pace

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Stored:
    """The object as it is there; ``renewals`` makes each renewal another content."""

    generation: int = ABSENT
    holder: str | None = None
    renewals: int = 0
    journal: dict[str, Any] | None = field(default=None)


class BucketJournalStore:
    """Hold the object; the journal in it can be written as long as it is held.

    Args:
        storage: Cloud Storage.
        uri: The object.
        holder: Who holds it; unique to this process.
        pace: How often it is renewed.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self, storage: CloudStorage, uri: str, holder: str, pace: Pace, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._storage, self._uri, self._holder, self._pace, self._clock = storage, uri, holder, pace, clock
        self._stored = _Stored()
        self._mutex = threading.Lock()
        self._held = self._lost = False
        self._renewed_s = 0.0

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Acquire the object, renew it in a thread, and release it at the end."""
        self._acquire()
        over = threading.Event()
        renewal = threading.Thread(target=self._renew, args=(over,), daemon=True, name="release journal")
        renewal.start()
        try:
            yield
        finally:
            over.set()
            renewal.join()
            self._held = False
            self._give_back()

    def read(self) -> ReleaseJournal | None:
        """Return the release under way."""
        if not self._held:
            self._stored = self._fetch()
        content = self._stored.journal
        return None if content is None else ReleaseJournal.parse(content, self._uri)

    def write(self, journal: ReleaseJournal | None) -> None:
        """Write the release under way."""
        self.check()
        content = None
        if journal is not None:
            content = journal.model_copy(update={"holder": self._holder}).model_dump(mode="json")
        with self._mutex:
            self._put(self._holder, content)

    def check(self) -> None:
        """Refuse to go on if another process has taken over, because this one could not renew for too long.

        Raises:
            StepFailed: If it has.
        """
        if self._lost:
            raise StepFailed(
                f"this release lost its lock {self._uri} to another one, which finishes it or rolls it back; look at "
                "that run."
            )

    def _acquire(self) -> None:
        stored = self._fetch()
        if stored.holder is not None:
            stored = self._await_abandoned(stored)
        self._stored, self._lost = stored, False
        try:
            self._put(self._holder, stored.journal)
        except GenerationChanged:
            raise self._under_way(self._fetch()) from None
        self._held = True

    def _await_abandoned(self, stored: _Stored) -> _Stored:
        """Watch for a renewal; times are not compared, since the clocks of two machines may differ."""
        end = self._clock() + self._pace.lease_s
        while self._clock() < end:
            time.sleep(self._pace.poll_s)
            current = self._fetch()
            if current.holder is None:
                return current
            if current.generation != stored.generation:
                raise self._under_way(current)
        return stored

    def _under_way(self, stored: _Stored) -> ReleaseUnderWay:
        holder = stored.holder or "another process"
        return ReleaseUnderWay(
            f"another release of this project is under way by {holder!r}; wait for it and run again."
        )

    def _renew(self, over: threading.Event) -> None:
        while not over.wait(self._pace.lease_s / 4):
            with self._mutex:
                try:
                    self._put(self._holder, self._stored.journal)
                except StepFailed as failed:
                    is_late = self._clock() - self._renewed_s > self._pace.lease_s
                    if isinstance(failed, GenerationChanged) or is_late:
                        self._lost = True
                        return
                    logger.warning("the lock of the release could not be renewed: %s", failed)

    def _give_back(self) -> None:
        if self._lost:
            return
        try:
            with self._mutex:
                self._put(None, self._stored.journal)
        except StepFailed as failed:
            logger.warning("the lock of the release could not be released, it expires by itself: %s", failed)

    def _put(self, holder: str | None, journal: dict[str, Any] | None) -> None:
        """Replace the object; a request that was repeated after its answer got lost finds its own content there."""
        changed = _Stored(self._stored.generation, holder, self._stored.renewals + 1, journal)
        document = {"holder": holder, "renewals": changed.renewals, "journal": journal}
        content = json.dumps(document, sort_keys=True).encode()
        try:
            generation = self._storage.write(self._uri, content, changed.generation)
        except GenerationChanged:
            current = self._storage.read(self._uri)
            if current is None or current.content != content:
                raise
            generation = current.generation
        self._stored = _Stored(generation, holder, changed.renewals, journal)
        self._renewed_s = self._clock()

    def _fetch(self) -> _Stored:
        there = self._storage.read(self._uri)
        if there is None:
            return _Stored()
        try:
            document = json.loads(there.content)
            return _Stored(there.generation, document["holder"], document["renewals"], document["journal"])
        except (ValueError, KeyError, TypeError) as error:
            raise StepFailed(
                f"{self._uri} is not a journal of a release ({error!r}); delete it and release again."
            ) from error
