"""Read a column of times from a user's table."""

import pyarrow as pa

UTC_TIME = pa.timestamp("us", tz="UTC")


def utc(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return dates, times or ISO 8601 texts as times in UTC; one without a zone is in UTC.

    Raises:
        pa.ArrowInvalid: If a text is no time, or some have a zone and others do not.

    >>> utc(pa.chunked_array([["2026-01-02", None]])).to_pylist()[0].isoformat()
    '2026-01-02T00:00:00+00:00'
    """
    if not pa.types.is_string(values.type):
        return values.cast(UTC_TIME)
    try:
        return values.cast(pa.timestamp("us")).cast(UTC_TIME)
    except pa.ArrowInvalid:
        return values.cast(UTC_TIME)
