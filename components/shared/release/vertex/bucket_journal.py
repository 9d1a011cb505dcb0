"""The journal of an endpoint of Vertex AI: an object in the release's bucket, which also is the lock.

Labels of the endpoint would be too small, and an endpoint does not exist before the first release. Each change of the
object names the generation that it replaces, so two processes never both succeed. A process that is alive renews the
object; one that dies loses it.
"""

import json
import time
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from pydantic import field_validator

from components.shared.cloud_storage import ABSENT, CloudStorage, GenerationChanged
from components.shared.documents.document import Document
from components.shared.errors import StepFailed
from components.shared.release.journal import ReleaseJournal
from components.shared.release.pace import Pace
from components.shared.release.renewed_hold import Look, RenewedHold


class BucketJournal(Document):
    """``NAME.json`` in the bucket: who holds it, and the release under way.

    Args:
        holder: Who releases; None if nobody does.
        renewals: Counts the replacements, so that each one is another content.
        journal: The release under way; None if there is none.
    """

    FILE: ClassVar[str] = "bucket_journal.json"
    IS_ARTIFACT: ClassVar[bool] = True

    holder: str | None = None
    renewals: int = 0
    journal: ReleaseJournal | None = None

    @field_validator("journal", mode="before")
    @classmethod
    def _current_journal(cls, content: Any) -> Any:
        """Read a journal of an older version, too."""
        return ReleaseJournal.parse(content, "the journal of the release") if isinstance(content, dict) else content


class Stored(NamedTuple):
    """The object, and the generation by which a replacement names it."""

    generation: int
    journal: BucketJournal


class BucketJournalStore(RenewedHold[Stored]):
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
        super().__init__(uri, holder, pace, clock)
        self._storage, self._stored = storage, Stored(ABSENT, BucketJournal())

    def read(self) -> ReleaseJournal | None:
        """Return the release under way."""
        if not self.is_held:
            self._adopt(self._look().content)
        return self._stored.journal.journal

    def write(self, journal: ReleaseJournal | None) -> None:
        """Write the release under way."""
        self.check()
        written = journal and journal.model_copy(update={"holder": self.holder})
        with self.mutex:
            changed = self._stored.journal.model_copy(update={"journal": written})
            self._stored = self._stored._replace(journal=changed)
            self.replace(self.holder)

    def _look(self) -> Look[Stored]:
        there = self._storage.read(self.name)
        if there is None:
            return Look(None, str(ABSENT), Stored(ABSENT, BucketJournal()))
        try:
            journal = BucketJournal.parse(json.loads(there.content), self.name)
        except ValueError as error:
            raise StepFailed(
                f"{self.name} is not a journal of a release ({error}); delete it and release again."
            ) from error
        return Look(journal.holder, str(there.generation), Stored(there.generation, journal))

    def _adopt(self, content: Stored) -> None:
        self._stored = content

    def _is_taken(self, failed: StepFailed) -> bool:
        return isinstance(failed, GenerationChanged)

    def _put(self, holder: str | None, *, acquires: bool = False) -> None:
        """Replace the object; a request that was repeated after its answer got lost finds its own content there."""
        renewed = {"holder": holder, "renewals": self._stored.journal.renewals + 1}
        changed = self._stored.journal.model_copy(update=renewed)
        content = json.dumps(changed.as_json(), sort_keys=True).encode()
        try:
            generation = self._storage.write(self.name, content, self._stored.generation)
        except GenerationChanged:
            current = self._storage.read(self.name)
            if current is None or current.content != content:
                raise
            generation = current.generation
        self._stored = Stored(generation, changed)
