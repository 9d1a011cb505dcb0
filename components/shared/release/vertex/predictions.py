"""Ask an endpoint of Vertex AI for predictions, and learn which version answered."""

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from components.shared.errors import InputError
from components.shared.release.vertex.endpoint import VertexEndpoint, version_of
from components.shared.vertex import TIMEOUT_S, Connection

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import PredictionServiceClient


class Answer(NamedTuple):
    """Predictions of one version, an object per row as the model server writes it."""

    version: str
    predictions: Sequence[Mapping[str, Any]]


class Predictions:
    """The predictions in one project and region.

    Args:
        connection: Vertex AI.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @functools.cached_property
    def _client(self) -> "PredictionServiceClient":
        from google.cloud.aiplatform_v1 import PredictionServiceClient

        return PredictionServiceClient(**self._connection.options)

    def ask(self, endpoint: VertexEndpoint, rows: Sequence[Mapping[str, Any]], interval: float | None = None) -> Answer:
        """Request the predictions of rows, with intervals or sets of a level if one is named.

        Raises:
            InputError: If the endpoint does not exist, nothing is deployed to it, or the model refuses the rows.
            StepFailed: If it does not answer, or fails.
        """
        from google.cloud import aiplatform_v1 as api
        from google.protobuf import json_format, struct_pb2

        request = api.PredictRequest(endpoint=endpoint.name)
        instances = api.PredictRequest.pb(request).instances
        for row in rows:
            json_format.ParseDict(dict(row), instances.add())
        if interval is not None:
            json_format.ParseDict({"interval": interval}, api.PredictRequest.pb(request).parameters)
        with self._connection.asked("predict"):
            answer = self._client.predict(request=request, retry=self._connection.retry, timeout=TIMEOUT_S)
        deployed = None if (current := endpoint.read()) is None else current.deployed_models
        versions = {model.id: version_of(model) for model in deployed or ()}
        if answer.deployed_model_id not in versions:
            raise InputError(
                f"the deployed model {answer.deployed_model_id!r} answered, which is not at {endpoint.name}; ask again."
            )
        values: Sequence[struct_pb2.Value] = api.PredictResponse.pb(answer).predictions
        return Answer(versions[answer.deployed_model_id], [json_format.MessageToDict(value) for value in values])
