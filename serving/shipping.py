"""Send complete segments of the inference log to a collector, which keeps them; on a cluster, pods have no disk."""

import logging
import threading
import uuid
from http import HTTPStatus
from pathlib import Path

import httpx

from components.shared.inference_log import segments
from serving import metrics
from serving.inference_log import InferenceLog

_log = logging.getLogger(__name__)
_REFUSED = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
_NEWER = "newer version of Perennial"
"""What a collector says that is older than this server; once it is upgraded, it takes the segment."""
_TIMEOUT_S = 10.0
_CLOSE_S = 5.0
_MOST_PAUSE_S = 15.0


class CollectedLog:
    """An inference log whose segments go to a collector."""

    def __init__(self, log: InferenceLog, shipper: "Shipper") -> None:
        self._log, self._shipper = log, shipper
        self.append = log.append

    def close(self) -> None:
        """Write what waits, and send it."""
        self._log.close()
        self._shipper.close()


class Shipper:
    """Sends each segment once it is complete, and deletes it when the collector has it.

    A segment keeps its name when it is sent again, so that the collector takes it only once. Where the collector cannot
    be reached, segments wait on disk; the oldest ones are dropped and counted when there are too many.

    Args:
        folder: The log's folder.
        url: Address of the collector.
        name: The model's, for the metrics.
        pause_s: From one look at the folder to the next; doubled while the collector cannot be reached.
        capacity_bytes: Most bytes that may wait.
        transport: How requests are sent; default: over the network.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        name: str,
        *,
        pause_s: float = 0.5,
        capacity_bytes: int = 128 * 2**20,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._folder, self._name, self._capacity_bytes = folder, name, capacity_bytes
        self._client = httpx.Client(base_url=url, timeout=_TIMEOUT_S, transport=transport)
        self._sender = uuid.uuid4().hex[:12]
        self._pause_s, self._reached = pause_s, True
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ship_until_closed, name="log shipping", daemon=True)
        self._thread.start()

    def ship(self) -> bool:
        """Send what is complete; return whether the collector took it all."""
        waiting = list(segments.complete(self._folder))
        self._drop(waiting)
        for path in waiting:
            if not path.exists():
                continue
            try:
                name = f"{path.stem}-{self._sender}{path.suffix}"
                answer = self._client.put(f"/segments/{name}", content=path.read_bytes())
                if answer.status_code in _REFUSED and _NEWER not in answer.text:
                    # It will never be taken; another attempt would keep the others waiting.
                    self._lost(path, f"the collector refused it: {answer.text[:200]}")
                    continue
                answer.raise_for_status()
            except (httpx.HTTPError, OSError) as error:
                if self._reached:
                    _log.warning("the log's collector takes no segments (%s); they wait on disk", error)
                self._reached = False
                return False
            path.unlink()
        if not self._reached:
            _log.info("the log's collector is reached again")
        self._reached = True
        return True

    def close(self) -> None:
        """Send what is complete by now, and end the thread; a collector that hangs is not waited for."""
        self._ended.set()
        self._thread.join(_CLOSE_S)
        self._client.close()

    def _ship_until_closed(self) -> None:
        pause_s = self._pause_s
        while not self._ended.wait(pause_s):
            pause_s = self._pause_s if self.ship() else min(2 * pause_s, _MOST_PAUSE_S)
        self.ship()

    def _drop(self, waiting: list[Path]) -> None:
        """Delete the oldest segments beyond the capacity."""
        sizes = {path: path.stat().st_size for path in waiting}
        excess = sum(sizes.values()) - self._capacity_bytes
        for path, size in sizes.items():
            if excess <= 0:
                return
            excess -= size
            self._lost(path, "too many segments wait for the collector")

    def _lost(self, path: Path, reason: str) -> None:
        # The first line is the header.
        requests = max(0, path.read_bytes().count(b"\n") - 1)
        metrics.UNLOGGED.labels(self._name).inc(requests)
        _log.error("%d logged requests are lost: %s", requests, reason)
        path.unlink()
