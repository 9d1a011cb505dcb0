"""The journal of a local endpoint: ``journal.json`` in its folder, guarded by a lock that dies with its process."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.shared import processes
from components.shared.documents.release import RegisteredVersion
from components.shared.errors import StepFailed
from components.shared.release import endpoint_folder
from components.shared.release.journal import ReleaseJournal, ReleaseUnderWay

# Written by versions of Perennial that knew no phases; its process held no lock, so its number is looked at.
LEGACY_FILE = "candidate.json"
_LOCK = "journal.lock"


class FileJournalStore:
    """The journal in an endpoint's folder."""

    def __init__(self, endpoint: Path) -> None:
        self._endpoint = endpoint

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Lock the folder for this process."""
        self._endpoint.mkdir(parents=True, exist_ok=True)
        with (self._endpoint / _LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._under_way(self.read()) from None
            legacy = _legacy(self._endpoint)
            if legacy is not None and processes.alive(legacy["pid"], legacy["started"]):
                raise self._under_way(self.read())
            yield

    def read(self) -> ReleaseJournal | None:
        """Return the release under way."""
        file = self._endpoint / ReleaseJournal.FILE
        try:
            return ReleaseJournal.read(file)
        except FileNotFoundError:
            legacy = _legacy(self._endpoint)
            return None if legacy is None else ReleaseJournal.parse(legacy, str(self._endpoint / LEGACY_FILE))

    def write(self, journal: ReleaseJournal | None) -> None:
        """Write the release under way."""
        file = self._endpoint / ReleaseJournal.FILE
        if journal is None:
            # The older file first: were it left alone, the release would begin once more.
            (self._endpoint / LEGACY_FILE).unlink(missing_ok=True)
            file.unlink(missing_ok=True)
            return
        journal.model_copy(update={"holder": f"process {os.getpid()}"}).write(file)
        (self._endpoint / LEGACY_FILE).unlink(missing_ok=True)

    @staticmethod
    def _under_way(journal: ReleaseJournal | None) -> ReleaseUnderWay:
        release = f"release {journal.version}" if journal else "another release"
        holder = f" in {journal.holder}" if journal and journal.holder else ""
        return ReleaseUnderWay(f"{release} is under way{holder}; wait for it and run again.")


def _legacy(endpoint: Path) -> dict[str, Any] | None:
    """Return an older journal, with what it lacks: the address of the package."""
    path = endpoint / LEGACY_FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        folder = endpoint_folder.release_folder(endpoint, str(content["version"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StepFailed(f"{path} is not a valid journal ({error!r}); remove it and release again.") from error
    try:
        release = RegisteredVersion.read(folder / RegisteredVersion.FILE)
    except FileNotFoundError:
        # Killed before it was copied: it can only be undone, and for that no package is needed.
        return {**content, "storage_uri": ""}
    return {**content, "storage_uri": release.storage_uri, "manifest_sha256": release.manifest_sha256}
