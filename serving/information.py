"""What a server tells of itself and its model: readiness, metadata, counts, metrics."""

from collections.abc import Callable
from typing import NamedTuple

import orjson
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, REGISTRY, generate_latest

from serving import metadata, openapi
from serving.exchange import Exchange
from serving.refusal import RequestRefused, short

JSON = b"application/json"


class Answer(NamedTuple):
    """An answer about the server or its model."""

    status: int
    body: bytes
    content_type: bytes = JSON


class Information:
    """Answers every question other than a prediction.

    Args:
        exchange: Answers the predictions.
        has_metrics: Whether the metrics are told here; they may have a port of their own.
    """

    def __init__(self, exchange: Exchange, *, has_metrics: bool = True) -> None:
        self._exchange, self._served = exchange, exchange.served
        self._has_metrics = has_metrics

    def alive(self) -> Answer:
        """Tell that the server is there."""
        return _json({"status": "alive"})

    def live(self) -> Answer:
        """Tell that the server is there, in the words of the Open Inference Protocol."""
        return _json({"live": True})

    def ready(self) -> Answer:
        """Tell whether a release answers."""
        ready = self._exchange.ready
        return _json({"ready": ready}, 200 if ready else 503)

    def server(self) -> Answer:
        """Describe the server."""
        return _json(metadata.SERVER)

    def models(self) -> Answer:
        """Name the model, if there is one."""
        return _json({"models": [] if self._served.active is None else [self._served.name]})

    def model_ready(self, model: str, version: str | None = None) -> Answer:
        """Tell whether a model, or one version of it, answers."""
        try:
            release = self._served.pick(model, version)
        except RequestRefused as refusal:
            state = self._served.failed.get(version or "", refusal.sentence)
            return _json({"name": model, "ready": False, "state": state, "error": refusal.sentence}, refusal.status)
        return _json({"name": model, "ready": True, "state": f"release {short(release.version)} is ready."})

    def model(self, model: str, version: str | None = None) -> Answer:
        """Describe the tensors of a release."""
        return self._answered(lambda: metadata.described(self._served.pick(model, version), self._served.versions()))

    def counts(self, model: str) -> Answer:
        """Tell what each version did while it was compared with another."""

        def read() -> dict[str, object]:
            self._served.pick(model, None)
            routing = self._served.routing
            followed = {"shares": routing.shares, "mirrors": routing.mirrors}
            return self._exchange.counter.read().model_copy(update=followed).model_dump(mode="json")

        return self._answered(read)

    def openapi(self) -> Answer:
        """Describe the routes and the features of the active release."""
        release, lookups = self._served.active, self._exchange.lookups
        lookable = frozenset() if release is None or lookups is None else lookups.lookable(release)
        return _json(openapi.described(release, lookable))

    def metrics(self) -> Answer:
        """Tell the metrics in Prometheus' text format."""
        if not self._has_metrics:
            return _json({"error": "the metrics have a port of their own."}, 404)
        return Answer(200, generate_latest(REGISTRY), CONTENT_TYPE_PLAIN_0_0_4.encode())

    def _answered(self, read: Callable[[], object]) -> Answer:
        try:
            return _json(read())
        except RequestRefused as refusal:
            return _json({"error": refusal.sentence}, refusal.status)


def _json(content: object, status: int = 200) -> Answer:
    return Answer(status, orjson.dumps(content))
