"""Release to a local endpoint, recover it, and roll it back."""

import fcntl
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared import registry
from components.shared.documents.release import RegisteredVersion
from components.shared.release.champion_alias import MlflowChampionAlias
from components.shared.release.driver import LateOutcomes, Recovery, ReleaseDriver
from components.shared.release.file_journal import FileJournalStore
from components.shared.release.folder import FolderTraffic
from components.shared.release.journal import ReleaseJournal, ReleaseUnderWay
from components.shared.release.pace import Pace
from components.shared.release.sample import Sample

if TYPE_CHECKING:
    from mlflow import MlflowClient

PACE = Pace(start_s=120.0, route_s=120.0, poll_s=0.05)


def driver(
    endpoint: Path,
    client: "MlflowClient",
    *,
    manifests: Path | None = None,
    pace: Pace = PACE,
    outcomes: Callable[[ReleaseJournal, datetime], LateOutcomes | None] | None = None,
) -> ReleaseDriver:
    """Return what releases to an endpoint's folder.

    Args:
        endpoint: The folder; a server must be running on it when a release begins.
        client: The registry.
        manifests: Folder with the candidate's release; None if the endpoint has it already.
        pace: How long the server may take.
        outcomes: Reads what labels or outcomes say at a time of a release that is exposed; None where nobody can.
    """

    def load_sample(release: RegisteredVersion) -> Sample:
        return Sample.of(release, client)

    traffic = FolderTraffic(endpoint, pace, manifests)
    alias, store = MlflowChampionAlias(client), FileJournalStore(endpoint)
    return ReleaseDriver(traffic, alias, store, load_sample, outcomes=outcomes)


def under_way(endpoint: Path) -> ReleaseJournal | None:
    """Return the release that has begun and not ended, also while it goes from one step to the next."""
    return FileJournalStore(endpoint).read()


def waiting(endpoint: Path) -> ReleaseJournal | None:
    """Return the release that is exposed or waits for approval; None if there is none."""
    journal = under_way(endpoint)
    return journal if journal is not None and journal.state.waiting else None


def recover(endpoint: Path, registry_uri: str) -> Recovery | None:
    """Finish or roll back the release that a killed process left behind.

    The registry is opened only if there is one.

    Returns:
        None if no release is under way, or its process is alive.
    """
    store = FileJournalStore(endpoint)
    journal = store.read()
    if journal is None or journal.state.waiting:
        return None
    # Two commands may see the same journal; the second waits for what the first makes of it.
    with (endpoint / "recovery.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            with store.hold():
                if store.read() is None:
                    return None
            return driver(endpoint, registry.open(registry_uri)).recover()
        except ReleaseUnderWay:
            return None
