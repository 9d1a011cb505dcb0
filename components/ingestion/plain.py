"""The five column types of a snapshot, and the SQL that converts any column to one of them.

The types are BOOLEAN, BIGINT, DOUBLE, VARCHAR and TIMESTAMP (UTC without a zone, microseconds). Texts are cleaned (see
``shared.blank``); blank texts and NaN become missing values. An integer is never rounded: one that 64 bits can't hold
stays a text.
"""

from datetime import UTC, datetime

from components.shared.blank import clean_sql
from components.shared.errors import InputError
from components.shared.project import Source
from components.shared.sql import identifier, literal

_WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
_LONG = {"HUGEINT", "UHUGEINT", "UBIGINT"}
_NUMBERS = {"FLOAT", "DOUBLE", "DECIMAL"}
_TEXTS = {"VARCHAR", "UUID", "TIME", "JSON", "ENUM", "NULL", '"NULL"'}
# Without this pattern, DuckDB would also parse 'epoch', 'infinity' or a time of day as a timestamp.
DATE = r"^\d{4}[-/]\d{1,2}[-/]\d{1,2}"


def has_single_values(type_: str) -> bool:
    """Return whether DuckDB's type of a column is one of numbers, texts, booleans or times, not of lists or bytes.

    >>> has_single_values("DECIMAL(18,2)"), has_single_values("BIGINT[]"), has_single_values("BLOB")
    (True, False, False)
    """
    try:
        plain_type("", "", type_)
    except InputError:
        return False
    return True


def plain_type(name: str, column: str, type_: str) -> str:
    """Map DuckDB's type of a column to one of the five types; a long integer may not fit, see ``is_long``.

    Raises:
        InputError: If the column holds lists, structures or bytes.
    """
    base = "nested" if type_.endswith("]") else type_.split("(")[0]
    if base.startswith("TIMESTAMP") or base == "DATE":
        return "TIMESTAMP"
    if base in _WHOLE or is_long(type_):
        return "BIGINT"
    if base in _NUMBERS:
        return "DOUBLE"
    if base == "BOOLEAN":
        return "BOOLEAN"
    if base in _TEXTS:
        return "VARCHAR"
    raise InputError(
        f"source '{name}': column '{column}' has the type {type_}; expected numbers, texts, booleans or times. "
        "Remove the column or flatten it in the source."
    )


def is_text(type_: str) -> bool:
    """Return whether a column of DuckDB's type holds texts, which may stand for something else."""
    return type_.split("(")[0] in _TEXTS


def is_long(type_: str) -> bool:
    """Return whether a type holds integers that may be beyond 64 bits.

    >>> is_long("UBIGINT"), is_long("DECIMAL(38,0)"), is_long("DECIMAL(18,2)"), is_long("BIGINT")
    (True, True, False, False)
    """
    return type_ in _LONG or (type_.startswith("DECIMAL(") and type_.endswith(",0)"))


def beyond_64_bits(column: str) -> str:
    """Return SQL for the number of values of a column of long integers that 64 bits can't hold."""
    return f"count({identifier(column)}) - count(TRY_CAST({identifier(column)} AS BIGINT))"


def expression(column: str, raw: str, plain: str, source: Source, *, strict: bool = True) -> str:
    """Return SQL that converts a column of DuckDB's type ``raw`` to the type ``plain``.

    A text that is no time becomes NULL. So does, unless ``strict``, one that is no number or boolean; otherwise the
    query fails.
    """
    cast = "CAST" if strict else "TRY_CAST"
    if plain == "TIMESTAMP":
        if "TIME ZONE" in raw or raw.startswith("TIMESTAMPTZ"):
            return f"CAST({identifier(column)} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"
        if raw.startswith(("TIMESTAMP", "DATE")):
            return f"CAST({identifier(column)} AS TIMESTAMP)"
        text = cleaned(column)
        parsed = f"TRY_CAST({text} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"
        return f"CASE WHEN regexp_matches({text}, {literal(DATE)}) THEN {parsed} END"
    value = present(column, source) if is_text(raw) else identifier(column)
    if is_text(raw) and plain == "VARCHAR":
        return value
    if plain == "DOUBLE":
        number = f"{cast}({value} AS DOUBLE)"
        return f"CASE WHEN NOT isnan({number}) THEN {number} END"
    return f"{cast}({value} AS {plain})"


def present(column: str, source: Source) -> str:
    """Return SQL for the cleaned text of a column, NULL where it is blank or one of the source's null values."""
    missing = sorted({"", *source.null_values})
    text = cleaned(column)
    return f"CASE WHEN {text} NOT IN ({', '.join(map(literal, missing))}) THEN {text} END"


def cleaned(column: str) -> str:
    """Return SQL for the text of a column without blanks around it."""
    return clean_sql(f"CAST({identifier(column)} AS VARCHAR)")


def moment(time: datetime) -> str:
    """Return SQL for a moment, in UTC without a zone."""
    return f"TIMESTAMP {literal(time.astimezone(UTC).replace(tzinfo=None).isoformat(' ', 'microseconds'))}"
