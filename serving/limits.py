"""How many bytes of requests the server holds at once, whatever its releases and its clients ask for."""

import threading
from typing import NamedTuple

from serving.refusal import RequestRefused

CEILING_MIB = 32
"""Largest request that any release may answer."""
CEILING_BYTES = CEILING_MIB * 2**20
_BUDGET_BYTES = 128 * 2**20
_CALLS_BYTES = 768 * 2**20
"""Most bytes of messages over gRPC that arrive at once, which no budget sees: within a pod's usual limit of 1 GiB."""
_LEAST_MESSAGE_BYTES = 8 * 2**20
_ENVELOPE_BYTES = 64 * 2**10
"""What a message holds beside its tensors."""


class MessageLimits(NamedTuple):
    """What gRPC is told before it reads a message: its largest size, and how many calls there may be at once."""

    size_bytes: int
    calls: int


def message_limits(largest_request_bytes: int | None) -> MessageLimits:
    """Return the limits of a server whose releases take requests of some size; None if it has no release yet.

    >>> message_limits(8 * 2**20).calls, message_limits(None).calls
    (95, 24)
    """
    largest = CEILING_BYTES if largest_request_bytes is None else largest_request_bytes
    size_bytes = min(CEILING_BYTES, max(largest, _LEAST_MESSAGE_BYTES) + _ENVELOPE_BYTES)
    return MessageLimits(size_bytes, _CALLS_BYTES // size_bytes)


class BytesInFlight:
    """A budget for the bodies of all requests that are being received or answered.

    Parsed, a body takes several times its size, so the budget is a fraction of a pod's memory.

    Args:
        budget_bytes: Bytes of all bodies together.
    """

    def __init__(self, budget_bytes: int = _BUDGET_BYTES) -> None:
        self._budget, self._held, self._lock = budget_bytes, 0, threading.Lock()

    @property
    def held(self) -> int:
        """Bytes that are held now."""
        return self._held

    def request(self) -> "BodyBytes":
        """Return what takes bytes for one request, and gives them back when its context is left."""
        return BodyBytes(self)

    def take(self, size: int) -> None:
        """Take bytes from the budget.

        Raises:
            RequestRefused: 503 if they are not left; the client may ask again in a moment.
        """
        if not self.change(size):
            raise RequestRefused(
                503,
                "the server holds as many bytes of other requests as it may; ask again in a moment.",
                "busy",
                retry_s=1,
            )

    def change(self, size: int) -> bool:
        """Add to what is held, if the budget allows it; giving back is always allowed."""
        with self._lock:
            if size > 0 and self._held + size > self._budget:
                return False
            self._held += size
            return True


class BodyBytes:
    """What one request has taken; a context that gives it back."""

    def __init__(self, budget: BytesInFlight) -> None:
        self._budget, self.taken = budget, 0

    def __enter__(self) -> "BodyBytes":
        return self

    def __exit__(self, *failure: object) -> None:
        self._budget.change(-self.taken)

    def add(self, size: int) -> None:
        """Take more bytes; see ``BytesInFlight.take``."""
        self._budget.take(size)
        self.taken += size
