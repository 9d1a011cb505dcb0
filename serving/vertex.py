"""What Vertex AI asks of a container: its port, its two routes, and the shape of a request.

Vertex AI sets ``AIP_HTTP_PORT``, ``AIP_HEALTH_ROUTE``, ``AIP_PREDICT_ROUTE`` and ``AIP_STORAGE_URI`` in the container.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from components.shared.errors import InputError
from serving import v1
from serving.exchange import ScoredRequest
from serving.refusal import RequestRefused, short
from serving.rest_content import RestContent

PROTOCOL = "vertex"
_PORT, _HEALTH, _PREDICT, _STORAGE = "AIP_HTTP_PORT", "AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE", "AIP_STORAGE_URI"
_PARAMETERS = ("entity", "event_time", "interval")


@dataclass(frozen=True)
class VertexRoutes:
    """The paths that Vertex AI calls.

    Attributes:
        health: Answered with 200 as soon as a release answers, with 503 before.
        predict: Takes ``{"instances": [...]}`` and answers ``{"predictions": [...]}``.
    """

    health: str
    predict: str


@dataclass(frozen=True)
class VertexContainer:
    """How Vertex AI runs this container.

    Attributes:
        port: Where it expects REST.
        routes: The paths that it calls.
        storage_uri: ``gs://bucket/prefix`` with the model package; None if the model was uploaded without one.
    """

    port: int
    routes: VertexRoutes
    storage_uri: str | None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "VertexContainer | None":
        """Read the variables that Vertex AI sets; None outside of Vertex AI.

        Raises:
            InputError: If one is missing or invalid.

        >>> VertexContainer.read({}) is None
        True
        """
        if _PORT not in environment:
            return None
        port = environment[_PORT]
        if not port.isdecimal() or not 0 <= int(port) < 2**16:
            raise InputError(f"{_PORT} is {port!r}; expected a port. Vertex AI sets it in a container.")
        health, predict = (_route(environment, name) for name in (_HEALTH, _PREDICT))
        if health == predict:
            raise InputError(f"{_HEALTH} and {_PREDICT} are both {health!r}; expected two routes.")
        uri = environment.get(_STORAGE) or None
        if uri is not None and not uri.startswith("gs://"):
            raise InputError(f"{_STORAGE} is {uri!r}; expected gs://bucket/prefix with the model package.")
        return cls(int(port), VertexRoutes(health, predict), uri)


def _route(environment: Mapping[str, str], name: str) -> str:
    route = environment.get(name, "")
    if not route.startswith("/"):
        raise InputError(f"{name} is {route!r}; expected a path such as '/predict'. Vertex AI sets it in a container.")
    return route


class VertexBody(v1.V1Body):
    """A request of the V1 protocol as Vertex AI passes it on.

    A request there can hold nothing but instances and parameters, so ``entity`` and ``event_time`` are parameters. Of
    the answer only the predictions reach the client; Vertex AI adds which model answered.

    Args:
        body: A JSON object.
    """

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        parameters = self._document.pop("parameters", None)
        if parameters is None:
            return
        if type(parameters) is not dict:
            raise RequestRefused(400, "'parameters' is not an object.", "json")
        if unknown := sorted(parameters.keys() - set(_PARAMETERS)):
            raise RequestRefused(
                400, f"the parameter {short(unknown[0])} is unknown; expected some of {list(_PARAMETERS)}.", "json"
            )
        if twice := sorted(parameters.keys() & self._document.keys()):
            raise RequestRefused(400, f"{short(twice[0])} is given twice; send it in 'parameters' only.", "json")
        self._document.update(parameters)

    def encode(self, scored: ScoredRequest) -> RestContent:
        """Write the predictions as JSON."""
        return RestContent(orjson.dumps({"predictions": v1.predictions(scored)}))
