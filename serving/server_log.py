"""The server's own log as a file that is rotated by size, with standard output and error following it."""

import logging
import os
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

_MOST_BYTES = 16 * 2**20
_KEEP = 3


class ServerLog(RotatingFileHandler):
    """A log file; what other libraries, and an interpreter that crashes, write to standard output is in it, too.

    A line that a full disk does not take is counted, and nobody notices it otherwise.

    Args:
        path: The file; ``NAME.1`` is the one before.
        most_bytes: Size at which it is rotated.
        keep: How many former files are kept.
    """

    def __init__(self, path: Path, most_bytes: int = _MOST_BYTES, keep: int = _KEEP) -> None:
        super().__init__(path, maxBytes=most_bytes, backupCount=keep, encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:
        """Count a line that could not be written; there is nowhere to say so."""
        from serving import metrics

        metrics.DROPPED_LINES.labels("server").inc()

    def _open(self) -> TextIOWrapper:
        stream = super()._open()
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
        return stream
