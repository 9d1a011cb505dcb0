"""How long each part of a release may take."""

from collections.abc import Callable
from dataclasses import dataclass

from components.shared import polling
from components.shared.errors import StepFailed


@dataclass(frozen=True)
class Pace:
    """Times in seconds.

    Args:
        start_s: Longest until a version is ready.
        route_s: Longest until changed shares are in effect.
        settle_s: How long the public name must answer right before the former version is removed; a gateway has
            several proxies, which learn about a change one after another.
        stuck_s: How long a pod may have the same problem before it counts as permanent.
        lease_s: After so long without a renewal, a release under way counts as abandoned.
        poll_s: Between two looks.
    """

    start_s: float = 300.0
    route_s: float = 90.0
    settle_s: float = 5.0
    stuck_s: float = 60.0
    lease_s: float = 60.0
    poll_s: float = 0.5

    def until(self, reached: Callable[[], bool], deadline_s: float, problem: str, hint: str = "") -> None:
        """Poll until it is reached.

        Raises:
            StepFailed: With ``problem`` and the deadline, after the deadline.
        """
        if not self.within(reached, deadline_s):
            raise StepFailed(f"{problem} within {deadline_s:.0f} s{hint or '.'}")

    def within(self, reached: Callable[[], bool], deadline_s: float) -> bool:
        """Poll until it is reached (True) or the deadline has passed (False)."""
        return polling.within(reached, deadline_s, self.poll_s)
