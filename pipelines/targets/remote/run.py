"""A run at a server, which continues whether it is followed or not."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from components.shared.errors import PerennialError
from pipelines.definitions.catalog import PipelineEntry
from pipelines.runs import Run, Step, report
from pipelines.targets.protocol import RunObserver
from pipelines.targets.remote.artifacts import bring
from pipelines.targets.remote.storage import Bucket


class Follower(Protocol):
    """Brings the record of a run up to date."""

    def to_the_end(self) -> None:
        """Wait until the run has ended.

        Raises:
            PerennialError: If the server does not answer any more; the run goes on there.
        """

    def artifacts(self) -> dict[str, str]:
        """Return where the artifacts of the run are: ``step.output`` -> URI in the bucket."""


@dataclass(frozen=True)
class RemoteRun:
    """A run that was submitted."""

    record: Run
    entry: PipelineEntry
    bucket: Bucket
    observer: RunObserver
    target: str
    """The target's name, for the commands that show or end the run."""
    follower: Callable[[Callable[[Step], None], Callable[[str], None]], Follower]
    """Makes what follows the run, given what is told of changed steps, and in sentences."""

    def follow(self) -> Path:
        """Wait for the run's end and fetch what it left; see ``StartedRun.follow``."""
        self.observer.started(self.record)
        follower = self.follower(self.observer.changed, self.observer.announced)
        try:
            follower.to_the_end()
        except KeyboardInterrupt:
            self.observer.ended(self.record)
            self.observer.announced(
                f"no longer watching; the run continues. 'perennial logs --target {self.target} {self.record.remote}' "
                f"shows it, 'perennial runs --target {self.target} --end {self.record.remote}' ends it."
            )
            raise
        self.observer.ended(self.record)
        self._fetch(follower)
        return report.render(self.record.as_dict(), self.record.folder, self.entry.sections)

    def _fetch(self, follower: Follower) -> None:
        """Keep what the steps wrote; a run has ended as it has, whether this machine can read it or not."""
        try:
            self.record.artifacts |= bring(follower.artifacts(), self.bucket, self.record.folder / "artifacts")
        except PerennialError as error:
            self.observer.announced(f"what the run measured stays at the server: {error}")
        self.record.save()
