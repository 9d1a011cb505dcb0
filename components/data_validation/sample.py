"""A sample of a table's rows, which the next run's rows are compared with; it is stored beside the statistics.

The sample holds neither the entity nor times other than the row's own. The sample of the label's source also has the
columns of the other sources, as known at the time of each row, to compare how the label depends on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.data_validation.exact import Table
from components.shared.drift.column import Floats
from components.shared.sql import identifier, literal

ROWS = 10_000
"""Approximate number of rows of a sample of a larger table."""
_TIME = "perennial.time"
_ENTITY = "perennial.entity"
_COMPARABLE = {"BIGINT": "DOUBLE", "DOUBLE": "DOUBLE", "BOOLEAN": "VARCHAR", "VARCHAR": "VARCHAR"}
_HASHES = 1 << 30
_STATE_SHARE = 0.95

Times = NDArray[np.int64]
Values = Floats | list[str | None]


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


@dataclass(frozen=True)
class Sample:
    """Rows in the order of their times. ``times`` are microseconds since 1970 or row numbers; None without an order."""

    columns: dict[str, Values]
    times: Times | None
    newest: int | None
    """The newest time of the whole table."""
    labelled_until: int | None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.columns.values()), []))

    def at(self, rows: NDArray[np.int64]) -> "Sample":
        """Return the rows at these positions."""
        columns: dict[str, Values] = {}
        for name, values in self.columns.items():
            columns[name] = [values[row] for row in rows] if isinstance(values, list) else values[rows]
        times = None if self.times is None else self.times[rows]
        return Sample(columns, times, self.newest, self.labelled_until)

    def after(self, since: int | None) -> "Sample":
        """Return the rows after a time; all rows if it is None or the rows have no order."""
        return self if since is None or self.times is None else self.at(np.flatnonzero(self.times > since))

    def until(self, time: int | None) -> "Sample":
        """Return the rows up to a time; all rows if it is None or the rows have no order."""
        return self if time is None or self.times is None else self.at(np.flatnonzero(self.times <= time))

    def labelled(self, label: str) -> "Sample":
        """Return the rows whose label is known."""
        values = self.columns[label]
        is_known = (
            np.array([value is not None for value in values]) if isinstance(values, list) else np.isfinite(values)
        )
        return self.at(np.flatnonzero(is_known))


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
    """
    columns = source.comparable()
    time = "NULL" if source.time is None else _as_integer(source.time, source.types)
    where = "true" if since is None else f"{time} > {since}"
    if since is not None:
        rows = table.select(f"SELECT count(*) FROM {{rows}} WHERE {where}").column(0)[0].as_py()
    keys = [name for name in (source.entity, source.time) if name] if source.entity and source.time else columns
    key = f"hash({', '.join(map(identifier, keys))}) % {_HASHES}" if keys else "0"
    cutoff = _HASHES if rows <= ROWS else _HASHES * ROWS // rows
    entity = "NULL" if source.entity is None else f"CAST({identifier(source.entity)} AS VARCHAR)"
    read = [f"{time} AS {identifier(_TIME)}", f"{entity} AS {identifier(_ENTITY)}"]
    for name, type_ in columns.items():
        value = f"CAST({identifier(name)} AS {type_})"
        if name == source.label and source.labelled_until is not None and source.time is not None:
            value = f"CASE WHEN {time} <= {source.labelled_until} THEN {value} END"
        read.append(f"{value} AS {identifier(name)}")
    sampled = table.select(
        f"SELECT {', '.join(read)} FROM {{rows}} WHERE {where} AND {key} < {cutoff} ORDER BY 1, {key}, file_row_number"
    )
    for name, (path, other) in others.items():
        sampled = _join(table, sampled, name, path, other)
    return sampled.drop([_ENTITY])


def describe(table: Table, source: SampledColumns, sampled: pa.Table) -> pa.Table:
    """Add what the next run must know about the whole table: its newest time."""
    newest = None
    if source.time is not None:
        newest = table.select(f"SELECT max({_as_integer(source.time, source.types)}) FROM {{rows}}")
        newest = newest.column(0)[0].as_py()
    facts = {"newest": newest, "labelled_until": source.labelled_until}
    return sampled.replace_schema_metadata({key: str(value) for key, value in facts.items() if value is not None})


def parse(sampled: pa.Table) -> Sample:
    """Convert a sample to arrays of numbers and lists of categories."""
    facts = {key.decode(): int(value) for key, value in (sampled.schema.metadata or {}).items() if value.isdigit()}
    times = sampled[_TIME]
    columns: dict[str, Values] = {}
    for name in sampled.column_names:
        if name == _TIME:
            continue
        values = sampled[name]
        is_number = pa.types.is_floating(values.type)
        columns[name] = values.to_numpy().astype(np.float64) if is_number else pc.cast(values, pa.string()).to_pylist()
    return Sample(
        columns,
        None if times.null_count else times.to_numpy().astype(np.int64),
        facts.get("newest"),
        facts.get("labelled_until"),
    )


def write(sampled: pa.Table, folder: Path, name: str) -> None:
    """Store a sample for the next run."""
    pq.write_table(sampled, _file(folder, name), compression="zstd")


def read(folder: Path, name: str) -> Sample | None:
    """Read the sample of the last accepted snapshot; None if there is none."""
    file = _file(folder, name)
    return parse(pq.read_table(file)) if file.is_file() else None


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.sample.parquet"


def _join(table: Table, sampled: pa.Table, name: str, path: Path, other: SampledColumns) -> pa.Table:
    """Add the columns of another source, each named ``<source>.<column>``, if it has a row for nearly every entity.

    A source without one lists events: what its latest row says depends on how far back the table reaches.
    """
    columns = other.comparable()
    if not columns or other.entity is None or other.time is None:
        return sampled
    read = ", ".join(f"CAST({identifier(c)} AS {t}) AS {identifier(f'{name}.{c}')}" for c, t in columns.items())
    chosen = ", ".join(f"other.{identifier(f'{name}.{column}')}" for column in columns)
    entity, time = identifier(_ENTITY), identifier(_TIME)
    joined = table.select(
        f"SELECT other.{entity}, {chosen} FROM sampled ASOF LEFT JOIN ("
        f"SELECT CAST({identifier(other.entity)} AS VARCHAR) AS {entity}, "
        f"{_as_integer(other.time, other.types)} AS {time}, {read} FROM read_parquet({literal(str(path))}) "
        f"WHERE CAST({identifier(other.entity)} AS VARCHAR) IN (SELECT {entity} FROM sampled)) AS other "
        f"ON sampled.{entity} = other.{entity} AND sampled.{time} >= other.{time} ORDER BY sampled.position",
        sampled=sampled.append_column("position", pa.array(range(len(sampled)))),
    )
    if joined[_ENTITY].null_count > (1 - _STATE_SHARE) * len(joined):
        return sampled
    for column in joined.column_names[1:]:
        sampled = sampled.append_column(column, joined[column])
    return sampled


def _as_integer(time: str, types: dict[str, str]) -> str:
    return f"epoch_us({identifier(time)})" if types[time] == "TIMESTAMP" else f"CAST({identifier(time)} AS BIGINT)"
