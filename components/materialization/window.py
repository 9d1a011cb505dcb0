"""The window of event times whose rows are written."""

from dataclasses import dataclass
from datetime import UTC, datetime

from components.shared.errors import InputError


@dataclass(frozen=True)
class Window:
    """Event times after ``start`` up to and including ``end``, UTC without a zone; None is no limit."""

    start: datetime | None = None
    end: datetime | None = None

    @classmethod
    def parse(cls, start: str, end: str) -> "Window":
        """Read a window from ISO times; an empty text is no limit, a time without a zone is UTC.

        Raises:
            InputError: If a text is not an ISO time, or the window is empty.

        >>> Window.parse("2024-01-01", "").start
        datetime.datetime(2024, 1, 1, 0, 0)
        """
        window = cls(_moment("start", start), _moment("end", end))
        if window.start is not None and window.end is not None and window.start >= window.end:
            raise InputError(
                f"the window starts at {window.start} and ends at {window.end}, so it is empty; expected a start "
                "before the end. Correct --start or --end."
            )
        return window

    def until(self, moment: datetime | None) -> "Window":
        """Return the window cut at a moment, if there is one.

        >>> Window(end=datetime(2024, 1, 1)).until(datetime(2023, 1, 1)).end
        datetime.datetime(2023, 1, 1, 0, 0)
        """
        ends = [end for end in (self.end, moment) if end is not None]
        return Window(self.start, min(ends, default=None))


def _moment(name: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"the window's {name} is {text!r}; expected an ISO time such as 2024-01-31 or 2024-01-31T12:00:00."
        ) from None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
