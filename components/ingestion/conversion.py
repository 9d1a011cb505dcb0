"""The project's own SQL for columns whose values need it: dates, numbers and spellings of other formats."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from components.ingestion import plain
from components.shared.errors import InputError
from components.shared.project import Source
from components.shared.sql import identifier

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Converted:
    """How many values a column had before its conversion and after it, and the first one that became missing."""

    before: int
    after: int
    first_lost: str | None

    @property
    def lost(self) -> int:
        """Return the number of values that became missing."""
        return self.before - self.after


def applied(relation: str, raw: Mapping[str, str], source: Source) -> str:
    """Return SQL for a relation with the columns that ``source.convert`` computes; it sees cleaned texts.

    Args:
        relation: SQL for the rows as they are read.
        raw: Column of the relation to DuckDB's type.
        source: The source; conversions of columns that the relation does not have are ignored.
    """
    chosen = {column: sql for column, sql in source.convert.items() if column in raw}
    if not chosen:
        return relation
    # The line break ends a comment in the SQL.
    computed = ", ".join(f"({sql}\n) AS {identifier(column)}" for column, sql in chosen.items())
    return f"(SELECT * REPLACE ({computed}) FROM {_cleaned(relation, raw, source)})"


def check(
    engine: duckdb.DuckDBPyConnection, name: str, relation: str, raw: Mapping[str, str], source: Source, keys: set[str]
) -> dict[str, int]:
    """Check that the conversions of a source work, and count the values that each makes missing.

    Args:
        engine: A connection that can read ``relation``.
        name: Name of the source, for messages.
        relation: SQL for the rows as they are read.
        raw: Column of the relation to DuckDB's type.
        source: The source.
        keys: Columns that need a value in each row: the entity and times.

    Returns:
        Column to the number of its values that become missing, without those of which none does.

    Raises:
        InputError: If the SQL fails, makes every value of a column missing, or one of a key.
    """
    lost = {}
    for column in source.convert:
        counted = count(engine, name, column, relation, raw, source)
        if counted.lost and (counted.after == 0 or column in keys):
            raise InputError(
                f"source '{name}': {' '.join(source.convert[column].split())} can't convert {counted.lost:,} of "
                f"{counted.before:,} values of '{column}', first {counted.first_lost!r}; expected a result for "
                f"{'each' if column in keys else 'most'}. Correct the values, or 'convert' in the project file."
            )
        if counted.lost:
            log.warning(
                "%s: %d values of %r can't be converted, first %r", name, counted.lost, column, counted.first_lost
            )
            lost[column] = counted.lost
    return lost


def count(
    engine: duckdb.DuckDBPyConnection, name: str, column: str, relation: str, raw: Mapping[str, str], source: Source
) -> Converted:
    """Count what the conversion of a column keeps.

    Raises:
        InputError: If its SQL fails.
    """
    query = (
        "SELECT count(t), count(v), first(t) FILTER (t IS NOT NULL AND v IS NULL) FROM (SELECT "
        f"CAST({identifier(column)} AS VARCHAR) AS t, ({source.convert[column]}\n) AS v "
        f"FROM {_cleaned(relation, raw, source)}) WHERE t IS NOT NULL"
    )
    try:
        before, after, first_lost = engine.execute(query).fetchall()[0]
    except duckdb.Error as problem:
        reason = str(problem).splitlines()[0].rstrip(".")
        raise InputError(
            f"source '{name}': 'convert' of '{column}' fails ({reason}); expected SQL that DuckDB evaluates for each "
            f"row, such as try_strptime({identifier(column)}, '%d.%m.%Y'). Correct it in the project file."
        ) from None
    return Converted(int(before), int(after), first_lost)


def _cleaned(relation: str, raw: Mapping[str, str], source: Source) -> str:
    """Return SQL for the rows whose texts are clean where a conversion replaces them."""
    texts = [column for column in source.convert if column in raw and plain.is_text(raw[column])]
    cleaned = ", ".join(f"{plain.present(column, source)} AS {identifier(column)}" for column in texts)
    return f"(SELECT * REPLACE ({cleaned}) FROM {relation})" if texts else relation
