"""Bring endpoint and registry back together when a release was cut short."""

import fcntl
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared import registry, releases
from components.shared.releases import Journal

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)


def recover(endpoint: Path, registry_uri: str) -> str | None:
    """Finish or take back the release that a killed process left behind.

    The champion's alias is the commit point: a release that moved it is finished, any other is taken back.

    Returns:
        "finished" or "taken back"; None when no release is under way, or its process still works on it.
    """
    if not _abandoned(endpoint):
        return None
    client = registry.open(registry_uri)
    with (endpoint / "recovery.lock").open("a") as lock:
        # Two commands may find the same journal; the second must see what the first made of it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        entry = _abandoned(endpoint)
        if entry is None:
            return None
        if not entry.undoing and registry.champion(client, entry.name) == entry.version:
            finish(endpoint, entry)
            return "finished"
        undo(endpoint, entry, client)
        return "taken back"


def _abandoned(endpoint: Path) -> Journal | None:
    """Return the journal of a release whose process is gone."""
    entry = releases.journal(endpoint)
    return entry if entry is not None and entry.abandoned else None


def finish(endpoint: Path, entry: Journal) -> None:
    """Let the release answer whose alias has moved, and close the journal."""
    releases.write_active(endpoint, entry.version)
    releases.write_journal(endpoint, None)
    logger.info("release %s of %s is finished", entry.version, entry.name)


def undo(endpoint: Path, entry: Journal, client: "MlflowClient") -> None:
    """Put back the release that answered and the champion that was, and close the journal; safe to repeat."""
    releases.mark_undoing(endpoint, entry)
    releases.write_active(endpoint, entry.former)
    if registry.champion(client, entry.name) == entry.version:
        registry.move_alias(client, entry.name, registry.CHAMPION, entry.former_champion)
    if entry.version != entry.former:
        releases.uninstall(endpoint, entry.version)
    releases.write_journal(endpoint, None)
    logger.info("release %s of %s is taken back", entry.version, entry.name)
