"""CSV files: strictly UTF-8, one header row, types inferred from every value and not from a sample."""

import codecs
import csv
from collections.abc import Mapping
from pathlib import Path

import duckdb

from components.ingestion import columns
from components.ingestion.plain import DATE, present, stripped
from components.shared.errors import InputError
from components.shared.project import Source
from components.shared.sql import literal

_BLOCK = 1 << 22
_DELIMITERS = (",", ";", "\t", "|")
_FIRST_ROWS = 1000


def relation(name: str, file: Path, link: Path, limit: int) -> str:
    """Check the encoding and the header of a CSV file and return SQL that reads all its columns as text.

    Args:
        name: The source's name, for messages.
        file: The file.
        link: A path to it that DuckDB takes literally.
        limit: The largest number of columns.

    Raises:
        InputError: If the file is not UTF-8, has no header, or names a column twice.
    """
    check_encoding(name, file)
    header, delimiter = read_header(name, file)
    columns.check_names(name, header, limit)
    named = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in header)
    return (
        f"read_csv({literal(str(link))}, auto_detect=false, header=true, delim={literal(delimiter)}, quote='\"', "
        f"escape='\"', columns={{{named}}}, null_padding=false, strict_mode=true)"
    )


def check_encoding(name: str, file: Path) -> None:
    """Read the file once, in blocks, and refuse the first byte that is not UTF-8.

    Raises:
        InputError: With the byte's value, position and line.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    position, line = 0, 1
    with file.open("rb") as stream:
        while True:
            block = stream.read(_BLOCK)
            held = decoder.getstate()[0]
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as problem:
                data = held + block
                at = problem.start
                line += data.count(b"\n", 0, at)
                raise InputError(
                    f"Source '{name}': byte {position - len(held) + at} of {file.name} (line {line}) is "
                    f"0x{data[at]:02x}, which is not UTF-8; expected UTF-8 text. "
                    f"Convert the file, for example with: iconv -f latin1 -t utf-8 {file.name}"
                ) from None
            if not block:
                return
            position += len(block)
            line += block.count(b"\n")


def read_header(name: str, file: Path) -> tuple[list[str], str]:
    """Return the names in the first row and the delimiter between them.

    The delimiter is the one of comma, semicolon, tab and bar that stands most often in the first row.

    Raises:
        InputError: If the file is empty.
    """
    with file.open(encoding="utf-8-sig", newline="") as stream:
        first = stream.readline()
        if not first.strip():
            raise InputError(
                f"Source '{name}': {file.name} starts with an empty line or is empty; expected a header row with the "
                "names of the columns. Add it."
            )
        delimiter = max(_DELIMITERS, key=lambda mark: len(next(csv.reader([first], delimiter=mark))))
        stream.seek(0)
        header = next(csv.reader(stream, delimiter=delimiter))
    if not header[-1]:
        raise InputError(
            f"Source '{name}': the header of {file.name} ends with a delimiter; expected a name for each of the "
            f"{len(header)} columns. Name or drop the last column."
        )
    return header, delimiter


def inferred(
    engine: duckdb.DuckDBPyConnection, relation: str, found: dict[str, str], source: Source, numeric: set[str]
) -> dict[str, str]:
    """Return the narrowest type that holds every value of each column; texts as they stand where none does.

    Numbers with leading zeros ("007") and whole numbers beyond 64 bits are codes, not numbers. A column without
    values is DOUBLE if it is in ``numeric``, else VARCHAR.
    """
    start = f"(SELECT * FROM {relation} LIMIT {_FIRST_ROWS})"
    first = _candidates(engine, start, dict.fromkeys(found, _SUSPECTS), source, numeric)
    empty = _without_values(engine, start, list(found), source)
    suspects = {c: _SUSPECTS if c in empty else (first[c],) for c in found if first[c] != "VARCHAR" or c in empty}
    final = _candidates(engine, relation, suspects, source, numeric)
    return {column: final.get(column, "VARCHAR") for column in found}


def broken(name: str, problem: Exception) -> str:
    """Turn DuckDB's account of a malformed CSV file into one sentence."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    where = next((line.split("CSV Error on Line:")[-1].strip() for line in lines if "CSV Error on Line:" in line), None)
    reason = next((line for line in lines if line.startswith(("Expected Number", "Value with unterminated"))), lines[0])
    return (
        f"Source '{name}': {f'line {where}' if where else 'the file'} is malformed ({reason.rstrip('.')}); expected as "
        'many values in each row as in the header, quoted with ". Correct the file.'
    )


def _without_values(engine: duckdb.DuckDBPyConnection, relation: str, names: list[str], source: Source) -> set[str]:
    """Return the columns that hold no value."""
    counts = ", ".join(f"count({present(column, source)})" for column in names)
    row = engine.execute(f"SELECT {counts} FROM {relation}").fetchall()[0]
    return {column for column, count in zip(names, row, strict=True) if count == 0}


def _candidates(
    engine: duckdb.DuckDBPyConnection,
    relation: str,
    suspects: Mapping[str, tuple[str, ...]],
    source: Source,
    numeric: set[str],
) -> dict[str, str]:
    """Infer the types of some columns, which may have one of the suspected types, from all rows of a relation."""
    if not suspects:
        return {}
    texts = ", ".join(
        f"CASE WHEN {present(column, source)} IS NOT NULL THEN {stripped(column)} END AS c{position}"
        for position, column in enumerate(suspects)
    )
    tests = ", ".join(
        test.replace("@", f"c{position}") if set(types) & set(suspects[column]) else "0"
        for position, column in enumerate(suspects)
        for test, types in _TESTS
    )
    row = engine.execute(f"SELECT {tests} FROM (SELECT {texts} FROM {relation})").fetchall()[0]
    width = len(_TESTS)
    return {
        column: _type(*row[position * width : (position + 1) * width], is_numeric=column in numeric)
        for position, column in enumerate(suspects)
    }


_SUSPECTS = ("BOOLEAN", "BIGINT", "DOUBLE", "TIMESTAMP")
_NUMBERS = ("BIGINT", "DOUBLE")
# What is counted, and for which suspected types it matters: the rows are many, and each test costs.
_TESTS = (
    ("count(@)", _SUSPECTS),
    ("count_if(lower(@) IN ('true', 'false'))", ("BOOLEAN",)),
    ("count_if(TRY_CAST(@ AS DOUBLE) IS NOT NULL AND NOT contains(@, '_'))", _NUMBERS),
    ("count_if(TRY_CAST(@ AS BIGINT) IS NOT NULL AND regexp_full_match(@, '[+-]?[0-9]+'))", ("BIGINT",)),
    ("count_if(regexp_matches(@, '^[+-]?0[0-9]'))", _NUMBERS),
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
