"""What of a request is logged: a share of the requests, and not every column."""

import zlib
from dataclasses import dataclass


@dataclass(frozen=True)
class LogPolicy:
    """Which requests are logged, and which columns.

    Attributes:
        sample: Share of the requests, above 0 and at most 1.
        redacted: Features that are never written.
    """

    sample: float = 1.0
    redacted: frozenset[str] = frozenset()

    def includes(self, request_id: str) -> bool:
        """Decide whether a request is logged; the same id gives the same answer on every server.

        >>> LogPolicy(sample=1.0).includes("a"), LogPolicy(sample=0.0001).includes("a")
        (True, False)
        """
        return self.sample >= 1 or zlib.crc32(request_id.encode()) < self.sample * 2**32
