"""Releases to an endpoint that a server has, as the command reaches it."""

from abc import abstractmethod
from typing import Protocol

from components.shared.release.driver import ReleaseDriver
from components.shared.release.journal import JournalStore, ReleaseJournal, ReleaseUnderWay
from pipelines.audit.recording import AuditLog
from pipelines.targets.releasing import ReleasingBackend
from pipelines.targets.remote.backend import RemoteBackend


class Release(Protocol):
    """What releases of one project are carried out by."""

    @property
    def journal(self) -> JournalStore:
        """Where a release that has begun is written down."""

    def driver(self) -> ReleaseDriver:
        """Return what carries releases out."""


class RemoteEndpoint:
    """One project's endpoint.

    Args:
        release: Reaches it.
    """

    def __init__(self, release: Release) -> None:
        self._journal, self.driver = release.journal, release.driver

    def under_way(self) -> ReleaseJournal | None:
        """Return the release that has begun and not ended."""
        return self._journal.read()

    def recover(self) -> None:
        """Finish or roll back what a killed process left behind; one that is alive is left alone."""
        journal = self.under_way()
        if journal is None or journal.state.waiting:
            return
        try:
            self.driver().recover()
        except ReleaseUnderWay:
            return


class RemoteReleasingBackend(RemoteBackend, ReleasingBackend):
    """A target with a server whose endpoint this command reaches."""

    @property
    @abstractmethod
    def endpoint(self) -> RemoteEndpoint:
        """The project's endpoint; opens the registry.

        Raises:
            InputError: If the target's endpoint is of another kind, or its address is wrong.
        """

    def release_driver(self) -> ReleaseDriver:
        """Return what goes on with a release that waits."""
        return self.endpoint.driver()

    def release_under_way(self) -> ReleaseJournal | None:
        """Return the release that has begun and not ended."""
        return self.endpoint.under_way()

    def recover_release(self) -> None:
        """Finish or roll back what a killed process left behind."""
        self.endpoint.recover()

    @property
    def audit(self) -> AuditLog:
        """The project's audit log, which is kept on this machine."""
        return AuditLog(self.state.audit, self.state.folder / "endpoint", self.project.name)
