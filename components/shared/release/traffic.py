"""What the release machine needs from an endpoint, whatever it is: the protocol ``Traffic``.

One contract test runs over every implementation. All methods are safe to repeat: after a kill it is unknown whether
the last one was finished.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from components.shared.documents.release import RegisteredVersion
from components.shared.documents.traffic_counts import TrafficCounts
from components.shared.release.journal import ReleaseJournal
from components.shared.release.sample import Sample


class Down(NamedTuple):
    """An exposed candidate has nothing left that answers its share.

    Attributes:
        reason: Why, as far as known.
        harmful: Whether the candidate itself is the cause, so that it must not be released again unchanged.
    """

    reason: str
    harmful: bool


class Counted(NamedTuple):
    """One look at what an endpoint counted.

    Attributes:
        journal: The release, with what has to be remembered until the next look.
        counts: What was counted of each version; None while that can't be read, as when no server runs.
        unread: Why some of it is missing: a step does not pass on what is known of the rest.
        down: Why the candidate can't go on; None while it answers.
    """

    journal: ReleaseJournal
    counts: TrafficCounts | None
    unread: str | None = None
    down: Down | None = None


class Traffic(Protocol):
    """The versions at an endpoint, and who gets the requests."""

    def answering(self) -> str | None:
        """Return the version that answers most requests, None before the first release."""

    def refresh(self, release: RegisteredVersion, load_sample: Callable[[], Sample]) -> bool:
        """Let the version that answers do so from the server that its release names now, if that is another one.

        Args:
            release: The version that answers.
            load_sample: Reads its sample, with which the new server is queried.

        Returns:
            Whether anything was changed; False where a server is nothing that a release decides about.

        Raises:
            StepFailed: If the new server does not answer right; the former one does again.
        """

    def serving(self) -> bool:
        """Return whether the endpoint can be queried now."""

    def describe(self, journal: ReleaseJournal) -> ReleaseJournal:
        """Check that this release can begin, and add to its journal what this endpoint needs to remember.

        Raises:
            PerennialError: If it can't; nothing has been changed.
        """

    def prepare(self, journal: ReleaseJournal) -> ReleaseJournal:
        """Settle how the release is laid out; the journal it returns is written before anything is placed."""

    def place(self, journal: ReleaseJournal) -> None:
        """Bring the candidate up alongside the former version, without traffic."""

    def await_ready(self, journal: ReleaseJournal) -> None:
        """Wait until the candidate can answer.

        Raises:
            StepFailed: If it does not become ready; the message says why.
        """

    def scale_up(self, journal: ReleaseJournal) -> None:
        """Give the candidate as much capacity as the former version has."""

    def route(self, journal: ReleaseJournal, share: int, *, mirrored: bool = False) -> None:
        """Send a percentage of the requests to the candidate, the others to the former version.

        Returns when the new shares are in effect. With share 0 nothing reaches the candidate, not even copies.
        """

    def counts(self, journal: ReleaseJournal) -> Counted:
        """Return what was counted of each version since the candidate was exposed."""

    def query(self, journal: ReleaseJournal, sample: Sample, *, isolated: bool) -> None:
        """Send the sample and compare the scores.

        Args:
            journal: The release.
            sample: Rows and the scores from training.
            isolated: Query the candidate by its own address; otherwise by the public name, which must lead to it.

        Raises:
            StepFailed: If another version answers, or a score differs.
        """

    def retire(self, journal: ReleaseJournal) -> None:
        """Remove the former version, after all traffic has gone to the candidate."""

    def remove(self, journal: ReleaseJournal) -> None:
        """Remove the candidate, after all traffic has gone back to the former version."""
