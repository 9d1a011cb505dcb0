"""Compact what was collected, bring it to the bucket, and delete what is too old; again and again."""

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from prometheus_client import Counter, Gauge

from components.shared.errors import PerennialError
from components.shared.inference_log import compaction, remote, remote_forgetting
from serving.collector.inbox import Inbox

_log = logging.getLogger(__name__)
_RESENT = timedelta(days=1)
ROWS = Counter("perennial_collected_rows", "Logged rows that were compacted.")
FAILURES = Counter("perennial_collector_failures", "Times that the bucket could not be written.")
PUBLISHED = Gauge("perennial_collector_published_timestamp_seconds", "When everything was last in the bucket.")


class Keeper:
    """Keeps a log in a bucket.

    Args:
        folder: The log on this machine.
        inbox: Where its segments arrive.
        bucket: ``s3://bucket/prefix``.
        retention_days: Days that the bucket keeps.
        clock: Returns the present time.
    """

    def __init__(
        self, folder: Path, inbox: Inbox, bucket: str, *, retention_days: int, clock: Callable[[], datetime]
    ) -> None:
        self._folder, self._inbox, self._bucket = folder, inbox, bucket
        self._retention_days, self._clock = retention_days, clock
        self._ended = threading.Event()

    def keep(self) -> bool:
        """Do everything once; return whether the bucket took it. What it refuses stays here for the next time."""
        now = self._clock()
        try:
            is_forgetting = remote_forgetting.fetch_notes(self._bucket, self._folder)
            if is_forgetting:
                remote_forgetting.drop(self._folder)
            self._compact()
            # What came too late to be kept is not published, not even until it expires there.
            compaction.expire(self._folder, self._retention_days, now)
            remote.publish(self._folder, self._bucket, now, again=is_forgetting)
            if is_forgetting:
                remote_forgetting.settle(self._folder)
            remote.expire(self._bucket, self._retention_days, now)
            remote_forgetting.expire(self._bucket, self._folder, self._retention_days, now)
        except PerennialError as reason:
            FAILURES.inc()
            _log.error("%s It is tried again.", reason)
            # Segments are kept as parquet however long the bucket does not answer.
            self._compact()
            return False
        self._inbox.forget_names((now - _RESENT).timestamp())
        PUBLISHED.set(now.timestamp())
        return True

    def _compact(self) -> None:
        done = compaction.compact(self._folder)
        ROWS.inc(done.rows)
        for reason in done.damaged:
            _log.error("set aside: %s", reason)

    def run(self, every_s: float) -> None:
        """Keep until ``close``, and once more at the end."""
        while not self._ended.wait(every_s):
            self._keep_whatever_happens()
        self._keep_whatever_happens()

    def _keep_whatever_happens(self) -> None:
        """Keep; a full disk or a bug must not end the thread, while servers still send."""
        try:
            self.keep()
        except Exception:
            FAILURES.inc()
            _log.exception("the log could not be kept; it is tried again")

    def close(self) -> None:
        """Make ``run`` end."""
        self._ended.set()
