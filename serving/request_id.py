"""The id of a request: the client's own where it is safe to repeat, otherwise a new time-ordered UUID."""

import random
import re
import threading
import time
from collections.abc import Callable
from typing import Any

from serving.refusal import RequestRefused, shown

HEADER = "x-request-id"
"""Name of the HTTP header and of the gRPC metadata key, in requests and in answers."""
MAX_LENGTH = 128
_VALID = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_NS_PER_MS = 1_000_000
_VERSION_7 = 7 << 76
_VARIANT = 2 << 62


def is_valid(text: str) -> bool:
    """Tell whether an id may be repeated in a header and in a log line.

    It has 1 to 128 printable ASCII characters and neither begins nor ends with a blank.

    >>> is_valid("order 17/3"), is_valid("a\\r\\nSet-Cookie: b"), is_valid(" a"), is_valid("Zürich")
    (True, False, False, False)
    """
    return len(text) <= MAX_LENGTH and _VALID.fullmatch(text) is not None


def from_field(value: Any) -> str | None:
    """Take the id from the protocol's own field, which an answer must repeat exactly; None if absent or empty.

    Raises:
        RequestRefused: If it can't be repeated.
    """
    if value is None or value == "":
        return None
    if type(value) is not str:
        raise RequestRefused(400, f"'id' is {shown(value)}; expected text.", "id")
    if not is_valid(value):
        raise RequestRefused(
            400,
            f"'id' is {shown(value)}; expected 1 to {MAX_LENGTH} printable ASCII characters, no blank at either end.",
            "id",
        )
    return value


def from_header(value: str | None) -> str | None:
    """Take the id from a header, which a proxy may have set: one that can't be repeated is replaced, not refused."""
    return value if value is not None and is_valid(value) else None


class UuidV7Generator:
    """Generate UUIDs of version 7 (RFC 9562), each greater than the one before in this process.

    The 12 bits after the milliseconds hold their fraction (section 6.2, method 3), so a unit is 244 ns; where the clock
    stalls or goes back, the next unit is taken. The remaining 62 bits are random.

    Ids are no secrets, so the random bits come from a fast generator that the system seeds.

    Args:
        clock_ns: Nanoseconds since 1970 in UTC.
        random_bits: Returns an integer of that many random bits.
    """

    def __init__(
        self,
        clock_ns: Callable[[], int] = time.time_ns,
        random_bits: Callable[[int], int] | None = None,
    ) -> None:
        self._clock_ns = clock_ns
        self._random_bits = random_bits or random.Random().getrandbits
        self._last = 0
        # Large requests are answered in a thread outside the event loop.
        self._lock = threading.Lock()

    def __call__(self) -> str:
        """Return a new id in lower case.

        >>> UuidV7Generator(lambda: 1_645_557_742_000_000_000, lambda bits: 0)()
        '017f22e2-79b0-7000-8000-000000000000'
        """
        with self._lock:
            units = (self._clock_ns() << 12) // _NS_PER_MS
            if units <= self._last:
                units = self._last + 1
            self._last = units
        milliseconds, fraction = units >> 12, units & 0xFFF
        value = milliseconds << 80 | _VERSION_7 | fraction << 64 | _VARIANT | self._random_bits(62)
        # Eight groups of four digits, of which the first two and the last three belong together.
        text = value.to_bytes(16).hex("-", 2)
        return f"{text[:4]}{text[5:29]}{text[30:34]}{text[35:]}"
