"""Recognise columns that say when, such as a month: they differ in every window that is shorter than their cycle."""

import re

import pyarrow as pa
import pyarrow.compute as pc

_MONTHS = ("january", "february", "march", "april", "may", "june",
           "july", "august", "september", "october", "november", "december")  # fmt: skip
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SPELLED = frozenset(name[:length] for name in (*_MONTHS, *_DAYS) for length in (3, len(name))) | {"sept", "thur"}
_LARGEST = {
    "month": 12, "quarter": 4, "week": 53, "weekday": 7, "dow": 7, "dayofweek": 7, "day": 31, "dom": 31,
    "dayofmonth": 31, "doy": 366, "dayofyear": 366, "hour": 24, "hr": 24, "hourofday": 24, "year": 2200,
}  # fmt: skip
_WHEN = re.compile(
    r"(?:^|_)(month|quarter|week|weekday|dow|day_?of_?week|day|dom|day_?of_?month|doy|day_?of_?year|hour|hr"
    r"|hour_?of_?day|year)"
    r"(?:_?(?:no|num|number|name))?$"
)


def says_when(name: str, values: pa.ChunkedArray) -> bool:
    """Return whether a column is a part of a date: by its values, if they are names of months or days, or by both.

    Args:
        name: Of the column; whole words of a snake-case or camel-case name count.
        values: Texts or numbers; missing ones say nothing.

    >>> says_when("m", pa.chunked_array([["jan", "Mar", None]]))
    True
    >>> says_when("call_month", pa.chunked_array([[1.0, 12.0]])), says_when("months_active", pa.chunked_array([[1.0]]))
    (True, False)
    >>> says_when("day", pa.chunked_array([[40.0]])), says_when("plan", pa.chunked_array([["may be", "sun"]]))
    (False, False)
    """
    present = values.drop_null()
    if not len(present):
        return False
    if pa.types.is_string(present.type):
        distinct = {text.strip().lower().rstrip(".") for text in present.unique().to_pylist()}
        return distinct <= _SPELLED
    date_part = _WHEN.search(re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\s.-]+", "_", name.strip()).lower())
    if date_part is None or not pa.types.is_floating(present.type):
        return False
    low, high = pc.min_max(present).as_py().values()
    is_whole = bool(pc.all(pc.equal(present, pc.round(present))).as_py())
    return is_whole and low >= 0 and high <= _LARGEST[date_part[1].replace("_", "")]
