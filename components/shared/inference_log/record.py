"""One line of a segment: an answered request, with its values by column."""

from collections.abc import Sequence
from typing import Any, Required, TypedDict


class LoggedRequest(TypedDict, total=False):
    """What the server writes of a request; every list has one value per row.

    ``entity`` has one value for the whole request, or one per row. ``unseen`` names per row the features whose category
    was never seen in training; it is absent if there is none. ``decision`` is absent where the model takes none.
    """

    id: Required[str]
    at_ns: Required[int]
    """Nanoseconds since 1970 in UTC at which the request was complete."""
    protocol: Required[str]
    rows: Required[int]
    latency_us: Required[float]
    received: Required[dict[str, Any]]
    """Feature to its values as the request carried them; None is missing. Only categories with ``numbers``."""
    numbers: str
    """The numeric and boolean features as the request carried them: base64 of an (encoded features, rows) matrix of
    little-endian float64, NaN where missing. The model sees the same in single precision."""
    encoded: str
    """The numbers as the model saw them: base64 of a (rows, encoded features) matrix of little-endian float32; absent
    where ``numbers`` is there."""
    score: Required[Any]
    """One number per row, or one list of numbers per row for several classes."""
    decision: list[Any]
    event_time_us: int
    """Microseconds since 1970 in UTC of what the features describe; absent if that is the time of the request."""
    entity: Sequence[str]
    feature_times_us: Sequence[str]
    """Per row, a JSON object: feature view to the event time of the row that was looked up, in microseconds since 1970
    in UTC, null where the online store has none; absent where the request had all features."""
    unseen: list[list[str]]
    shadow: bool
    """Whether another release answered the client; absent if this one did."""
    action: Sequence[str | None]
    """What each row was answered with, where decisions are explored; ``decision`` is the model's."""
    propensity: Sequence[float | None]
    """Probability with which it was answered so, 0 to 1."""
