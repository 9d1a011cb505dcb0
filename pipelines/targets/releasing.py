"""What a target can be asked to do whose releases wait: for requests, for an approval, or for somebody to decide."""

from abc import abstractmethod
from typing import ClassVar

from components.shared.release.driver import ReleaseDriver
from components.shared.release.journal import ReleaseJournal
from pipelines.audit.recording import AuditLog, who
from pipelines.targets.protocol import Backend


class ReleasingBackend(Backend):
    """A target whose endpoint this command reaches."""

    look_every_s: ClassVar[float] = 1.0
    """Between two looks at a release that is watched."""

    @property
    @abstractmethod
    def audit(self) -> AuditLog:
        """The project's audit log."""

    def account(self) -> str:
        """Return who decides about a release: what the operating system reports, or a server that authenticates."""
        return who()

    @abstractmethod
    def release_driver(self) -> ReleaseDriver:
        """Return what goes on with a release that waits; opens the registry."""

    @abstractmethod
    def release_under_way(self) -> ReleaseJournal | None:
        """Return the release that has begun and not ended, also while it goes from one step to the next."""

    @abstractmethod
    def recover_release(self) -> None:
        """Finish or roll back the release that a killed process left behind, if there is one."""
