"""Recognise texts that stand for a missing value: NA, ?, -, nan."""

import duckdb

from components.shared.sql import identifier, literal

# In every column, since no table means anything else by them.
_ALWAYS = {"nan", "null", "<na>", "#n/a", "#na", "n/a", "(null)", "\\n", "nat", "?", "-", "--", ".", "..", "#value!"}
# Among numbers and dates; elsewhere they may be a category.
_AMONG_NUMBERS = {"na", "none", "nil", "missing", "unknown", "not available", "n.a.", "k.a.", "x", "*"}
MARKERS = _ALWAYS | _AMONG_NUMBERS


def spellings(engine: duckdb.DuckDBPyConnection, rows: str, column: str) -> dict[str, int]:
    """Return the markers in a column of texts, as they are spelled, and the number of rows of each."""
    name = identifier(column)
    return {
        str(text): int(count)
        for text, count in engine.execute(
            f"SELECT {name}, count(*) FROM {rows} WHERE lower({name}) IN ({listed(MARKERS)}) GROUP BY 1 ORDER BY 1"
        ).fetchall()
    }


def is_certain(marker: str, *, is_quantity: bool) -> bool:
    """Return whether a marker stands for a missing value in a column, whose other values are quantities or not."""
    return is_quantity or marker.lower() in _ALWAYS


def listed(texts: set[str]) -> str:
    """Return a list of SQL literals."""
    return ", ".join(literal(text) for text in sorted(texts))
