"""Take CloudEvents without delaying who sends them: a queue, and a thread that writes segments."""

import logging
import queue
import threading
import time
from collections.abc import Callable

from prometheus_client import Counter

from components.shared.errors import InputError
from components.shared.inference_log.segments import SegmentHeader
from serving.collector.cloud_events import InferenceEvent, Pairing
from serving.collector.inbox import Inbox

_log = logging.getLogger(__name__)
DROPPED = Counter("perennial_dropped_events", "Events of KServe's logger that are not in the log.", ["reason"])
_MOST_EVENTS = 20_000
_SECOND_S = 1.0


class Intake:
    """Turns events into segments of the inbox.

    KServe's logger holds requests up while its sink is slow: an event that finds the queue full is dropped and counted.

    Args:
        inbox: Where segments go.
        clock_ns: Nanoseconds since 1970 in UTC.
    """

    def __init__(self, inbox: Inbox, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._inbox, self._clock_ns = inbox, clock_ns
        self._events: queue.Queue[InferenceEvent | None] = queue.Queue(_MOST_EVENTS)
        self._pairing, self._sequence = Pairing(), 0
        self._lines: dict[SegmentHeader, list[bytes]] = {}
        self._thread = threading.Thread(target=self._work, name="intake", daemon=True)
        self._thread.start()

    def put(self, event: InferenceEvent) -> None:
        """Take an event; never waits."""
        try:
            self._events.put_nowait(event)
        except queue.Full:
            DROPPED.labels("the queue is full").inc()

    def close(self) -> None:
        """Write what was taken, and end the thread."""
        self._events.put(None)
        self._thread.join()

    def _work(self) -> None:
        written_s = time.monotonic()
        while True:
            try:
                event = self._events.get(timeout=_SECOND_S)
            except queue.Empty:
                self._write()
                written_s = time.monotonic()
                continue
            if event is None:
                self._write()
                return
            self._add(event)
            if time.monotonic() - written_s >= _SECOND_S:
                self._write()
                written_s = time.monotonic()

    def _add(self, event: InferenceEvent) -> None:
        unpaired = self._pairing.unpaired
        try:
            inference = self._pairing.add(event)
        except InputError as reason:
            DROPPED.labels("it cannot be read").inc()
            _log.warning("an event of %s was dropped: %s", event.model, reason)
            return
        finally:
            DROPPED.labels("the other half did not come").inc(self._pairing.unpaired - unpaired)
        if inference is not None:
            self._lines.setdefault(inference.header, []).append(inference.line)

    def _write(self) -> None:
        for header, lines in self._lines.items():
            self._sequence += 1
            name = f"{self._clock_ns():020d}-events-{self._sequence}.jsonl"
            try:
                self._inbox.take(name, header.line() + b"".join(lines))
            except OSError:
                DROPPED.labels("the disk").inc(len(lines))
                _log.exception("%d events of %s could not be written", len(lines), header.model)
        self._lines.clear()
