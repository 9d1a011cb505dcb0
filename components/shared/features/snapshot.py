"""Query the tables of a snapshot with DuckDB."""

import difflib
from datetime import datetime
from pathlib import Path

import duckdb

from components.shared.documents.snapshot import SnapshotDescription
from components.shared.errors import InputError

TIMES = "_times"
"""Temporary table of one row: the oldest and the newest time in any table (UTC, without a zone), null without times."""


def connect(snapshot: Path, scratch: Path) -> duckdb.DuckDBPyConnection:
    """Open DuckDB with one view per table of the snapshot, and ``TIMES``.

    Times are UTC, and large joins spill to ``scratch``.
    """
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "temp_directory": str(scratch)})
    connection.execute("SET TimeZone = 'UTC'")
    for path in sorted(snapshot.glob("*.parquet")):
        file = str(path).replace("'", "''")
        connection.execute(f"CREATE VIEW {quoted(path.stem)} AS SELECT * FROM read_parquet('{file}')")
    connection.execute(
        f"CREATE TEMP TABLE {TIMES} AS SELECT ?::TIMESTAMP AS oldest, ?::TIMESTAMP AS newest", list(_ends(snapshot))
    )
    return connection


def clock(snapshot: Path) -> datetime | None:
    """Return the newest time in any table of a snapshot (UTC, without a zone); None if no table has a time."""
    return _ends(snapshot)[1]


def _ends(snapshot: Path) -> tuple[datetime | None, datetime | None]:
    """Return the oldest and the newest time in any table."""
    ranges = [table.time_range for table in SnapshotDescription.read(snapshot).tables.values() if table.time_range]
    moments = [datetime.fromisoformat(end).replace(tzinfo=None) for ends in ranges for end in ends]
    return min(moments, default=None), max(moments, default=None)


def quoted(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def require(name: str, existing: list[str], owner: str, role: str) -> None:
    """Check that a name exists; otherwise suggest the most similar one.

    Args:
        name: The name to check.
        existing: The names that exist.
        owner: What has these names, for the message.
        role: What ``name`` is, for the message.

    Raises:
        InputError: If ``name`` is not in ``existing``.
    """
    if name in existing:
        return
    similar = difflib.get_close_matches(name, existing, n=1, cutoff=0.5)
    hint = f"did you mean {similar[0]!r}?" if similar else f"it has {', '.join(sorted(existing)[:20])}."
    raise InputError(f"{role} {name!r} does not exist in {owner}; {hint} Correct the name.")
