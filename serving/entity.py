"""Whom the rows of a request describe: carried along with the features, for logs and sticky routing."""

from typing import Any

import orjson

from serving.refusal import RequestRefused, shown

Entity = str | tuple[str, ...]
"""One entity for the whole request, or one per row."""

MAX_LENGTH = 256
LOWEST, HIGHEST = -(2**63), 2**64 - 1
"""Integers that are read as such."""
_INEXACT = 2**53
_EXPECTED = "expected text, an integer, or a list of these with one per row"


def from_json(value: Any) -> Entity | None:
    """Take the entity of a request from a JSON value; None if absent.

    An integer becomes its decimal text.

    Raises:
        RequestRefused: If it is neither text nor an integer nor a list of these, or a text is empty or too long.

    >>> from_json(17), from_json(17.0), from_json(["a", 2]), from_json(None)
    ('17', '17', ('a', '2'), None)
    """
    if value is None:
        return None
    if type(value) is list:
        return tuple([_text(item, f"'entity', row {row}, is") for row, item in enumerate(value)])
    return _text(value, "'entity' is")


def from_json_text(text: str) -> Entity | None:
    """Take one entity per row from a JSON list in a text, where a protocol's parameters can't be lists."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    if type(value) is not list:
        raise RequestRefused(400, f"'entities' is {shown(text)}; expected a JSON list, one entity per row.", "entity")
    return from_json(value)


def count(entity: Entity | None) -> int:
    """Return how many rows a request has that leaves out all features: one, or one per entity."""
    return len(entity) if isinstance(entity, tuple) else 1


def check_rows(entity: Entity | None, rows: int) -> None:
    """Refuse a list of entities whose length is not the number of rows."""
    if isinstance(entity, tuple) and len(entity) != rows:
        raise RequestRefused(
            400, f"'entity' has {len(entity)} values for {rows} rows; expected one per row, or a single text.", "entity"
        )


def _text(value: Any, subject: str) -> str:
    # In JSON, 17.0 is the integer 17.
    if type(value) is int or (type(value) is float and value.is_integer() and abs(value) < _INEXACT):
        return str(int(value))
    if type(value) is not str:
        raise RequestRefused(400, f"{subject} {shown(value)}; {_EXPECTED}.", "entity")
    if not 0 < len(value) <= MAX_LENGTH:
        raise RequestRefused(
            400, f"{subject} a text of {len(value)} characters; expected 1 to {MAX_LENGTH} characters.", "entity"
        )
    return value
