"""CSV files: text, one header row, and types that are inferred from every value rather than from a sample."""

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from components.ingestion import columns, header, text_copy
from components.ingestion.plain import DATE, present
from components.shared.project import Source
from components.shared.sql import identifier, literal

CODE = "^[+-]?0[0-9]|^[+-]?[0-9]+[eE][0-9]+$"
"""Texts that DuckDB would read as a number, although another text means the same number. Programs write an exponent
with a sign or after a decimal point."""
_LONG_LINE = 100_000
_FIRST_ROWS = 1000


@dataclass(frozen=True)
class TextRows:
    """SQL for the rows of a CSV file, all columns as text."""

    relation: str
    repeated_headers: int
    """Rows that repeat the header, as in joined files; ``relation`` leaves them out."""


def relation(name: str, file: Path, link: Path, limit: int, encoding: str | None = None) -> TextRows:
    """Check the text and the header of a CSV file and return SQL that reads all its columns as text.

    Args:
        name: The source's name, for messages.
        file: The CSV file, which may be compressed with gzip.
        link: A link to the file, whose path has no characters that DuckDB would expand; a copy that DuckDB can read is
            written beside it where it is needed.
        limit: The largest number of columns.
        encoding: The file's encoding; see ``text_copy.readable``.

    Raises:
        InputError: If the file is not text, has no header, or has a duplicate column name.
    """
    plain = text_copy.readable(name, file, link.with_name(f"{link.name}.plain.csv"), encoding)
    first = header.read(name, plain, file.name)
    columns.check_names(name, list(first.names), limit)
    named = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in first.names)
    rows = (
        f"read_csv({literal(str(link if plain == file else plain))}, auto_detect=false, header=true, "
        f"skip={first.skipped}, delim={literal(first.delimiter)}, quote='\"', escape='\"', columns={{{named}}}, "
        "null_padding=false, strict_mode=true)"
    )
    repeats = header.repeats(plain, first)
    if repeats:
        pairs = zip(first.names, first.texts, strict=True)
        differs = " OR ".join(f"coalesce({identifier(column)}, '') <> {literal(text)}" for column, text in pairs)
        rows = f"(SELECT * FROM {rows} WHERE {differs})"
    return TextRows(rows, repeats)


def column_names(name: str, file: Path, encoding: str | None = None) -> list[str]:
    """Return the column names of a CSV file.

    Raises:
        InputError: As ``relation``.
    """
    with tempfile.TemporaryDirectory(prefix="perennial-header-") as folder:
        plain = text_copy.readable(name, file, Path(folder) / "plain.csv", encoding)
        return list(header.read(name, plain, file.name).names)


def inferred(
    engine: duckdb.DuckDBPyConnection, relation: str, names: Collection[str], source: Source, numeric: set[str]
) -> dict[str, str]:
    """Return the narrowest type that can hold every value, for each column in ``names``; VARCHAR if no other can.

    Numbers with leading zeros ("007"), integers beyond 64 bits, and integers with an exponent ("1E2", which would be
    equal to "10E1") are codes, not numbers. A column without values is DOUBLE if it is in ``numeric``, otherwise
    VARCHAR.
    """
    start = f"(SELECT * FROM {relation} LIMIT {_FIRST_ROWS})"
    first = _infer(engine, start, dict.fromkeys(names, _CANDIDATES), source, numeric)
    empty = _without_values(engine, start, list(names), source)
    candidates = {c: _CANDIDATES if c in empty else (first[c],) for c in names if first[c] != "VARCHAR" or c in empty}
    final = _infer(engine, relation, candidates, source, numeric)
    return {column: final.get(column, "VARCHAR") for column in names}


def csv_error(name: str, problem: Exception) -> str:
    """Shorten DuckDB's message about a malformed CSV file to one sentence."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    numbers = (line.split("CSV Error on Line:")[-1].strip() for line in lines if "CSV Error on Line:" in line)
    number = next(numbers, None)
    clear_reasons = ("Expected Number", "Value with unterminated", "Maximum line size")
    reason = next((line for line in lines if line.startswith(clear_reasons)), lines[0])
    if reason == lines[0] and max(map(len, lines)) > _LONG_LINE:
        reason = f"a line of more than {_LONG_LINE:,} characters, as after a quote that is not closed"
    return (
        f"source '{name}': {f'line {number}' if number else 'the file'} is malformed ({reason.rstrip('.')[:300]}); "
        'expected as many values in each row as in the header, quoted with ". Correct the file.'
    )


def _without_values(engine: duckdb.DuckDBPyConnection, relation: str, names: list[str], source: Source) -> set[str]:
    """Return the columns without any value."""
    counts = ", ".join(f"count({present(column, source)})" for column in names)
    row = engine.execute(f"SELECT {counts} FROM {relation}").fetchall()[0]
    return {column for column, count in zip(names, row, strict=True) if count == 0}


def _infer(
    engine: duckdb.DuckDBPyConnection,
    relation: str,
    candidates: Mapping[str, tuple[str, ...]],
    source: Source,
    numeric: set[str],
) -> dict[str, str]:
    """Infer the type of each column from all rows of a relation; only its candidate types are tested."""
    if not candidates:
        return {}
    texts = ", ".join(f"{present(column, source)} AS c{position}" for position, column in enumerate(candidates))
    tests = ", ".join(
        test.replace("@", f"c{position}") if set(types) & set(candidates[column]) else "0"
        for position, column in enumerate(candidates)
        for test, types in _TESTS
    )
    row = engine.execute(f"SELECT {tests} FROM (SELECT {texts} FROM {relation})").fetchall()[0]
    width = len(_TESTS)
    return {
        column: _type(*row[position * width : (position + 1) * width], is_numeric=column in numeric)
        for position, column in enumerate(candidates)
    }


_CANDIDATES = ("BOOLEAN", "BIGINT", "DOUBLE", "TIMESTAMP")
_NUMBERS = ("BIGINT", "DOUBLE")
# The SQL of each count, and the candidate types that need it: each count is expensive on a large table.
_TESTS = (
    ("count(@)", _CANDIDATES),
    ("count_if(lower(@) IN ('true', 'false'))", ("BOOLEAN",)),
    ("count_if(TRY_CAST(@ AS DOUBLE) IS NOT NULL AND NOT contains(@, '_'))", _NUMBERS),
    ("count_if(TRY_CAST(@ AS BIGINT) IS NOT NULL AND regexp_full_match(@, '[+-]?[0-9]+'))", ("BIGINT",)),
    (f"count_if(regexp_matches(@, {literal(CODE)}))", _NUMBERS),
    ("count_if(length(@) > 18 AND regexp_full_match(@, '[+-]?[0-9]+') AND TRY_CAST(@ AS BIGINT) IS NULL)", _NUMBERS),
    (f"count_if(TRY_CAST(@ AS TIMESTAMPTZ) IS NOT NULL AND regexp_matches(@, {literal(DATE)}))", ("TIMESTAMP",)),
)


def _type(
    values: int, booleans: int, numbers: int, whole: int, codes: int, long: int, times: int, *, is_numeric: bool
) -> str:
    if values == 0:
        return "DOUBLE" if is_numeric else "VARCHAR"
    if booleans == values:
        return "BOOLEAN"
    if numbers == values and codes + long == 0:
        return "BIGINT" if whole == values else "DOUBLE"
    return "TIMESTAMP" if times == values else "VARCHAR"
