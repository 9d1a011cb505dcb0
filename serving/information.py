"""What a server tells of itself and its model: readiness, metadata, counts, metrics."""

from collections.abc import Callable
from typing import NamedTuple

import orjson
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, REGISTRY, generate_latest

from serving import metadata, openapi
from serving.exchange import Exchange
from serving.refusal import RequestRefused, short

JSON = b"application/json"


class Told(NamedTuple):
    """An answer about the server or its model."""

    status: int
    body: bytes
    content_type: bytes = JSON


class Information:
    """Answers every question that is not for a prediction.

    Args:
        exchange: Answers the predictions.
        has_metrics: Whether the metrics are told here; they may have a port of their own.
    """

    def __init__(self, exchange: Exchange, *, has_metrics: bool = True) -> None:
        self._exchange, self._served = exchange, exchange.served
        self._has_metrics = has_metrics

    def alive(self) -> Told:
        """Tell that the server is there."""
        return _told({"status": "alive"})

    def live(self) -> Told:
        """Tell that the server is there, in the words of the Open Inference Protocol."""
        return _told({"live": True})

    def ready(self) -> Told:
        """Tell whether a release answers."""
        ready = self._exchange.ready
        return _told({"ready": ready}, 200 if ready else 503)

    def server(self) -> Told:
        """Describe the server."""
        return _told(metadata.SERVER)

    def models(self) -> Told:
        """Name the model, if there is one."""
        return _told({"models": [] if self._served.active is None else [self._served.name]})

    def model_ready(self, model: str, version: str | None = None) -> Told:
        """Tell whether a model, or one version of it, answers."""
        try:
            release = self._served.pick(model, version)
        except RequestRefused as refusal:
            state = self._served.failed.get(version or "", refusal.sentence)
            return _told({"name": model, "ready": False, "state": state, "error": refusal.sentence}, refusal.status)
        return _told({"name": model, "ready": True, "state": f"release {short(release.version)} is ready."})

    def model(self, model: str, version: str | None = None) -> Told:
        """Describe the tensors of a release."""
        return self._answered(lambda: metadata.described(self._served.pick(model, version), self._served.versions()))

    def counts(self, model: str) -> Told:
        """Tell what each version did while there was more than one."""

        def read() -> dict[str, object]:
            self._served.pick(model, None)
            routing = self._served.routing
            followed = {"shares": routing.shares, "mirrors": routing.mirrors}
            return self._exchange.counter.read().model_copy(update=followed).model_dump(mode="json")

        return self._answered(read)

    def openapi(self) -> Told:
        """Describe the routes and the features of the active release."""
        return _told(openapi.described(self._served.active))

    def metrics(self) -> Told:
        """Tell the metrics in Prometheus' text format."""
        if not self._has_metrics:
            return _told({"error": "the metrics have a port of their own."}, 404)
        return Told(200, generate_latest(REGISTRY), CONTENT_TYPE_PLAIN_0_0_4.encode())

    def _answered(self, read: Callable[[], object]) -> Told:
        try:
            return _told(read())
        except RequestRefused as refusal:
            return _told({"error": refusal.sentence}, refusal.status)


def _told(content: object, status: int = 200) -> Told:
    return Told(status, orjson.dumps(content))
