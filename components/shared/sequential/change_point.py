"""When a rate that has risen began to be higher."""

from collections.abc import Sequence
from math import log

_SMALLEST = 1e-6


def began(events: Sequence[float], trials: Sequence[float], before: float) -> int:
    """Return the index from which on a rate was most probably higher than before.

    It maximises the binomial likelihood ratio of one higher rate from there to the end against the rate before (Page,
    "A test for a change in a parameter occurring at an unknown point", Biometrika, 1955). Without any sign of a rise it
    is the last index.

    Args:
        events: Events of each period; may be weighted.
        trials: Trials of each period.
        before: Rate before the change, 0 to 1.

    Raises:
        ValueError: If there is no period.

    >>> began([2, 2, 2, 8, 9], [10, 10, 10, 10, 10], 0.2)
    3
    """
    if not trials:
        raise ValueError("no period to look for a change in")
    rate = min(max(before, _SMALLEST), 1 - _SMALLEST)
    best, index, lost, tried = 0.0, len(trials) - 1, 0.0, 0.0
    for start in range(len(trials) - 1, -1, -1):
        lost, tried = lost + events[start], tried + trials[start]
        if tried == 0 or lost / tried <= rate:
            continue
        after = min(lost / tried, 1 - _SMALLEST)
        ratio = lost * log(after / rate) + (tried - lost) * log((1 - after) / (1 - rate))
        if ratio > best:
            best, index = ratio, start
    return index
