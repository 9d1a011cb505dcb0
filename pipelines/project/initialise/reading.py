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

_MOST_VALUES = 100
_MOST_NAMED = 3
_FIRST_ROWS = 1000
_SHARE = 0.95


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
        """Return whether the table needs no declaration."""
        return not self.null_values and not self.convert


def survey(
    snapshot: Path, described: TableDescription, *, label: str, entity: str | None = None, time: str | None = None
) -> Reading:
    """Survey a table that was ingested without declarations.

    Args:
        snapshot: The table's parquet file.
        described: Its description.
        label: The column to predict.
        entity: The column that identifies the entity, whose values are never changed; None if the table has none.
        time: The column with the event time; None if the table has none.
    """
    with duckdb.connect() as engine:
        engine.execute("SET TimeZone = 'UTC'")
        table = f"read_parquet({literal(str(snapshot))})"
        return _Survey(engine, table, described, label, entity, time).reading()


class _Survey:
    """The steps of the survey, and what they find column by column."""

    def __init__(
        self,
        engine: duckdb.DuckDBPyConnection,
        table: str,
        described: TableDescription,
        label: str,
        entity: str | None,
        time: str | None,
    ) -> None:
        self._engine, self._table, self._described = engine, table, described
        self._label, self._entity, self._time = label, entity, time
        self._texts = [name for name, type_ in described.columns.items() if type_ == "VARCHAR" and name != entity]
        self._convert: dict[str, str] = {}
        self._reasons: dict[str, str] = {}
        self._notes: list[str] = []

    def reading(self) -> Reading:
        """Look at every column and return what to declare."""
        if self._described.repeated_headers:
            self._notes.append(f"Rows that repeat the header are left out: {self._described.repeated_headers:,}.")
        has_decimal_comma = self._declare_formats()
        for column, type_ in self._described.columns.items():
            if type_ in ("BIGINT", "DOUBLE") and column != self._entity:
                self._declare_numeric_times(column)
            if type_ == "DOUBLE" and has_decimal_comma:
                self._ask_about_points(column)
        null_values = self._null_values()
        for column in self._texts:
            if column not in self._convert:
                self._declare_spellings(column)
        return Reading(null_values, self._convert, self._reasons, tuple(self._notes))

    def _declare(self, column: str, sql: str, reason: str) -> None:
        self._convert[column], self._reasons[column] = sql, reason

    def _without_markers(self, column: str) -> str:
        """Return SQL for the values of a column of texts, without those that stand for a missing value."""
        name = identifier(column)
        markers = missing.listed(missing.MARKERS)
        return f"(SELECT {name} FROM {self._table} WHERE {name} IS NOT NULL AND lower({name}) NOT IN ({markers}))"

    def _declare_formats(self) -> bool:
        """Declare dates and numbers in other formats; return whether a column has a decimal comma.

        What is ambiguous in one column follows the other columns of the table, in a second pass.
        """
        candidates = [column for column in self._texts if self._is_likely_quantity(column)]
        has_decimal_comma, day_first = False, None
        date_formats: dict[str, DateFormat] = {}
        number_formats: dict[str, NumberFormat] = {}
        for _ in range(2):
            for column in candidates:
                values = self._without_markers(column)
                if date := dates.recognise(self._engine, values, column, day_first_elsewhere=day_first):
                    date_formats[column] = date
                elif number := numbers.recognise(self._engine, values, column, comma_elsewhere=has_decimal_comma):
                    number_formats[column] = number
            has_decimal_comma = any(
                number.decimal == "," and not number.is_ambiguous for number in number_formats.values()
            )
            orders = {dates.shows_order(date) for date in date_formats.values()} - {None}
            day_first = orders.pop() if len(orders) == 1 else None
        for column, date in date_formats.items():
            self._declare_date(column, date)
        for column, number in number_formats.items():
            self._declare_number(column, number)
        return has_decimal_comma

    def _is_likely_quantity(self, column: str) -> bool:
        """Return whether the first values are dates or numbers; most columns of texts hold neither."""
        first_values = f"(SELECT * FROM {self._without_markers(column)} LIMIT {_FIRST_ROWS})"
        return any(module.are_likely(self._engine, first_values, column) for module in (dates, numbers))

    def _declare_date(self, column: str, date: DateFormat) -> None:
        self._declare(column, date.sql(column), f"dates such as {date.example!r}")
        if date.is_ambiguous:
            order = "day, month" if dates.is_day_first(date) else "month, day"
            self._notes.append(
                f"Check '{column}': every date could have day and month exchanged; {date.example!r} is read as {order} "
                "(convert in project.yaml)."
            )

    def _declare_number(self, column: str, number: NumberFormat) -> None:
        if len(number.units) > 1:
            self._notes.append(
                f"Check '{column}': its numbers have the units {', '.join(number.units)}, so they can't be compared "
                "and stay texts."
            )
            return
        self._declare(column, number.sql(column), f"numbers such as {number.example!r}")
        if number.is_ambiguous:
            self._notes.append(
                f"Check '{column}': {number.example!r} is read with groups of thousands; it could have decimal places "
                "instead (convert in project.yaml)."
            )

    def _declare_numeric_times(self, column: str) -> None:
        values = f"(SELECT * FROM {self._table} WHERE {identifier(column)} IS NOT NULL)"
        if sql := dates.of_whole_numbers(self._engine, values, column, is_time=column == self._time):
            self._declare(column, sql, "times written as whole numbers")

    def _ask_about_points(self, column: str) -> None:
        if numbers.could_be_thousands(self._engine, self._table, column):
            self._notes.append(
                f"Check '{column}': other columns have decimal commas, so the points in its numbers could separate "
                "thousands (convert in project.yaml)."
            )

    def _null_values(self) -> tuple[str, ...]:
        """Return the texts that mean 'missing' in the whole table.

        A text that is a value of another column means it only where it is declared for the column.
        """
        markers = {column: missing.spellings(self._engine, self._table, column) for column in self._texts}
        meaning: dict[str, list[str]] = {}
        for column in self._texts:
            is_quantity = column in self._convert or self._are_numbers(column)
            for marker in markers[column]:
                if missing.is_certain(marker, is_quantity=is_quantity) and not self._is_value(column, marker):
                    meaning.setdefault(marker, []).append(column)
        null_values = []
        for marker, columns in sorted(meaning.items()):
            more = f" and {len(columns) - _MOST_NAMED} more" if len(columns) > _MOST_NAMED else ""
            where = ", ".join(columns[:_MOST_NAMED]) + more
            others = [column for column in self._texts if marker in markers[column] and column not in columns]
            if values := [column for column in (*others, self._entity) if column and self._is_value(column, marker)]:
                for column in columns:
                    self._declare_missing(column, marker)
                self._notes.append(
                    f"{marker!r} means that a value is missing in {where} (convert), and is a value in {values[0]}."
                )
                continue
            null_values.append(marker)
            doubt = f" Check {', '.join(map(repr, others[:_MOST_NAMED]))}: there it could be a value." if others else ""
            self._notes.append(f"{marker!r} means that a value is missing, as in {where} (null_values).{doubt}")
        return tuple(null_values)

    def _is_value(self, column: str, marker: str) -> bool:
        """Return whether a marker must be a value of a column: of a key, beside '+', or as one of two classes."""
        name = identifier(column)
        is_there, plus, others = self._engine.execute(
            f"SELECT count_if(v = {literal(marker)}) > 0, count_if(v = '+') > 0, "
            f"count(DISTINCT CASE WHEN lower(v) NOT IN ({missing.listed(missing.MARKERS)}) THEN v END) "
            f"FROM (SELECT CAST({name} AS VARCHAR) AS v FROM {self._table})"
        ).fetchall()[0]
        is_class = column == self._label and others < 2
        return bool(is_there and (column == self._entity or is_class or (marker == "-" and plus)))

    def _declare_missing(self, column: str, marker: str) -> None:
        # The SQL of a format already leaves out what has another one.
        if column not in self._convert:
            self._declare(column, f"nullif({identifier(column)}, {literal(marker)})", f"{marker!r} is a missing value")

    def _are_numbers(self, column: str) -> bool:
        """Return whether a column of texts has numbers or ISO dates, but for markers and a few other texts."""
        name = identifier(column)
        total, count = self._engine.execute(
            f"SELECT count(*), count_if(TRY_CAST({name} AS DOUBLE) IS NOT NULL "
            f"OR TRY_CAST({name} AS TIMESTAMP) IS NOT NULL) FROM {self._without_markers(column)}"
        ).fetchall()[0]
        return bool(total) and count >= _SHARE * total

    def _declare_spellings(self, column: str) -> None:
        """Declare that values which differ in case only are one value."""
        counts = self._engine.execute(
            f"SELECT {identifier(column)}, count(*) FROM {self._without_markers(column)} "
            f"GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {_MOST_VALUES + 1}"
        ).fetchall()
        if len(counts) > _MOST_VALUES:
            return
        variants = spellings.variants({str(value): int(count) for value, count in counts})
        # A boolean feature takes any spelling of its two words.
        is_boolean = column != self._label and spellings.are_truth_values([value for value, _ in counts])
        if variants and not is_boolean:
            spelled = "; ".join(", ".join(map(repr, group)) for group in list(variants.values())[:_MOST_NAMED])
            self._declare(column, spellings.sql(column, variants), f"one value, spelled {spelled}")
            self._notes.append(f"'{column}' spells one value in several ways ({spelled}): they count as one (convert).")
