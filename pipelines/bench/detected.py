"""What the detection bench hands from the process that measures to the one that prints."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Detected:
    """What came of the streams of one kind.

    Attributes:
        expected: Signals that have to show the change; none for a harmless kind.
        found: Streams in which one of them came.
        delay_days: Median number of days until then; None if it never came.
        cause: The cause that an incident has to name; None for a harmless kind.
        right_cause: Streams whose first incident after the change named it.
        incidents_in_vain: Incidents that were opened while nothing harmful had happened.
        harmless_months: Months of 30 days in which nothing harmful had happened.
        windows: Weekly windows without a change.
        quiet: Those of them without any finding.
    """

    expected: tuple[str, ...]
    found: int
    delay_days: float | None
    cause: str | None
    right_cause: int
    incidents_in_vain: int
    harmless_months: float
    windows: int
    quiet: int
