"""The access log: one line of JSON per request, answered or not, and nothing that describes a person.

Features, entities and scores belong into the inference log, which has its own rules of who may read and delete them.
"""

import collections
import functools
import logging
import sys
import threading
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, NamedTuple

import orjson

from serving import metrics

logger = logging.getLogger(__name__)

_MOST_WAITING = 200_000
_CLOSE_S = 5.0


class Access(NamedTuple):
    """One request.

    ``at_ns`` is when it was answered, in nanoseconds since 1970 in UTC; ``model`` and ``release`` are empty where the
    request did not get as far; ``reason`` is empty if it was answered; ``size_bytes`` is the length of its body.
    """

    at_ns: int
    request_id: str
    protocol: str
    model: str
    release: str
    status: int
    reason: str
    rows: int
    size_bytes: int
    took_s: float

    def line(self) -> bytes:
        """Return the line.

        >>> Access(0, "a", "v1", "churn", "3", 200, "", 2, 150, 0.00123).line()[:65]
        b'{"time":"1970-01-01T00:00:00.000Z","id":"a","protocol":"v1","mode'
        """
        second, fraction_ns = divmod(self.at_ns, 1_000_000_000)
        content: bytes = orjson.dumps(
            {
                "time": f"{_second(second)}.{fraction_ns // 1_000_000:03d}Z",
                "id": self.request_id,
                "protocol": self.protocol,
                "model": self.model,
                "release": self.release,
                "status": self.status,
                "reason": self.reason,
                "rows": self.rows,
                "bytes": self.size_bytes,
                "ms": round(self.took_s * 1000, 3),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        return content


@functools.lru_cache(maxsize=4)
def _second(since_1970: int) -> str:
    """Write a second, which many lines have in common."""
    return f"{datetime.fromtimestamp(since_1970, UTC):%Y-%m-%dT%H:%M:%S}"


class AccessLog:
    """Appends to a list in memory, which a thread writes a few times per second; an answer waits for no disk.

    What cannot be written is counted in ``perennial_dropped_log_lines_total`` and never tried again.

    Args:
        path: The file; None is standard output.
        most_bytes: Size at which the file is renamed to ``NAME.1``, and that to ``NAME.2``, and so on.
        keep: How many of those are kept.
        flush_s: Pause between two writes.
    """

    def __init__(self, path: Path | None, *, most_bytes: int = 64 * 2**20, keep: int = 5, flush_s: float = 0.2) -> None:
        self._path, self._most_bytes = path, most_bytes
        self._rotation = None if path is None else RotatingFileHandler(path, backupCount=keep, delay=True)
        self._stream: IO[bytes] | None = sys.stdout.buffer if path is None else None
        self._waiting: collections.deque[Access] = collections.deque()
        self._failed = self._is_torn = False
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._write_until_closed, args=(flush_s,), name="access-log", daemon=True
        )
        self._thread.start()

    def append(self, access: Access) -> None:
        """Take one request; never waits and never raises."""
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append(access)
        else:
            metrics.DROPPED_LINES.labels("access").inc()

    def close(self) -> None:
        """Write what waits, and end the thread; a disk that hangs is not waited for."""
        self._ended.set()
        self._thread.join(_CLOSE_S)

    def flush(self) -> None:
        """Write what waits; called by the thread only."""
        entries: list[Access] = []
        # One element at a time, since requests are appended meanwhile.
        while self._waiting:
            entries.append(self._waiting.popleft())
        if not entries:
            return
        try:
            self._write(b"".join(map(Access.line, entries)))
        except OSError as error:
            self._dropped(len(entries), error.strerror)

    def _dropped(self, lines: int, reason: str | None) -> None:
        metrics.DROPPED_LINES.labels("access").inc(lines)
        if not self._failed:
            self._failed = True
            logger.error("the access log cannot be written (%s); its lines are counted and dropped", reason)

    def _write(self, lines: bytes) -> None:
        if self._stream is None:
            assert self._path is not None
            self._stream = self._path.open("ab", buffering=0)
        content = b"\n" + lines if self._is_torn else lines
        # A disk that is nearly full takes a part, without an error.
        written = self._stream.write(content)
        self._is_torn = not content[:written].endswith(b"\n")
        if lost := min(content[written:].count(b"\n"), lines.count(b"\n")):
            self._dropped(lost, "the disk took a part of them")
        if self._rotation is None:
            self._stream.flush()
        elif self._stream.tell() >= self._most_bytes:
            self._stream.close()
            self._stream = None
            self._rotation.doRollover()

    def _write_until_closed(self, flush_s: float) -> None:
        while not self._ended.wait(flush_s):
            self.flush()
        self.flush()
