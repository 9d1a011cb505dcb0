"""Hand answered requests to observers (a log, a shadow, an explanation) without delaying an answer."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from components.shared import polling
from serving import finite, metrics

if TYPE_CHECKING:
    from serving.exchange import ScoredRequest

logger = logging.getLogger(__name__)

Observer = Callable[["ScoredRequest"], None]

_CAPACITY_ROWS = 100_000
_PAUSE_S = 0.02
"""Waiting this long after each delivery takes many requests at once, which spares a change of threads for each."""


class Observers:
    """Call every observer, one request after another, in a thread of their own.

    ``publish`` neither waits nor raises. If observers are slower than the requests, a bounded number of rows waits and
    further requests are dropped and counted; an observer that raises is counted, and its first failure is logged.

    Args:
        capacity_rows: Largest number of rows that may wait for the observers.
    """

    def __init__(self, capacity_rows: int = _CAPACITY_ROWS) -> None:
        self._capacity_rows = capacity_rows
        self._observers: tuple[Observer, ...] = ()
        self._waiting: queue.SimpleQueue[ScoredRequest | None] = queue.SimpleQueue()
        self._waiting_rows = 0
        self._lock = threading.Lock()
        self._failed: set[Observer] = set()
        self._thread: threading.Thread | None = None

    def add(self, observer: Observer) -> None:
        """Let an observer see every request that is answered from now on."""
        self._observers = (*self._observers, observer)
        if self._thread is None:
            self._thread = threading.Thread(target=self._deliver, name="observers", daemon=True)
            self._thread.start()

    def publish(self, scored: "ScoredRequest") -> None:
        """Queue one answered request for the observers, or drop it if too many rows wait."""
        if not self._observers:
            return
        rows = scored.request.rows
        with self._lock:
            accepted = self._waiting_rows == 0 or self._waiting_rows + rows <= self._capacity_rows
            if accepted:
                self._waiting_rows += rows
        if accepted:
            self._waiting.put(scored)
        else:
            metrics.UNOBSERVED.labels(scored.release.name).inc()

    def close(self, timeout_s: float) -> None:
        """Deliver what waits, for at most ``timeout_s``, and end the thread."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(timeout_s)

    def drained(self, timeout_s: float) -> bool:
        """Wait until nothing waits for the observers; return whether that was reached in time."""
        return polling.within(lambda: self._waiting_rows == 0, timeout_s, poll_s=0.005)

    def _deliver(self) -> None:
        # Shadows encode numbers here.
        finite.ignore_overflow()
        while (scored := self._waiting.get()) is not None:
            for observer in self._observers:
                self._call(observer, scored)
            with self._lock:
                self._waiting_rows -= scored.request.rows
            if self._waiting.empty():
                time.sleep(_PAUSE_S)

    def _call(self, observer: Observer, scored: "ScoredRequest") -> None:
        try:
            observer(scored)
        except Exception:
            metrics.OBSERVER_ERRORS.labels(scored.release.name).inc()
            if observer not in self._failed:
                self._failed.add(observer)
                logger.exception("observer %r failed on request %r", observer, scored.request.request_id)
