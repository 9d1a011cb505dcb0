"""Draw a sample of a table's rows, with what the other sources knew about each row at its time."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from components.data_validation.exact import ROWS, Table
from components.data_validation.sample import SAMPLE_ROWS, TIME
from components.shared.sql import identifier, literal

_COMPARABLE = {"BIGINT": "DOUBLE", "DOUBLE": "DOUBLE", "BOOLEAN": "VARCHAR", "VARCHAR": "VARCHAR"}
_HASHES = 1 << 30
_STATE_SHARE = 0.95
_SAMPLE = "perennial_sample"
_TIME = identifier(TIME)
_ENTITY = identifier("perennial.entity")
_POSITION = identifier("perennial.position")


@dataclass(frozen=True)
class SampledColumns:
    """Which columns of a table are sampled, and what orders and identifies its rows."""

    types: dict[str, str]
    entity: str | None
    time: str | None
    """The column that orders the rows: a time, or the number of the row."""
    left_out: frozenset[str] = frozenset()
    text_columns: frozenset[str] = frozenset()
    """Columns of numbers to read as text: the label of a classification."""
    label: str | None = None
    labelled_until: int | None = None
    """Labels of rows after this time are not read, because only some of them are known."""

    @property
    def is_in_time(self) -> bool:
        """Return whether a time orders the rows, and not the number of the row."""
        return self.time is not None and self.types[self.time] == "TIMESTAMP"

    def comparable(self) -> dict[str, str]:
        """Map the columns to compare to the type in which they are read."""
        left_out = self.left_out | {self.entity, self.time}
        types = {name: _COMPARABLE[type_] for name, type_ in self.types.items() if type_ in _COMPARABLE}
        return {
            name: "VARCHAR" if name in self.text_columns else type_
            for name, type_ in types.items()
            if name not in left_out
        }


def draw(
    table: Table,
    rows: int,
    source: SampledColumns,
    others: Mapping[str, tuple[Path, SampledColumns]],
    since: int | None = None,
) -> pa.Table:
    """Sample rows by a hash of their content, so that the order of the rows in the file does not matter.

    Args:
        table: The table.
        rows: Its number of rows.
        source: Its columns.
        others: The other sources by name, whose columns are joined as known at the time of each row.
        since: Only rows after this time are sampled; None for all.

    Returns:
        The rows in the order of their times, with metadata about the whole table for the next run.
    """
    columns = source.comparable()
    time = "NULL" if source.time is None else _as_integer(source.time, source.types)
    where = "true" if since is None else f"{time} > {since}"
    if since is not None:
        rows = table.select(f"SELECT count(*) FROM {ROWS} WHERE {where}").column(0)[0].as_py()
    keys = [name for name in (source.entity, source.time) if name] if source.entity and source.time else columns
    key = f"hash({', '.join(map(identifier, keys))}) % {_HASHES}" if keys else "0"
    cutoff = _HASHES if rows <= SAMPLE_ROWS else _HASHES * SAMPLE_ROWS // rows
    entity = "NULL" if source.entity is None else f"CAST({identifier(source.entity)} AS VARCHAR)"
    read = [f"{time} AS {_TIME}", f"{entity} AS {_ENTITY}"]
    for name, type_ in columns.items():
        value = f"CAST({identifier(name)} AS {type_})"
        if name == source.label and source.labelled_until is not None and source.time is not None:
            value = f"CASE WHEN {time} <= {source.labelled_until} THEN {value} END"
        read.append(f"{value} AS {identifier(name)}")
    position = f"row_number() OVER (ORDER BY {time}, {key}, file_row_number) AS {_POSITION}"
    table.create(_SAMPLE, f"SELECT {position}, {', '.join(read)} FROM {ROWS} WHERE {where} AND {key} < {cutoff}")
    sampled = table.select(f"SELECT * EXCLUDE ({_POSITION}, {_ENTITY}) FROM {_SAMPLE} ORDER BY {_POSITION}")
    for name, (path, other) in others.items():
        for column, values in _joined(table, name, path, other).items():
            sampled = sampled.append_column(column, values)
    facts = {"labelled_until": source.labelled_until}
    if source.time is not None:
        facts["newest"] = table.select(f"SELECT max({time}) FROM {ROWS}").column(0)[0].as_py()
    return sampled.replace_schema_metadata({key: str(value) for key, value in facts.items() if value is not None})


def _joined(table: Table, name: str, path: Path, other: SampledColumns) -> dict[str, pa.ChunkedArray]:
    """Return the columns of another source, each named ``<source>.<column>``, if it has a row for nearly every entity.

    A source without one lists events: what its latest row says depends on how far back the table reaches.
    """
    columns = other.comparable()
    if not columns or other.entity is None or other.time is None:
        return {}
    entity = f"CAST({identifier(other.entity)} AS VARCHAR)"
    read = ", ".join(f"CAST({identifier(c)} AS {t}) AS {identifier(f'{name}.{c}')}" for c, t in columns.items())
    chosen = ", ".join(f"other.{identifier(f'{name}.{column}')}" for column in columns)
    joined = table.select(
        f"SELECT other.{_ENTITY}, {chosen} FROM {_SAMPLE} AS sample ASOF LEFT JOIN ("
        f"SELECT {entity} AS {_ENTITY}, {_as_integer(other.time, other.types)} AS {_TIME}, {read} "
        f"FROM read_parquet({literal(str(path))}) WHERE {entity} IN (SELECT {_ENTITY} FROM {_SAMPLE})) AS other "
        f"ON sample.{_ENTITY} = other.{_ENTITY} AND sample.{_TIME} >= other.{_TIME} ORDER BY sample.{_POSITION}"
    )
    if joined.column(0).null_count > (1 - _STATE_SHARE) * len(joined):
        return {}
    return {column: joined[column] for column in joined.column_names[1:]}


def _as_integer(time: str, types: dict[str, str]) -> str:
    return f"epoch_us({identifier(time)})" if types[time] == "TIMESTAMP" else f"CAST({identifier(time)} AS BIGINT)"
