"""Schedules of a server, by their names."""

from collections.abc import Sequence

from components.shared.errors import InputError
from pipelines.targets.protocol import Schedule


def named(schedules: Sequence[Schedule], name: str) -> Schedule:
    """Return the schedule of a name.

    Raises:
        InputError: If there is none.
    """
    by_name = {schedule.name: schedule for schedule in schedules}
    if name not in by_name:
        raise InputError(f"the schedule {name!r} does not exist; expected one of {sorted(by_name)}.")
    return by_name[name]


def check_new(schedules: Sequence[Schedule], name: str) -> None:
    """Do nothing if no schedule has this name.

    Raises:
        InputError: If one has: two of one name would start the same runs twice.
    """
    if any(schedule.name == name for schedule in schedules):
        raise InputError(f"the schedule {name!r} already exists; delete it first ('perennial schedule delete {name}').")
