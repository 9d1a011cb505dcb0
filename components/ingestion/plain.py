"""The five column types of a snapshot, and the SQL that converts any column to one of them.

The types are BOOLEAN, BIGINT, DOUBLE, VARCHAR and TIMESTAMP (UTC without a zone, microseconds). Blank texts and NaN
become missing values.
"""

from datetime import UTC, datetime

from components.shared.errors import InputError
from components.shared.project import Source
from components.shared.sql import identifier, literal

_WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
_NUMBERS = {"FLOAT", "DOUBLE", "HUGEINT", "UHUGEINT", "UBIGINT", "DECIMAL"}
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
    """Map DuckDB's type of a column to one of the five types.

    Raises:
        InputError: If the column holds lists, structures or bytes.
    """
    base = "nested" if type_.endswith("]") else type_.split("(")[0]
    if base.startswith("TIMESTAMP") or base == "DATE":
        return "TIMESTAMP"
    if base in _WHOLE:
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


def expression(column: str, raw: str, plain: str, source: Source, *, strict: bool = True) -> str:
    """Return SQL that converts a column of DuckDB's type ``raw`` to the type ``plain``.

    A text that is no time becomes NULL. So does, unless ``strict``, one that is no number or boolean; otherwise the
    query fails.
    """
    cast = "CAST" if strict else "TRY_CAST"
    is_text = raw.split("(")[0] in _TEXTS
    if plain == "TIMESTAMP":
        if "TIME ZONE" in raw or raw.startswith("TIMESTAMPTZ"):
            return f"CAST({identifier(column)} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"
        if raw.startswith(("TIMESTAMP", "DATE")):
            return f"CAST({identifier(column)} AS TIMESTAMP)"
        text = stripped(column)
        parsed = f"TRY_CAST({text} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"
        return f"CASE WHEN regexp_matches({text}, {literal(DATE)}) THEN {parsed} END"
    if is_text and plain == "VARCHAR":
        return present(column, source)
    value = (
        f"CASE WHEN {present(column, source)} IS NOT NULL THEN {stripped(column)} END"
        if is_text
        else identifier(column)
    )
    if plain == "DOUBLE":
        number = f"{cast}({value} AS DOUBLE)"
        return f"CASE WHEN NOT isnan({number}) THEN {number} END"
    return f"{cast}({value} AS {plain})"


def present(column: str, source: Source) -> str:
    """Return SQL for the text of a column, NULL where it is blank or one of the source's null values."""
    text = f"CAST({identifier(column)} AS VARCHAR)"
    missing = sorted({"", *(text.strip() for text in source.null_values)})
    listed = ", ".join(map(literal, missing))
    quick = f"WHEN {_starts_visibly(text)} THEN {text} " if missing == [""] else ""
    return f"CASE {quick}WHEN {stripped(column)} NOT IN ({listed}) THEN {text} END"


def stripped(column: str) -> str:
    """Return SQL for the text of a column without leading and trailing blanks."""
    text = f"CAST({identifier(column)} AS VARCHAR)"
    # Trimming is slow, and few texts need it.
    visible = f"{_starts_visibly(text)} AND {text}[-1] BETWEEN '!' AND '~'"
    return f"CASE WHEN {visible} THEN {text} ELSE trim({text}, E' \\t\\r\\n' || chr(160)) END"


def _starts_visibly(text: str) -> str:
    """Return SQL that is true only for texts that do not start with a blank, and for most of those."""
    return f"{text} > '!' AND {text} < chr(160)"


def moment(time: datetime) -> str:
    """Return SQL for a moment, in UTC without a zone."""
    return f"TIMESTAMP {literal(time.astimezone(UTC).replace(tzinfo=None).isoformat(' ', 'microseconds'))}"
