"""``snapshot.json``: which tables a snapshot holds."""

from pydantic import Field

from components.shared.documents.document import Document, Part


class TableDescription(Part):
    """One table of a snapshot, kept as ``<source>.parquet``."""

    rows: int
    columns: dict[str, str]
    """Column to its DuckDB type."""
    content_hash: str
    time_range: tuple[str, str] | None
    """First and last moment of the table's main time column (ISO 8601, UTC); None without one."""
    repeated_headers: int = 0
    """Rows of a CSV file that repeat its header and were left out."""
    unconverted: dict[str, int] = Field(default_factory=dict)
    """Column to the number of its values that the source's ``convert`` made missing, if any."""


class SnapshotDescription(Document):
    """All tables of a snapshot, and one digest of their content."""

    FILE = "snapshot.json"

    content_hash: str
    tables: dict[str, TableDescription]

    @property
    def rows(self) -> int:
        """Number of rows of all tables together."""
        return sum(table.rows for table in self.tables.values())
