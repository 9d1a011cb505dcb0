"""Log lines that any client can cause: at most one a second, so that nobody fills a disk."""

import logging
import threading
import time
from collections.abc import Callable

_PAUSE_S = 1.0


class Seldom:
    """Logs one warning a second at most, and says how many it left out.

    Args:
        logger: Where to.
        timer_s: A monotonic clock in seconds.
    """

    def __init__(self, logger: logging.Logger, timer_s: Callable[[], float] = time.monotonic) -> None:
        self._logger, self._timer_s = logger, timer_s
        self._last_s = -float("inf")
        self._left_out = 0
        self._lock = threading.Lock()

    def warning(self, sentence: str) -> None:
        """Log a sentence, or count it for the next line."""
        with self._lock:
            now_s = self._timer_s()
            if now_s - self._last_s < _PAUSE_S:
                self._left_out += 1
                return
            left_out, self._left_out, self._last_s = self._left_out, 0, now_s
        self._logger.warning("%s%s", sentence, f" (and {left_out} more since the last such line)" if left_out else "")
