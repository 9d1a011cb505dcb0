"""Follow a registry on this machine to where it is now: MLflow's database holds absolute paths of its artifacts."""

import contextlib
import sqlite3
from pathlib import Path

from components.shared.documents.release import ARTIFACTS

_PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def follow(database: Path) -> None:
    """Let the database name the artifacts beside it, also after its folder was moved or copied.

    All paths are changed in one transaction, or none. A database that can't be read or written is left alone: whoever
    opens it says why.

    Args:
        database: MLflow's SQLite file, which exists.
    """
    here = database.absolute().parent.as_uri()
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
        former = [home for home in _homes(connection) if home != here]
        with connection:
            for home in former:
                _move(connection, home, here)


def _homes(connection: sqlite3.Connection) -> list[str]:
    """Return the folders, as URIs, beside whose registry the experiments' artifacts are said to be."""
    locations = [row[0] for row in connection.execute("SELECT artifact_location FROM experiments")]
    beside = (location.rpartition(f"/{ARTIFACTS}/")[0] for location in locations if location)
    return sorted({home for home in beside if home.startswith("file://")})


def _move(connection: sqlite3.Connection, former: str, here: str) -> None:
    for table, column in _PATHS:
        connection.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
            (here, len(former) + 1, len(former) + len(ARTIFACTS) + 2, f"{former}/{ARTIFACTS}/"),
        )
