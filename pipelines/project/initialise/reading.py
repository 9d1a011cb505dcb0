"""Survey how the values of a table are written, so that ingestion reads them as what they mean."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from components.shared.documents.snapshot import TableDescription
from components.shared.sql import identifier, literal
from pipelines.project.initialise import dates, missing, numbers, spellings
from pipelines.project.initialise.dates import DateFormat
from pipelines.project.initialise.numbers import NumberFormat

_LISTED = 100
_NAMED = 3
_FIRST_ROWS = 1000


@dataclass(frozen=True)
class Reading:
    """What the project file must declare about a table's values."""

    null_values: tuple[str, ...] = ()
    convert: Mapping[str, str] = field(default_factory=dict)
    """Column to SQL."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Column to what was recognised, for each column in ``convert``."""
    notes: tuple[str, ...] = ()
    """What the user should know or decide, as sentences."""

    @property
    def is_plain(self) -> bool:
        """Say whether the table needs no declaration."""
        return not self.null_values and not self.convert


@dataclass
class _Survey:
    """What is found, column by column."""

    markers: dict[str, dict[str, int]] = field(default_factory=dict)
    numbers: dict[str, NumberFormat] = field(default_factory=dict)
    dates: dict[str, DateFormat] = field(default_factory=dict)
    convert: dict[str, str] = field(default_factory=dict)
    has_comma: bool = False
    """Whether a column has a decimal comma."""
    reasons: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def survey(snapshot: Path, described: TableDescription, label: str, time: str | None) -> Reading:
    """Survey a table that was ingested without declarations.

    Args:
        snapshot: The table's parquet file.
        described: Its description.
        label: The column to predict.
        time: The column with the event time; None if the table has none.
    """
    found = _Survey()
    if described.repeated_headers:
        found.notes.append(f"Rows that repeat the header are left out: {described.repeated_headers:,}.")
    texts = [column for column, type_ in described.columns.items() if type_ == "VARCHAR"]
    table = f"read_parquet({literal(str(snapshot))})"
    with duckdb.connect() as engine:
        engine.execute("SET TimeZone = 'UTC'")
        for column in texts:
            found.markers[column] = missing.spellings(engine, table, column)
        rows = {column: _valued(table, column) for column in texts}
        _find_formats(engine, rows, found)
        for column, type_ in described.columns.items():
            if type_ in ("BIGINT", "DOUBLE"):
                _read_whole_numbers(engine, table, column, found, is_time=column == time)
            if type_ == "DOUBLE" and found.has_comma and numbers.could_be_thousands(engine, table, column):
                found.notes.append(
                    f"Check '{column}': other columns have decimal commas, so the points in its numbers could separate "
                    "thousands (convert in project.yaml)."
                )
        null_values = _missing_markers(engine, rows, found)
        for column in texts:
            if column not in found.convert:
                _unify_spellings(engine, rows[column], column, found, is_label=column == label)
    return Reading(null_values, found.convert, found.reasons, tuple(found.notes))


def _valued(table: str, column: str) -> str:
    """Return SQL for the rows in which a column has a value that is no marker of a missing one."""
    name = identifier(column)
    markers = missing.listed(missing.MARKERS)
    return f"(SELECT {name} FROM {table} WHERE {name} IS NOT NULL AND lower({name}) NOT IN ({markers}))"


def _find_formats(engine: duckdb.DuckDBPyConnection, rows: Mapping[str, str], found: _Survey) -> None:
    """Recognise dates and numbers; what is ambiguous follows the other columns of the table, in a second pass."""
    # Most columns of texts hold neither, which a few rows show.
    promising = {
        column: valued
        for column, valued in rows.items()
        if any(
            each.are_likely(engine, f"(SELECT * FROM {valued} LIMIT {_FIRST_ROWS})", column)
            for each in (dates, numbers)
        )
    }
    comma, day_first = False, None
    for _ in range(2):
        for column, valued in promising.items():
            date = dates.recognise(engine, valued, column, day_first_elsewhere=day_first)
            number = None if date else numbers.recognise(engine, valued, column, comma_elsewhere=comma)
            if date:
                found.dates[column] = date
            if number:
                found.numbers[column] = number
        comma = any(number.decimal == "," and not number.is_ambiguous for number in found.numbers.values())
        orders = {dates.shows_order(date) for date in found.dates.values()} - {None}
        day_first = orders.pop() if len(orders) == 1 else None
        if comma is False and day_first is None:
            break
    found.has_comma = comma
    for column, date in found.dates.items():
        _declare(found, column, date.sql(column), f"dates such as {date.example!r}")
        if date.is_ambiguous:
            order = "day, month" if dates.is_day_first(date) else "month, day"
            found.notes.append(
                f"Check '{column}': every date could have day and month exchanged; {date.example!r} is read as {order} "
                "(convert in project.yaml)."
            )
    for column, number in found.numbers.items():
        if len(number.units) > 1:
            found.notes.append(
                f"Check '{column}': its numbers have the units {', '.join(number.units)}, so they can't be compared "
                "and stay texts."
            )
            continue
        _declare(found, column, number.sql(column), f"numbers such as {number.example!r}")
        if number.is_ambiguous:
            found.notes.append(
                f"Check '{column}': {number.example!r} is read with groups of thousands; it could have decimal places "
                "instead (convert in project.yaml)."
            )


def _declare(found: _Survey, column: str, sql: str, reason: str) -> None:
    found.convert[column], found.reasons[column] = sql, reason


def _read_whole_numbers(
    engine: duckdb.DuckDBPyConnection, table: str, column: str, found: _Survey, *, is_time: bool
) -> None:
    sql = dates.of_whole_numbers(
        engine, f"(SELECT * FROM {table} WHERE {identifier(column)} IS NOT NULL)", column, is_time=is_time
    )
    if sql:
        _declare(found, column, sql, "times written as whole numbers")


def _missing_markers(engine: duckdb.DuckDBPyConnection, rows: Mapping[str, str], found: _Survey) -> tuple[str, ...]:
    """Return the texts that mean 'missing' in the whole table, and note where they occur."""
    quantities = {column for column in rows if column in found.convert or _are_numbers(engine, rows[column], column)}
    certain: dict[str, list[str]] = {}
    for column, markers in found.markers.items():
        for marker in markers:
            if missing.is_certain(marker, is_quantity=column in quantities):
                certain.setdefault(marker, []).append(column)
    for marker, columns in sorted(certain.items()):
        shown = ", ".join(columns[:_NAMED]) + (f" and {len(columns) - _NAMED} more" if len(columns) > _NAMED else "")
        note = f"{marker!r} means that a value is missing, as in {shown} (null_values)."
        doubtful = [column for column, markers in found.markers.items() if marker in markers and column not in columns]
        if doubtful:
            note += f" Check {', '.join(map(repr, doubtful[:_NAMED]))}: there it could be a value."
        found.notes.append(note)
    return tuple(sorted(certain))


def _are_numbers(engine: duckdb.DuckDBPyConnection, valued: str, column: str) -> bool:
    """Say whether a column of texts has numbers or ISO dates, but for markers and a few other texts."""
    name = identifier(column)
    total, count = engine.execute(
        f"SELECT count(*), count_if(TRY_CAST({name} AS DOUBLE) IS NOT NULL "
        f"OR TRY_CAST({name} AS TIMESTAMP) IS NOT NULL) FROM {valued}"
    ).fetchall()[0]
    return bool(total) and count >= 0.95 * total


def _unify_spellings(
    engine: duckdb.DuckDBPyConnection, valued: str, column: str, found: _Survey, *, is_label: bool
) -> None:
    name = identifier(column)
    counted = engine.execute(
        f"SELECT {name}, count(*) FROM {valued} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {_LISTED + 1}"
    ).fetchall()
    if len(counted) > _LISTED:
        return
    variants = spellings.variants({str(value): int(count) for value, count in counted})
    # A boolean feature takes any spelling of its two words.
    if variants and (is_label or not spellings.are_truth_values([value for value, _ in counted])):
        spelled = "; ".join(", ".join(map(repr, group)) for group in list(variants.values())[:_NAMED])
        _declare(found, column, spellings.sql(column, variants), f"one value, spelled {spelled}")
        found.notes.append(f"'{column}' spells one value in several ways ({spelled}): they count as one (convert).")
