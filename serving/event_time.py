"""The time that a request's features describe, where that is not the time of the request: a replay, or a late batch."""

from datetime import UTC, datetime, timedelta
from typing import Any

from serving.refusal import RequestRefused, shown

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def from_json(value: Any) -> int | None:
    """Take the event time of a request from a JSON value: microseconds since 1970 in UTC; None if absent.

    Raises:
        RequestRefused: If it is not an ISO 8601 text with a time zone.

    >>> from_json("1970-01-02T01:00:00+01:00"), from_json(None)
    (86400000000, None)
    """
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RequestRefused(
            400,
            f"'event_time' is {shown(value)}; expected ISO 8601 with a time zone, such as '2026-01-31T12:00:00Z'.",
            "event_time",
        )
    return (moment - _EPOCH) // _MICROSECOND
