"""The part of the inference log that is asked for, by event time."""

from dataclasses import dataclass
from datetime import UTC, datetime

from components.shared.errors import InputError
from components.shared.sql import literal


@dataclass(frozen=True)
class Span:
    """The window that was asked for: event times after ``start`` up to and including ``end``, in UTC."""

    start: datetime | None = None
    end: datetime | None = None

    @classmethod
    def parse(cls, start: str, end: str) -> "Span":
        """Read ISO times; an empty text is no limit, a time without zone is UTC.

        Raises:
            InputError: If the end is not after the start.

        >>> Span.parse("2026-01-01T00:00:00", "").start.isoformat()
        '2026-01-01T00:00:00+00:00'
        """
        limits = [datetime.fromisoformat(text) if text else None for text in (start, end)]
        low, high = (limit and (limit if limit.tzinfo else limit.replace(tzinfo=UTC)) for limit in limits)
        if low and high and low >= high:
            raise InputError(f"the window starts at {start} and ends at {end}; expected an end after the start.")
        return cls(low, high)

    def condition(self) -> str:
        """Return the window as SQL over ``event_time``.

        >>> Span.parse("2026-01-01", "").condition()
        "event_time > '2026-01-01T00:00:00+00:00'::TIMESTAMPTZ"
        """
        limits = {">": self.start, "<=": self.end}
        terms = [
            f"event_time {sign} {literal(at.isoformat())}::TIMESTAMPTZ" for sign, at in limits.items() if at is not None
        ]
        return " AND ".join(terms) or "true"
