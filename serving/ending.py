"""The end of the server: clients that are told so lose nothing."""

import time
from collections.abc import Callable


class Ending:
    """Whether the server is about to end, and for how long clients that ask have been told so.

    Args:
        timer_s: A monotonic clock in seconds.
    """

    def __init__(self, timer_s: Callable[[], float] = time.monotonic) -> None:
        self._timer_s = timer_s
        self._last_s = -float("inf")
        self._began_s: float | None = None

    @property
    def began(self) -> bool:
        """Whether no client is to stay."""
        return self._began_s is not None

    def begin(self) -> None:
        """Tell every client from now on."""
        self._began_s = self._timer_s()

    def noticed(self) -> bool:
        """Note a request; return whether its client has to be told to leave."""
        self._last_s = self._timer_s()
        return self.began

    def told_for(self, seconds: float) -> bool:
        """Return whether clients have been told for some time; without any client shortly before, that is at once."""
        if self._began_s is None:
            return False
        return self._began_s - self._last_s > seconds or self._timer_s() - self._began_s >= seconds
