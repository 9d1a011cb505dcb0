"""Recognise numbers that are written for people: 1.234,50 or $1,234.50 or (4.50) or 37 %."""

import re
from dataclasses import dataclass

import duckdb

from components.ingestion.text_file import CODE
from components.shared.sql import identifier, literal

_SHARE = 0.95
_SYMBOLS = "$€£¥₹%"
_CURRENCIES = (
    "USD|EUR|GBP|JPY|CHF|CAD|AUD|NZD|CNY|INR|BRL|MXN|ZAR|KRW|RUB|TRY|SEK|NOK|DKK|PLN|CZK|HUF|SGD|HKD"  # ISO 4217
)
_BEFORE = f"(([{_SYMBOLS}]|{_CURRENCIES}) ?)?"
_AFTER = f"( ?([{_SYMBOLS}]|{_CURRENCIES})| [A-Za-z]{{1,5}})?"
# What separates groups of three digits, by the decimal sign.
_GROUPS = {".": "[, '’]", ",": "[. '’]"}


@dataclass(frozen=True)
class NumberFormat:
    """How the numbers of a column are written."""

    decimal: str
    """The decimal sign: '.' or ','."""
    units: tuple[str, ...]
    """What stands before or after numbers, such as '$'; numbers of several units can't be compared."""
    has_unit_before: bool
    has_unit_after: bool
    has_groups: bool
    """Whether thousands are separated."""
    has_parentheses: bool
    """Whether (4.50) is the negative of 4.50."""
    is_ambiguous: bool
    """Whether every value could as well have the other decimal sign."""
    example: str

    def sql(self, column: str) -> str:
        """Return SQL that reads a text of this format as a number; of any other text, it makes NULL."""
        name = identifier(column)
        text = f"regexp_replace({name}, '[^0-9{self.decimal}-]', '', 'g')"
        if self.decimal == ",":
            text = f"replace({text}, ',', '.')"
        sign = f"CASE WHEN {name} LIKE '%(%' THEN -1 ELSE 1 END * " if self.has_parentheses else ""
        return f"CASE WHEN regexp_full_match({name}, {literal(self._pattern())})\nTHEN {sign}CAST({text} AS DOUBLE) END"

    def _pattern(self) -> str:
        unit = "|".join(each.replace("$", "[$]") for each in self.units)
        before = f"({unit} ?)?" if self.has_unit_before else ""
        after = f"( ?{unit})?" if self.has_unit_after else ""
        return _pattern(_number(self.decimal, grouped=self.has_groups), before, after, self.has_parentheses)


def recognise(
    engine: duckdb.DuckDBPyConnection, rows: str, column: str, *, comma_elsewhere: bool
) -> NumberFormat | None:
    """Return the format of a column's numbers; None if they need no conversion, or are no numbers.

    Args:
        engine: A connection.
        rows: SQL for the rows with a value, without markers of a missing one.
        column: A column of clean texts.
        comma_elsewhere: Whether another column of the table has a decimal comma, which decides if this one doesn't.
    """
    name = identifier(column)
    point, comma = (_is_number(name, decimal) for decimal in ".,")
    plain = f"TRY_CAST({name} AS DOUBLE) IS NOT NULL"
    unit = f"trim(regexp_replace({name}, '[-+()0-9.,''’ ]', '', 'g'))"
    row = engine.execute(
        f"SELECT count(*), count_if({plain}), count_if({point}), count_if({comma}), "
        f"list(DISTINCT {unit}) FILTER ({point} OR {comma}), count_if({unit} = ''), "
        f"count_if(regexp_matches({name}, '^[-+(]*[^-+(0-9]')), count_if(regexp_matches({name}, '[^0-9)][)]?$')), "
        f"count_if(regexp_matches({name}, {literal(CODE)})), "
        f"count_if(regexp_matches({name}, '[0-9][,. ''’][0-9]{{3}}')), "
        f"count_if({name} LIKE '%(%'), first({name}) FILTER (({point} OR {comma}) AND NOT {plain}) "
        f"FROM {rows}"
    ).fetchall()[0]
    values, plain_count, points, commas, units, bare, first, last, codes, grouped, parentheses, example = row
    most = max(points, commas) if values else 0
    if codes or most <= (plain_count or 0) or most < _SHARE * values:
        return None
    units = tuple(sorted(filter(None, units)))
    words = [unit for unit in units if unit.isalpha() and not re.fullmatch(_CURRENCIES, unit)]
    # A word after some of the numbers, or another one after others, is part of a name: "12 B".
    if words and (bare or len(units) > 1):
        return None
    decimal = "," if commas > points or (commas == points and comma_elsewhere) else "."
    is_ambiguous = points == commas and bool(grouped) and not comma_elsewhere
    return NumberFormat(
        decimal, units, bool(first), bool(last), bool(grouped), bool(parentheses), is_ambiguous, str(example)
    )


def are_likely(engine: duckdb.DuckDBPyConnection, rows: str, column: str) -> bool:
    """Return whether most of a few values are numbers of any format."""
    is_number = " OR ".join(_is_number(identifier(column), decimal) for decimal in ".,")
    total, count = engine.execute(f"SELECT count(*), count_if({is_number}) FROM {rows}").fetchall()[0]
    return bool(total > 0 and count >= total / 2)


def could_be_thousands(engine: duckdb.DuckDBPyConnection, table: str, column: str) -> bool:
    """Return whether numbers such as 1.234 could all be whole ones with a point between groups of three digits."""
    name = identifier(column)
    count, fits, fractions = engine.execute(
        f"SELECT count({name}), count_if(abs({name}) < 1000 AND {name} * 1000 = round({name} * 1000)), "
        f"count_if({name} <> floor({name})) FROM {table}"
    ).fetchall()[0]
    return bool(count) and fits == count and fractions >= _SHARE * count


def _is_number(name: str, decimal: str) -> str:
    """Return SQL that says whether a text is a number with this decimal sign."""
    pattern = _pattern(_number(decimal, grouped=True), _BEFORE, _AFTER, True)
    return f"regexp_full_match({name}, {literal(pattern)})"


def _number(decimal: str, *, grouped: bool) -> str:
    """Return a pattern for digits with decimal places, and with groups of three where there are any."""
    whole = f"([0-9]{{1,3}}({_GROUPS[decimal]}[0-9]{{3}})+|[0-9]+)" if grouped else "[0-9]+"
    return f"{whole}([{decimal}][0-9]+)?"


def _pattern(number: str, before: str, after: str, has_parentheses: bool) -> str:
    """Return a pattern for a number with its sign and unit, or in parentheses."""
    signed = f"[+-]?{before}-?{number}{after}" if before else f"[+-]?{number}{after}"
    return f"{signed}|{before}[(]{before}{number}{after}[)]" if has_parentheses else signed
