"""Poll until something is reached, or until a deadline."""

import time
from collections.abc import Callable


def within(reached: Callable[[], bool], deadline_s: float, poll_s: float) -> bool:
    """Poll until a condition is reached (True), or the deadline has passed (False).

    The condition is tested at least once, and once more after the deadline.

    Args:
        reached: The condition.
        deadline_s: Longest time to wait, in seconds.
        poll_s: Pause between two tests, in seconds.

    >>> within(lambda: True, deadline_s=0, poll_s=1), within(lambda: False, deadline_s=0, poll_s=0)
    (True, False)
    """
    end = time.monotonic() + deadline_s
    while not reached():
        if time.monotonic() > end:
            return False
        time.sleep(poll_s)
    return True
