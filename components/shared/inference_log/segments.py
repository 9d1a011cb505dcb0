"""The folder of the inference log, and its write-ahead files: one line of JSON per answered request.

    wal/SEGMENT.jsonl            being written, or waiting to be compacted
    day=YYYY-MM-DD/NAME.parquet  compacted rows, by the day of the request in UTC
    forgotten.jsonl              salted hashes of entities whose rows are to be removed

A segment belongs to one release. Its first line is a header with the release's features; each further line is one
request with its values by column. The process that writes a segment holds a lock on it, which the system releases even
after SIGKILL, so a segment that can be locked is complete; at most its last line is torn.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from components.shared.errors import StepFailed

VERSION = 2
_WAL = "wal"
_SUFFIX = ".jsonl"


class NewerLog(StepFailed):
    """A segment is of a newer version of the log; whoever is upgraded can read it."""


@dataclass(frozen=True)
class LoggedFeature:
    """A column of the log; ``type`` is "numeric", "boolean" or "categorical"."""

    name: str
    type: str


@dataclass(frozen=True)
class SegmentHeader:
    """What all lines of a segment have in common.

    Attributes:
        model: Name of the model.
        release: Version that answered.
        features: The columns, without those that are redacted.
        encoded: Numeric and boolean features, in the order of the matrix that the model saw.
        classes: Labels of the columns of a score; empty where a row has one score.
    """

    model: str
    release: str
    features: tuple[LoggedFeature, ...]
    encoded: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def line(self) -> bytes:
        """Return the first line of a segment."""
        return json.dumps({"version": VERSION, **asdict(self)}).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes, source: str) -> "SegmentHeader":
        """Read the first line of a segment.

        Raises:
            NewerLog: If a newer version of the project wrote it.
            StepFailed: If it is not a header.
        """
        try:
            content: Mapping[str, Any] = json.loads(line)
            if content["version"] > VERSION:
                raise NewerLog(
                    f"{source} was written by a newer version of Perennial (log version {content['version']}, this one "
                    f"reads up to {VERSION}); upgrade Perennial."
                )
            features = tuple(LoggedFeature(**feature) for feature in content["features"])
            return cls(
                content["model"], content["release"], features, tuple(content["encoded"]), tuple(content["classes"])
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StepFailed(f"{source} does not begin with the header of an inference log ({error!r}).") from error


def wal(folder: Path) -> Path:
    """Return the folder of the segments of a log."""
    return folder / _WAL


def create(folder: Path, started_ns: int, sequence: int) -> BinaryIO:
    """Create a new segment, locked by this process; what is written to it reaches the file at once.

    Args:
        folder: The log's folder; created if absent.
        started_ns: Nanoseconds since 1970, which sort the segments.
        sequence: Number of the segment in this process, which tells apart segments of the same instant.
    """
    wal(folder).mkdir(parents=True, exist_ok=True)
    path = wal(folder) / f"{started_ns:020d}-{os.getpid()}-{sequence}{_SUFFIX}"
    unlocked = path.with_suffix(".new")
    stream = unlocked.open("xb", buffering=0)
    fcntl.flock(stream, fcntl.LOCK_EX)
    # Nobody may see it before it is locked, or it would count as complete.
    unlocked.rename(path)
    return stream


def complete(folder: Path) -> Iterator[Path]:
    """List the segments that no process writes any more, the oldest first."""
    for path in sorted(wal(folder).glob(f"*{_SUFFIX}")):
        with path.open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
        yield path


def whole_lines(content: bytes) -> tuple[bytes, int]:
    """Cut a torn last line off; return what is whole, and the number of bytes that were cut off.

    >>> whole_lines(b"one\\ntwo\\nthr")
    (b'one\\ntwo\\n', 3)
    """
    end = content.rfind(b"\n") + 1
    return content[:end], len(content) - end
