"""Write every answered request to the inference log, without waiting for a disk."""

import logging
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import orjson

from components.shared.inference_log import segments
from components.shared.inference_log.policy import LogPolicy
from components.shared.inference_log.record import LoggedRequest
from components.shared.inference_log.segments import LoggedFeature, SegmentHeader
from serving import metrics
from serving.exchange import ScoredRequest
from serving.release import ServedRelease
from serving.signature import EncodedRows

logger = logging.getLogger(__name__)

_SEGMENT_BYTES = 64 * 2**20
_SEGMENT_S = 15.0
_IDLE_S = 1.0
_CLOSE_S = 5.0
_MATRIX_ROWS = 16
"""From so many rows on, numbers are written as a matrix; below, as texts that a person can read."""


class InferenceLog:
    """Appends one line per answered request to the write-ahead file of its release.

    ``append`` makes the line and puts it into a buffer, which a thread of its own writes a few times per second:
    handing a request over to a thread costs more than making the line, and waiting for a disk may take any time. A
    killed process loses what was answered since the last write. If the disk is slower than the requests, a bounded
    number of bytes waits and further requests are dropped and counted.

    A segment is closed after ``segment_s`` seconds or 64 MiB, or when no request has come for a second; it can be
    compacted then.

    Args:
        folder: The log's folder.
        policy: Which requests and columns are logged.
        flush_s: Pause between two writes.
        segment_s: Age at which a segment is closed.
        capacity_bytes: Most bytes that may wait to be written.
        timer_s: A monotonic clock in seconds.
        clock_ns: Nanoseconds since 1970 in UTC.
    """

    def __init__(
        self,
        folder: Path,
        policy: LogPolicy,
        *,
        flush_s: float = 0.2,
        segment_s: float = _SEGMENT_S,
        capacity_bytes: int = 64 * 2**20,
        timer_s: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._folder, self._policy = folder, policy
        self._capacity_bytes, self._timer_s, self._clock_ns = capacity_bytes, timer_s, clock_ns
        self._segment_s = segment_s
        self._waiting: dict[str, _Waiting] = {}
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._open: dict[str, _Segment] = {}
        self._sequence = 0
        self._failures: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write_until_closed, args=(flush_s,), name="log", daemon=True)
        self._thread.start()

    def append(self, scored: ScoredRequest) -> None:
        """Take one request; never waits for the disk and never raises."""
        try:
            if not self._policy.includes(scored.request.request_id):
                return
            release = scored.release
            waiting = self._waiting.get(release.version) or _Waiting.of(release, self._policy)
            content = waiting.writer.line(scored)
        except Exception:
            self._failed("request", scored.release.name, 1)
            return
        with self._lock:
            accepted = self._waiting_bytes == 0 or self._waiting_bytes + len(content) <= self._capacity_bytes
            if accepted:
                self._waiting.setdefault(release.version, waiting).lines.append(content)
                self._waiting_bytes += len(content)
        if not accepted:
            metrics.UNLOGGED.labels(release.name).inc()

    def flush(self) -> None:
        """Write what waits, and close the segments that are full, old or idle."""
        with self._lock:
            taken = {version: waiting.taken() for version, waiting in self._waiting.items()}
            self._waiting_bytes = 0
        for version, lines in taken.items():
            if lines:
                self._write(version, lines)
        now = self._timer_s()
        for version, segment in tuple(self._open.items()):
            idle = now - segment.written_s >= _IDLE_S
            if idle or segment.size >= _SEGMENT_BYTES or now - segment.opened_s >= self._segment_s:
                self._close(version)

    def close(self) -> None:
        """Write what waits, close every segment, and end the thread; a disk that hangs is not waited for."""
        self._ended.set()
        self._thread.join(_CLOSE_S)
        for version in tuple(self._open):
            self._close(version)

    def _write_until_closed(self, flush_s: float) -> None:
        while not self._ended.wait(flush_s):
            self.flush()
        self.flush()

    def _write(self, version: str, lines: list[bytes]) -> None:
        """Append the lines of a release; what cannot be written is counted, and the next write begins a new segment."""
        waiting = self._waiting[version]
        try:
            if version not in self._open:
                self._sequence += 1
                stream = segments.create(self._folder, self._clock_ns(), self._sequence)
                self._open[version] = _Segment(stream, self._timer_s())
                self._open[version].write(waiting.header.line(), self._timer_s())
            self._open[version].write(b"".join(lines), self._timer_s())
        except OSError:
            # What was written of the last line is torn; a reader drops it at the end of a segment only.
            if version in self._open:
                self._close(version)
            self._failed("write", waiting.name, len(lines))

    def _close(self, version: str) -> None:
        self._open.pop(version).stream.close()

    def _failed(self, what: str, name: str, requests: int) -> None:
        """Count requests that are not in the log, and tell of the first failure of each kind."""
        metrics.UNLOGGED.labels(name).inc(requests)
        if what not in self._failures:
            self._failures.add(what)
            logger.exception("the inference log failed (%s); such requests are counted, not logged", what)


@dataclass
class _Waiting:
    """Lines of one release that are not written yet."""

    name: str
    header: SegmentHeader
    writer: "LineWriter"
    lines: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, release: ServedRelease, policy: LogPolicy) -> "_Waiting":
        """Return an empty list for the lines of a release."""
        header = _header(release, policy)
        return cls(release.name, header, LineWriter(release, header.features))

    def taken(self) -> list[bytes]:
        """Take the lines out."""
        lines, self.lines = self.lines, []
        return lines


class _Segment:
    """An open write-ahead file."""

    def __init__(self, stream: BinaryIO, now_s: float) -> None:
        self.stream, self.opened_s, self.written_s, self.size = stream, now_s, now_s, 0

    def write(self, content: bytes, now_s: float) -> None:
        """Hand bytes to the operating system.

        Raises:
            OSError: If not all could be written.
        """
        written = self.stream.write(content)
        self.size += written
        self.written_s = now_s
        if written < len(content):
            raise OSError(f"only {written} of {len(content)} bytes could be written")


class LineWriter:
    """Writes the requests that a release answers as lines of JSON; every value of a column is in one list.

    Args:
        release: Who answers.
        features: The columns to write.
    """

    def __init__(self, release: ServedRelease, features: Sequence[LoggedFeature]) -> None:
        self._names = [feature.name for feature in features]
        facts = release.package.facts
        self._texts = [name for name in self._names if name not in facts.numeric]
        logged = [name in self._names for name in facts.numeric]
        self._numbers = None if all(logged) else np.array(logged)

    def line(self, scored: ScoredRequest) -> bytes:
        """Return one request and its answer as a line."""
        request, numbers = scored.request, scored.encoded.numbers
        # The texts of many numbers would cost most of the line.
        is_matrix = numbers is not None and request.rows >= _MATRIX_ROWS
        names = self._texts if is_matrix else self._names
        content: LoggedRequest = {
            "id": request.request_id,
            "at_ns": scored.received_at_ns,
            "protocol": request.protocol,
            "rows": request.rows,
            "latency_us": round(scored.latency_s * 1e6, 1),
            "received": {name: request.columns[name] for name in names},
            "score": scored.scores,
        }
        if numbers is not None and is_matrix:
            content["numbers"] = _base64(numbers if self._numbers is None else numbers[self._numbers])
        else:
            content["encoded"] = self._encoded(scored.encoded)
        if request.event_time_us is not None:
            content["event_time_us"] = request.event_time_us
        if request.entity is not None:
            content["entity"] = [request.entity] if isinstance(request.entity, str) else request.entity
        if scored.decisions is not None:
            content["decision"] = scored.decisions
        if scored.shadow:
            content["shadow"] = True
        if request.looked_up is not None:
            content["feature_times_us"] = [
                orjson.dumps({view: age.event_time_us for view, age in ages.items()}).decode()
                for ages in request.looked_up.ages
            ]
        if scored.explored is not None:
            content["action"], content["propensity"] = scored.explored
        if scored.encoded.unseen:
            content["unseen"] = scored.encoded.unseen_by_row()
        line: bytes = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
        return line

    def _encoded(self, encoded: EncodedRows) -> str:
        """Return the numbers as the model saw them, without those of redacted features."""
        numeric = encoded.tensors.get("numeric")
        if numeric is None:
            return ""
        return _base64(numeric if self._numbers is None else numeric[:, self._numbers])


def _base64(matrix: np.ndarray) -> str:
    return b64encode(matrix.tobytes()).decode()


def _header(release: ServedRelease, policy: LogPolicy) -> SegmentHeader:
    facts = release.package.facts
    features = tuple(
        LoggedFeature(feature.name, feature.type) for feature in facts.features if feature.name not in policy.redacted
    )
    encoded = tuple(name for name in facts.numeric if name not in policy.redacted)
    classes = tuple(release.classes) if facts.task == "multiclass" else ()
    return SegmentHeader(release.name, release.version, features, encoded, classes)
