"""Query the tables of a snapshot with DuckDB."""

import difflib
from datetime import datetime
from pathlib import Path

import duckdb

from components.shared.documents.snapshot import SnapshotDescription
from components.shared.errors import InputError

MEMORY = "2GB"
"""Most memory of the queries about a snapshot."""
TIMES = "_times"
"""Temporary table of the tables that have times: name, oldest and newest one (UTC, without a zone)."""


def connect(snapshot: Path, scratch: Path) -> duckdb.DuckDBPyConnection:
    """Open DuckDB with one view per table of the snapshot, and ``TIMES``.

    Times are UTC, and what does not fit into ``MEMORY`` spills to ``scratch``.
    """
    connection = duckdb.connect(
        config={"autoinstall_known_extensions": False, "temp_directory": str(scratch), "memory_limit": MEMORY}
    )
    connection.execute("SET TimeZone = 'UTC'")
    for path in sorted(snapshot.glob("*.parquet")):
        file = str(path).replace("'", "''")
        connection.execute(f"CREATE VIEW {quoted(path.stem)} AS SELECT * FROM read_parquet('{file}')")
    connection.execute(f"CREATE TEMP TABLE {TIMES} (name VARCHAR, oldest TIMESTAMP, newest TIMESTAMP)")
    for name, (oldest, newest) in _ends(snapshot).items():
        connection.execute(f"INSERT INTO {TIMES} VALUES (?, ?, ?)", [name, oldest, newest])
    return connection


def clock(snapshot: Path) -> datetime | None:
    """Return the newest time in any table of a snapshot (UTC, without a zone); None if no table has a time."""
    return max((newest for _, newest in _ends(snapshot).values()), default=None)


def _ends(snapshot: Path) -> dict[str, tuple[datetime, datetime]]:
    """Return the oldest and the newest time of each table that has times."""
    tables = SnapshotDescription.read(snapshot).tables
    ranges = {name: table.time_range for name, table in tables.items() if table.time_range}
    return {name: (_moment(oldest), _moment(newest)) for name, (oldest, newest) in ranges.items()}


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)


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
