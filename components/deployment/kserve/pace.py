"""How long each thing may take, and waiting for it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from components.shared.errors import StepFailed


@dataclass(frozen=True)
class Pace:
    """Times in seconds.

    Args:
        start_s: Longest until the pods of a release answer.
        route_s: Longest until a changed route is taken up by controller and gateway.
        settle_s: How long the public route must answer right before the former release is removed; a gateway has
            several proxies, and they learn one after another.
        stuck_s: How long a pod may show the same trouble before it counts as hopeless.
        lease_s: After so long without a sign of life a release under way counts as abandoned.
        poll_s: Between two looks.
    """

    start_s: float = 300.0
    route_s: float = 90.0
    settle_s: float = 5.0
    stuck_s: float = 60.0
    lease_s: float = 60.0
    poll_s: float = 0.5

    def until(self, reached: Callable[[], bool], deadline_s: float, sentence: str) -> None:
        """Look until it is reached.

        Raises:
            StepFailed: With ``sentence``, after the deadline.
        """
        if not self.came(reached, deadline_s):
            raise StepFailed(f"{sentence} within {deadline_s:.0f} s.")

    def came(self, reached: Callable[[], bool], deadline_s: float) -> bool:
        """Look until it is reached (True) or the deadline has passed (False)."""
        end = time.monotonic() + deadline_s
        while not reached():
            if time.monotonic() > end:
                return False
            time.sleep(self.poll_s)
        return True
