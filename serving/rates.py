"""How much each client may ask: requests and bytes per second, as token buckets (RFC 2697 without the second color)."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from serving.refusal import RequestRefused

_BURST_S = 1.0
"""What was not used lately may be used at once, as much as a second brings."""


@dataclass(frozen=True)
class Rate:
    """What one client may ask; None is no limit.

    Attributes:
        requests_per_s: Above 0.
        bytes_per_s: Of bodies, above 0.
    """

    requests_per_s: float | None = None
    bytes_per_s: float | None = None


class Rates:
    """The buckets of all clients.

    A request is admitted while both buckets of its client hold something; its bytes are taken when they have arrived,
    so a large request may empty the bucket for longer than a second.

    Args:
        rate: The limits, of each client.
        timer_s: A monotonic clock in seconds.
    """

    def __init__(self, rate: Rate, timer_s: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._timer_s = rate, timer_s
        self._requests: dict[bytes, _Bucket] = {}
        self._bytes: dict[bytes, _Bucket] = {}
        # Large requests are charged from another thread.
        self._lock = threading.Lock()

    def take(self, client: bytes) -> None:
        """Take one request.

        Raises:
            RequestRefused: 429 with the seconds after which there is room again.
        """
        limits = (
            (self._requests, self._rate.requests_per_s, 1.0, "requests"),
            (self._bytes, self._rate.bytes_per_s, 0.0, "bytes"),
        )
        with self._lock:
            now_s = self._timer_s()
            for buckets, per_s, needed, what in limits:
                if per_s is None:
                    continue
                wait_s = _bucket(buckets, client, per_s, now_s).wait_s(needed, now_s)
                if wait_s > 0:
                    raise RequestRefused(
                        429,
                        f"this token may send {per_s:g} {what} per second; ask again in {math.ceil(wait_s)} s.",
                        "rate",
                        retry_s=math.ceil(wait_s),
                    )
            if self._rate.requests_per_s is not None:
                self._requests[client].level -= 1

    def charge(self, client: bytes, size: int) -> None:
        """Take the bytes of a request that was admitted."""
        if self._rate.bytes_per_s is None:
            return
        with self._lock:
            _bucket(self._bytes, client, self._rate.bytes_per_s, self._timer_s()).level -= size


class _Bucket:
    def __init__(self, per_s: float, now_s: float) -> None:
        self._per_s, self._at_s = per_s, now_s
        self._most = max(1.0, per_s * _BURST_S)
        self.level = self._most

    def wait_s(self, needed: float, now_s: float) -> float:
        """Fill up; return after how many seconds there is as much as needed, or more than nothing."""
        self.level = min(self._most, self.level + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self.level > 0 and self.level >= needed:
            return 0.0
        return max(needed - self.level, 1e-9) / self._per_s


def _bucket(buckets: dict[bytes, _Bucket], client: bytes, per_s: float, now_s: float) -> _Bucket:
    if client not in buckets:
        buckets[client] = _Bucket(per_s, now_s)
    return buckets[client]
