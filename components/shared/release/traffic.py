"""What the release machine needs from an endpoint, whatever it is: the protocol ``Traffic``.

One contract test runs over every implementation. All methods are safe to repeat: after a kill it is unknown whether
the last one was finished.
"""

from typing import Protocol

from components.shared.documents.traffic_counts import TrafficCounts
from components.shared.release.journal import ReleaseJournal
from components.shared.release.sample import Sample


class Traffic(Protocol):
    """The versions at an endpoint, and who gets the requests."""

    def answering(self) -> str | None:
        """Return the version that answers most requests, None before the first release."""

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

    def counts(self, journal: ReleaseJournal) -> TrafficCounts | None:
        """Return what was counted of each version; None while that can't be read, as when no server runs."""

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
