"""Repeated measurements of two sides: each has its median and its spread, and their ratio is that of the medians."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

TIMES = 3


def seconds(run: Callable[[], object]) -> float:
    """Return how long a call takes, in seconds."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def in_turns(sides: Mapping[str, Callable[[int], object]], times: int = TIMES) -> dict[str, list[float]]:
    """Time every side, one after another and again, so that what else the machine does meets all of them.

    Args:
        sides: What to call by its name; it gets the number of the turn.
        times: Turns that are timed; turn 0 comes before them, and warms every side up.

    Returns:
        Seconds of each timed turn by name.
    """
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(times + 1):
        for name, run in sides.items():
            taken_s = seconds(lambda run=run, turn=turn: run(turn))  # type: ignore[misc]
            if turn:
                measured[name].append(taken_s)
    return measured


def shown(values: Sequence[float], digits: int, unit: str) -> str:
    """Write the median with the smallest and the largest value.

    >>> shown([1.5, 2.0, 1.0], 1, "s")
    '1.5 s (1.0 to 2.0)'
    """
    return f"{statistics.median(values):.{digits}f} {unit} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Write the ratio of the medians.

    >>> ratio([2.0, 3.0, 4.0], [1.0, 2.0, 9.0])
    '1.5'
    """
    value = statistics.median(ours) / statistics.median(theirs)
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"
