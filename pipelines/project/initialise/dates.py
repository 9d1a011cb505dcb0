"""Recognise dates that are not written as ISO 8601: 31.12.2023, 01/15/2024, 5 Mar 2024, 20240115."""

from dataclasses import dataclass
from typing import Any

import duckdb

from components.shared.sql import identifier, literal

_SHARE = 0.95
_MIN_WHOLE = 20
# Formats of strptime, each with the pattern of the texts it is tried on, because %Y also reads two digits.
_DATES = {
    "%d.%m.%Y": r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}",
    # Without leading zeros, these would be versions of software, too.
    "%d.%m.%y": r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}",
    "%d/%m/%Y": "[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}",
    "%m/%d/%Y": "[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}",
    "%d/%m/%y": "[0-9]{1,2}/[0-9]{1,2}/[0-9]{2}",
    "%m/%d/%y": "[0-9]{1,2}/[0-9]{1,2}/[0-9]{2}",
    "%d-%m-%Y": "[0-9]{1,2}-[0-9]{1,2}-[0-9]{4}",
    "%m-%d-%Y": "[0-9]{1,2}-[0-9]{1,2}-[0-9]{4}",
    "%Y.%m.%d": r"[0-9]{4}\.[0-9]{1,2}\.[0-9]{1,2}",
    "%d-%b-%Y": "[0-9]{1,2}-[A-Za-z]{3}-[0-9]{4}",
    "%d-%b-%y": "[0-9]{1,2}-[A-Za-z]{3}-[0-9]{2}",
    "%d %b %Y": "[0-9]{1,2} [A-Za-z]{3} [0-9]{4}",
    "%b %d, %Y": "[A-Za-z]{3} [0-9]{1,2}, [0-9]{4}",
    "%d %B %Y": "[0-9]{1,2} [A-Za-z]+ [0-9]{4}",
    "%B %d, %Y": "[A-Za-z]+ [0-9]{1,2}, [0-9]{4}",
    "%Y%m%d": "[0-9]{8}",
}
_ORDERS = ("%d/%m", "%m/%d", "%d-%m", "%m-%d")
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")


@dataclass(frozen=True)
class DateFormat:
    """How the dates of a column are written."""

    formats: tuple[str, ...]
    """strptime formats, one per time of day that occurs."""
    is_ambiguous: bool
    """Whether every date could as well have day and month exchanged."""
    example: str

    def sql(self, column: str) -> str:
        """Return SQL that reads a text of this format as a time; of any other text, it makes NULL."""
        listed = [literal(each) for each in self.formats]
        return f"try_strptime({identifier(column)}, {listed[0] if len(listed) == 1 else '[' + ', '.join(listed) + ']'})"


def recognise(
    engine: duckdb.DuckDBPyConnection, rows: str, column: str, *, day_first_elsewhere: bool | None
) -> DateFormat | None:
    """Return the format of a column's dates; None if they need no conversion, or are no dates.

    Args:
        engine: A connection.
        rows: SQL for the rows with a value, without markers of a missing one.
        column: A column of clean texts.
        day_first_elsewhere: What another column of the table shows about day and month, which decides if this one
            doesn't; None if there is none.
    """
    name = identifier(column)
    total, example, *counts = _counted(engine, rows, column)
    most = max(counts)
    if not most or most < _SHARE * total:
        return None
    best = [date for date, count in zip(_DATES, counts, strict=True) if count == most]
    chosen, is_ambiguous = best[0], False
    if len(best) > 1 and chosen[:5] in _ORDERS:
        # With slashes, the American order is the more common one.
        day_first = day_first_elsewhere if day_first_elsewhere is not None else "/" not in chosen
        chosen = next(date for date in best if date.startswith("%d") == day_first)
        is_ambiguous = day_first_elsewhere is None
    times = ", ".join(f"count(try_strptime({name}, {literal(chosen + time)}))" for time in _TIMES)
    used = engine.execute(f"SELECT {times} FROM {rows}").fetchall()[0]
    formats = tuple(chosen + time for time, count in zip(_TIMES, used, strict=True) if count)
    return DateFormat(formats, is_ambiguous, str(example))


def are_likely(engine: duckdb.DuckDBPyConnection, rows: str, column: str) -> bool:
    """Return whether most of a few values are dates of one format."""
    total, _, *counts = _counted(engine, rows, column)
    return bool(total > 0 and max(counts) >= total / 2)


def is_day_first(date: DateFormat) -> bool:
    """Return whether the day is before the month."""
    return date.formats[0].startswith("%d")


def shows_order(date: DateFormat) -> bool | None:
    """Return whether the day is before the month, if the dates are all digits and can't be read otherwise."""
    if date.is_ambiguous or date.formats[0][:5] not in {*_ORDERS, "%d.%m"}:
        return None
    return is_day_first(date)


def of_whole_numbers(engine: duckdb.DuckDBPyConnection, rows: str, column: str, *, is_time: bool) -> str | None:
    """Return SQL that reads whole numbers as times: 20240115, and for the event time years and Unix times, too.

    Args:
        engine: A connection.
        rows: SQL for the rows with a value.
        column: A column of numbers.
        is_time: Whether the column is the event time.
    """
    name = identifier(column)
    count, low, high = engine.execute(f"SELECT count(*), min({name}), max({name}) FROM {rows}").fetchall()[0]
    if not count:
        return None
    if (count >= _MIN_WHOLE or is_time) and low >= 19000101 and high <= 22000101:
        date = f"try_strptime(CAST({name} AS VARCHAR), '%Y%m%d')"
        return date if engine.execute(f"SELECT count({date}) FROM {rows}").fetchall()[0][0] == count else None
    if not is_time:
        return None
    if low >= 1900 and high <= 2200:
        return f"make_timestamp(CAST({name} AS BIGINT), 1, 1, 0, 0, 0)"
    if low >= 10**8 and high < 10**10:
        return f"to_timestamp(CAST({name} AS DOUBLE))"
    return f"to_timestamp(CAST({name} AS DOUBLE) / 1000)" if low >= 10**11 and high < 10**13 else None


def _counted(engine: duckdb.DuckDBPyConnection, rows: str, column: str) -> tuple[Any, ...]:
    """Return the number of values, the first one, and the number of dates of each format."""
    name = identifier(column)
    counts = ", ".join(f"coalesce(count_if({_reads(name, date)}), 0)" for date in _DATES)
    return engine.execute(f"SELECT count(*), first({name}), {counts} FROM {rows}").fetchall()[0]


def _reads(name: str, date: str) -> str:
    """Return SQL that says whether a text is a date of this format, with or without a time of day."""
    formats = ", ".join(literal(date + time) for time in _TIMES)
    shape = literal(f"^{_DATES[date]}( |$)")
    return f"regexp_matches({name}, {shape}) AND try_strptime({name}, [{formats}]) IS NOT NULL"
