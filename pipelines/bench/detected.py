"""What the detection bench hands from the process that measures to the one that prints."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Detected:
    """What came of the streams of one kind.

    Attributes:
        expected: Signals that have to show the change; none for a harmless kind.
        found: Streams in which one of them came.
        delay_days: Median number of days until then; None if it never came.
        alarms_in_vain: Alarms while nothing harmful had happened.
        windows: Weekly windows without a change.
        quiet: Those of them without any finding.
    """

    expected: tuple[str, ...]
    found: int
    delay_days: float | None
    alarms_in_vain: int
    windows: int
    quiet: int
