"""How a release is laid out on a cluster: the protocol of both layouts."""

from typing import Protocol

from components.shared.release.journal import ClusterObjects, ReleaseJournal
from components.shared.release.kserve.cluster import Manifest


class ClusterLayout(Protocol):
    """The objects of an endpoint on a cluster; otherwise as in ``Traffic``."""

    def answering(self) -> str | None:
        """Return the version that answers most requests, None if nothing is laid out like this."""

    def owner(self, version: str) -> str:
        """Return the name of the InferenceService that a version is part of."""

    def service(self, version: str) -> str:
        """Return KServe's name of a version's Service, and of its Deployment."""

    def scale(self) -> tuple[int, int]:
        """Return the smallest and largest number of pods that must be restored when the candidate is removed."""

    def parents(self) -> list[Manifest]:
        """Return the gateway of the public route."""

    def host(self) -> str:
        """Return the public hostname."""

    def place(self, journal: ReleaseJournal) -> None:
        """Create the candidate alongside the former version."""

    def await_ready(self, journal: ReleaseJournal) -> None:
        """Wait until the candidate is ready."""

    def scale_up(self, journal: ReleaseJournal) -> None:
        """Give the candidate as many pods as the former version has."""

    def route(self, journal: ReleaseJournal, share: int, mirrored: bool) -> None:
        """Set the shares and wait until they are in effect."""

    def retire(self, journal: ReleaseJournal) -> None:
        """Remove the former version."""

    def remove(self, journal: ReleaseJournal) -> None:
        """Remove the candidate."""


def objects_of(journal: ReleaseJournal) -> ClusterObjects:
    """Return what the journal of a release on a cluster always has."""
    if journal.cluster is None:
        raise TypeError(f"the journal of release {journal.version} is not of a release on a cluster")
    return journal.cluster
