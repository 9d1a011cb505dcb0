"""Write every answered request to the inference log, off the path of the answer."""

import logging
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import orjson

from components.shared.inference_log import segments
from components.shared.inference_log.policy import LogPolicy
from components.shared.inference_log.record import LoggedRequest
from components.shared.inference_log.segments import LoggedFeature, SegmentHeader
from serving.exchange import ScoredRequest
from serving.release import ServedRelease

logger = logging.getLogger(__name__)

_SEGMENT_BYTES = 64 * 2**20
_SEGMENT_S = 15.0


class InferenceLogWriter:
    """An observer of the exchange: appends one line per request to the write-ahead file of its release.

    A line is in the operating system's hands when the call returns, so killing the process loses nothing that was
    handed over. A segment is closed after 15 seconds or 64 MiB, when the next request arrives.

    Args:
        folder: The log's folder.
        policy: Which requests and columns are logged.
        clock_ns: Nanoseconds since 1970 in UTC.
        timer_s: A monotonic clock in seconds.
    """

    def __init__(
        self,
        folder: Path,
        policy: LogPolicy,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        timer_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._policy = folder, policy
        self._clock_ns, self._timer_s = clock_ns, timer_s
        self._open: dict[str, _Segment] = {}
        self._sequence = 0

    def __call__(self, scored: ScoredRequest) -> None:
        """Append one request.

        Raises:
            OSError: If the line cannot be written; the next request begins a new segment.
        """
        if self._policy.includes(scored.request.request_id):
            segment = self._segment(scored.release)
            try:
                segment.write(line(scored, segment.features))
            except OSError:
                # What was written of the line is torn; a reader drops it at the end of a segment only.
                self._close(scored.release.version)
                raise

    def close(self) -> None:
        """Close every segment; they can be compacted then."""
        for version in tuple(self._open):
            self._close(version)

    def _segment(self, release: ServedRelease) -> "_Segment":
        now = self._timer_s()
        segment = self._open.get(release.version)
        if segment is not None and (segment.size >= _SEGMENT_BYTES or now - segment.opened_s >= _SEGMENT_S):
            self._close(release.version)
            segment = None
        if segment is None:
            self._sequence += 1
            header = _header(release, self._policy)
            segment = _Segment(segments.create(self._folder, self._clock_ns(), self._sequence), now, header)
            self._open[release.version] = segment
        return segment

    def _close(self, version: str) -> None:
        self._open.pop(version).stream.close()


class _Segment:
    def __init__(self, stream: BinaryIO, opened_s: float, header: SegmentHeader) -> None:
        self.stream, self.opened_s, self.size = stream, opened_s, 0
        self.features = header.features
        self.write(header.line())

    def write(self, content: bytes) -> None:
        written = self.stream.write(content)
        self.size += written
        if written < len(content):
            raise OSError(f"only {written} of {len(content)} bytes of a line could be written")


def line(scored: ScoredRequest, features: tuple[LoggedFeature, ...]) -> bytes:
    """Return one request as a line of JSON; every value of a column is in one list.

    Args:
        scored: The request and its answer.
        features: The columns to write.
    """
    request, release = scored.request, scored.release
    numeric = scored.encoded.tensors.get("numeric")
    content: LoggedRequest = {
        "id": request.request_id,
        "at_ns": scored.received_at_ns,
        "protocol": request.protocol,
        "rows": request.rows,
        "latency_us": round(scored.latency_s * 1e6, 1),
        "received": {feature.name: request.columns[feature.name] for feature in features},
        "encoded": b64encode(_logged_numbers(numeric, release, features)).decode() if numeric is not None else "",
        "score": scored.scores,
    }
    if request.event_time_us is not None:
        content["event_time_us"] = request.event_time_us
    if request.entity is not None:
        content["entity"] = [request.entity] if isinstance(request.entity, str) else request.entity
    if scored.decisions is not None:
        content["decision"] = scored.decisions
    if any(scored.encoded.unseen):
        content["unseen"] = scored.encoded.unseen
    encoded_line: bytes = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
    return encoded_line


def _logged_numbers(numeric: np.ndarray, release: ServedRelease, features: tuple[LoggedFeature, ...]) -> bytes:
    """Return the numbers as the model saw them, without those of redacted features, row by row."""
    logged = {feature.name for feature in features}
    is_logged = [name in logged for name in release.package.facts.numeric]
    return (numeric if all(is_logged) else numeric[:, is_logged]).tobytes()


def _header(release: ServedRelease, policy: LogPolicy) -> SegmentHeader:
    facts = release.package.facts
    features = tuple(
        LoggedFeature(feature.name, feature.type) for feature in facts.features if feature.name not in policy.redacted
    )
    encoded = tuple(name for name in facts.numeric if name not in policy.redacted)
    classes = tuple(release.classes) if facts.task == "multiclass" else ()
    return SegmentHeader(release.name, release.version, features, encoded, classes)
