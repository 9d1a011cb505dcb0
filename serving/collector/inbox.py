"""Take segments of servers into the log's folder, each once, and only whole ones."""

import re
from pathlib import Path

from components.shared import files
from components.shared.errors import InputError, StepFailed
from components.shared.inference_log import segments
from components.shared.inference_log.segments import NewerLog, SegmentHeader

_NAME = re.compile(r"\d{20}-[\w-]{1,80}\.jsonl")
_TAKEN = "taken"


class Inbox:
    """The write-ahead files of a log that servers fill over the network.

    Args:
        folder: The log's folder; created if absent.
    """

    def __init__(self, folder: Path) -> None:
        self._wal, self._taken = segments.wal(folder), folder / _TAKEN
        self._wal.mkdir(parents=True, exist_ok=True)
        self._taken.mkdir(exist_ok=True)

    def take(self, name: str, content: bytes) -> bool:
        """Write a segment to disk before returning; return whether it is a new one.

        Raises:
            InputError: If the name is not a segment's, or the content has no header.
            NewerLog: If a newer version of the project wrote it; once the collector is upgraded, it can be taken.
        """
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r} is no name of a segment; expected 20 digits, a dash, letters and .jsonl.")
        try:
            SegmentHeader.parse(content.partition(b"\n")[0], name)
        except NewerLog:
            raise
        except StepFailed as reason:
            raise InputError(str(reason)) from None
        taken = self._taken / name
        if taken.exists() or (self._wal / name).exists():
            return False
        # Under a name that is not a segment's until it is complete, so that nobody compacts half of it.
        with files.replacing(self._wal / name) as partial:
            partial.write_bytes(content)
        taken.touch()
        return True

    def forget_names(self, before_s: float) -> None:
        """Forget which segments were taken before a time (seconds since 1970): nobody sends them again."""
        for path in self._taken.iterdir():
            if path.stat().st_mtime < before_s:
                path.unlink()
