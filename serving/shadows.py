"""Let releases that are mirrored score what another one has answered; nothing waits for them."""

import logging
import time
from collections.abc import Callable

from components.shared.release.routing import Routing
from serving.counting import TrafficCounter
from serving.exchange import Exchange, RequestLog, ScoredRequest
from serving.refusal import RequestRefused
from serving.served import Served

logger = logging.getLogger(__name__)


def mirrored(exchange: Exchange) -> Callable[[Routing], None]:
    """Return what follows a routing: it counts the versions that there are, and copies requests to their shadows."""
    shadows = Shadows(exchange.served, exchange.counter, exchange.log)
    observing = False

    def follow(routing: Routing) -> None:
        nonlocal observing
        exchange.counter.follow(routing.versions, routing.primary)
        if routing.mirrors and not observing:
            exchange.observers.add(shadows)
            observing = True

    return follow


class Shadows:
    """An observer that scores each answered request with every mirrored release.

    Both answers go to the log with the same request id, and are counted and compared. Observers that are too slow drop
    requests, which ``perennial_unobserved_requests_total`` counts.

    Args:
        served: The releases in memory, and which of them are mirrored.
        counter: What counts them.
        log: Takes the shadows' answers; None logs nothing.
    """

    def __init__(self, served: Served, counter: TrafficCounter, log: RequestLog | None) -> None:
        self._served, self._counter, self._log = served, counter, log
        self._told: set[str] = set()

    def __call__(self, answered: ScoredRequest) -> None:
        """Score one request with every shadow."""
        for version in self._served.routing.mirrors:
            counted = self._counter.counts(version, answered.request.request_id)
            if version == answered.release.version or version not in self._served.loaded or not counted:
                continue
            try:
                shadow = self._score(version, answered)
            except RequestRefused as refusal:
                self._failed(version, refusal.reason, answered, refusal)
            except Exception as bug:
                self._failed(version, "bug", answered, bug)
            else:
                self._counter.answered(version, shadow.latency_s, shadow.scores)
                pairs = zip(shadow.decisions or (), answered.decisions or (), strict=True)
                self._counter.shadowed(version, answered.request.rows, sum(a != b for a, b in pairs))
                if self._log is not None:
                    self._log.append(shadow)

    def _score(self, version: str, answered: ScoredRequest) -> ScoredRequest:
        """Score with a shadow what another release answered; a feature that the other does not have is missing.

        Its latency is the time that it computed: it waits for the thread that answers clients, and under load would
        seem slower than the champion for that alone.
        """
        release, request = self._served.loaded[version], answered.request
        columns = {name: request.columns.get(name, [None] * request.rows) for name in release.signature.names}
        start_s = time.thread_time()
        encoded = release.signature.encode(columns, request.rows)
        scores = release.score(encoded)
        decisions = release.decide(scores)
        latency_s = time.thread_time() - start_s
        return ScoredRequest(
            request._replace(columns=columns),
            release,
            encoded,
            scores,
            decisions,
            answered.received_at_ns,
            latency_s,
            shadow=True,
        )

    def _failed(self, version: str, reason: str, answered: ScoredRequest, error: Exception) -> None:
        self._counter.refused(version, reason)
        if version not in self._told:
            self._told.add(version)
            logger.error(
                "release %s, a shadow, does not answer request %r: %s", version, answered.request.request_id, error
            )
