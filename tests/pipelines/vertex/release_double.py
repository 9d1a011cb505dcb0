"""The rest of Vertex AI's double: Model Registry, endpoints, predictions and the operations on them.

The rules are those that the protos' comments state: aliases and ids have a form, a traffic split adds up to 100, what
has traffic can't be undeployed, what is deployed can't be deleted, and a resource is changed once at a time.
"""

import datetime
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.cloud import aiplatform_v1 as api
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2, json_format
from google.rpc import status_pb2

from tests.pipelines.vertex.double import METHODS, PARENT, STARTED, Double, Refused, check_parent, invalid

_MODEL_ID = re.compile(r"[a-z_][a-z0-9_-]{0,62}")
_ENDPOINT_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_ALIAS = re.compile(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")
_LABEL = re.compile(r"[a-z0-9_-]{0,63}")
_IMAGE = re.compile(r"[a-z0-9-]+-docker\.pkg\.dev/.+[:@].+")
_RESPONSES: Mapping[str, Any] = {
    "UploadModel": api.UploadModelResponse, "CreateEndpoint": api.Endpoint, "DeployModel": api.DeployModelResponse,
    "MutateDeployedModel": api.MutateDeployedModelResponse, "UndeployModel": api.UndeployModelResponse,
}  # fmt: skip


class ReleaseDouble(Double):
    """All services, with what they were asked."""

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, dict[str, api.Model]] = {}
        """Model -> id of the version -> version."""
        self.endpoints: dict[str, api.Endpoint] = {}
        self.operations: dict[str, operations_pb2.Operation] = {}
        self.changes: dict[str, tuple[str, Callable[[], Any]]] = {}
        """Operation that has not ended -> the resource, and what it does at its end."""
        self.stuck: set[str] = set()
        """Methods whose operations never end."""
        self.failing: dict[str, status_pb2.Status] = {}
        """Method -> how its operations end."""
        self.cancellable = True
        self.scores: dict[str, list[float]] = {}
        """Version of the registry -> its answer to the sample."""
        self._debts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._methods: dict[str, str] = {}
        self._numbers = iter(range(1000, 100_000))

    # Model Registry.

    def UploadModel(self, request: api.UploadModelRequest) -> operations_pb2.Operation:
        check_parent(request.parent)
        model = request.model
        if not model.display_name:
            raise invalid("model.display_name", "is required")
        if not model.artifact_uri.startswith("gs://"):
            raise invalid("model.artifact_uri", "must be a Cloud Storage directory")
        container = model.container_spec
        if not _IMAGE.fullmatch(container.image_uri):
            raise invalid("model.container_spec.image_uri", f"{container.image_uri!r} is not in Artifact Registry")
        for field in ("health_route", "predict_route"):
            if not getattr(container, field).startswith("/"):
                raise invalid(f"model.container_spec.{field}", "must begin with /")
        for alias in model.version_aliases:
            if not _ALIAS.fullmatch(alias):
                raise invalid("model.version_aliases", alias)
        _check_labels("model.labels", model.labels)
        if bool(request.parent_model) == bool(request.model_id):
            raise invalid("parent_model", "give either a parent model or an id")
        if request.parent_model:
            name = self._in_region(request.parent_model, "models")
            if name not in self.models:
                raise Refused(grpc.StatusCode.NOT_FOUND, f"The Model does not exist: {name}.")
        else:
            if not _MODEL_ID.fullmatch(request.model_id):
                raise invalid("model_id", request.model_id)
            name = f"{PARENT}/models/{request.model_id}"
            if name in self.models:
                raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"The Model already exists: {name}.")

        def upload() -> Any:
            versions = self.models.setdefault(name, {})
            number = str(max(map(int, versions), default=0) + 1)
            stored = api.Model(model)
            stored.name, stored.version_id = name, number
            self._claim(versions, list(model.version_aliases))
            if not versions:
                stored.version_aliases.append("default")
            versions[number] = stored
            return api.UploadModelResponse(model=name, model_version_id=number)

        return self._begin("UploadModel", name, upload)

    def GetModel(self, request: api.GetModelRequest) -> api.Model:
        return self._version(request.name)

    def ListModelVersions(self, request: api.ListModelVersionsRequest) -> api.ListModelVersionsResponse:
        self._version(request.name)
        return api.ListModelVersionsResponse(models=list(self.models[request.name].values()))

    def MergeVersionAliases(self, request: api.MergeVersionAliasesRequest) -> api.Model:
        model = self._version(request.name)
        if not request.version_aliases:
            raise invalid("version_aliases", "is required")
        self._claim(self.models[model.name], list(request.version_aliases))
        model.version_aliases.extend(request.version_aliases)
        return model

    def DeleteModelVersion(self, request: api.DeleteModelVersionRequest) -> operations_pb2.Operation:
        model = self._version(request.name)
        if "default" in model.version_aliases:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "The default version can't be deleted.")
        self._check_unused(model.name, model.version_id)
        return self._begin("DeleteModelVersion", model.name, lambda: self.models[model.name].pop(model.version_id))

    def DeleteModel(self, request: api.DeleteModelRequest) -> operations_pb2.Operation:
        model = self._version(request.name)
        self._check_unused(model.name, None)
        return self._begin("DeleteModel", model.name, lambda: self.models.pop(model.name))

    # Endpoints.

    def CreateEndpoint(self, request: api.CreateEndpointRequest) -> operations_pb2.Operation:
        check_parent(request.parent)
        if not request.endpoint.display_name:
            raise invalid("endpoint.display_name", "is required")
        if not _ENDPOINT_ID.fullmatch(request.endpoint_id):
            raise invalid("endpoint_id", request.endpoint_id)
        _check_labels("endpoint.labels", request.endpoint.labels)
        name = f"{PARENT}/endpoints/{request.endpoint_id}"
        if name in self.endpoints:
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"The Endpoint already exists: {name}.")

        def create() -> Any:
            endpoint = api.Endpoint(request.endpoint)
            endpoint.name, endpoint.etag = name, "1"
            self.endpoints[name] = endpoint
            return endpoint

        return self._begin("CreateEndpoint", name, create)

    def GetEndpoint(self, request: api.GetEndpointRequest) -> api.Endpoint:
        return self._endpoint(request.name)

    def UpdateEndpoint(self, request: api.UpdateEndpointRequest) -> api.Endpoint:
        endpoint = self._endpoint(request.endpoint.name)
        if list(request.update_mask.paths) != ["traffic_split"]:
            raise invalid("update_mask", str(list(request.update_mask.paths)))
        if request.endpoint.etag != endpoint.etag:
            raise Refused(grpc.StatusCode.ABORTED, "The etag does not match.")
        split = dict(request.endpoint.traffic_split)
        self._check_split("endpoint.traffic_split", split, {model.id for model in endpoint.deployed_models})
        endpoint.traffic_split = split
        self._touch(endpoint)
        return endpoint

    def DeleteEndpoint(self, request: api.DeleteEndpointRequest) -> operations_pb2.Operation:
        endpoint = self._endpoint(request.name)
        if endpoint.deployed_models:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "The Endpoint has deployed Models.")
        return self._begin("DeleteEndpoint", endpoint.name, lambda: self.endpoints.pop(endpoint.name))

    def DeployModel(self, request: api.DeployModelRequest) -> operations_pb2.Operation:
        endpoint, described = self._endpoint(request.endpoint), request.deployed_model
        model = self._version(described.model)
        resources = described.dedicated_resources
        if not resources.machine_spec.machine_type:
            raise invalid("deployed_model.dedicated_resources.machine_spec.machine_type", "is required")
        if not 1 <= resources.min_replica_count <= resources.max_replica_count:
            raise invalid("deployed_model.dedicated_resources", "1 <= min_replica_count <= max_replica_count")
        for metric in resources.autoscaling_metric_specs:
            if not 1 <= metric.target <= 100 or not metric.metric_name.endswith("/cpu/utilization"):
                raise invalid("deployed_model.dedicated_resources.autoscaling_metric_specs", str(metric))
        if request.traffic_split:
            raise invalid("traffic_split", "a candidate is deployed without traffic")

        def deploy() -> Any:
            deployed = api.DeployedModel(described)
            deployed.id, deployed.model = str(next(self._numbers)), f"{model.name}@{model.version_id}"
            deployed.model_version_id, deployed.create_time = model.version_id, STARTED
            deployed.status.available_replica_count = resources.min_replica_count
            self.endpoints[endpoint.name].deployed_models.append(deployed)
            self._touch(self.endpoints[endpoint.name])
            return api.DeployModelResponse(deployed_model=deployed)

        return self._begin("DeployModel", endpoint.name, deploy)

    def MutateDeployedModel(self, request: api.MutateDeployedModelRequest) -> operations_pb2.Operation:
        endpoint = self._endpoint(request.endpoint)
        deployed = self._deployed(endpoint, request.deployed_model.id)
        fields = [path.partition(".")[2] for path in request.update_mask.paths]
        if not fields or set(fields) - {"min_replica_count", "max_replica_count"}:
            raise invalid("update_mask", str(list(request.update_mask.paths)))

        def mutate() -> Any:
            for field in fields:
                value = getattr(request.deployed_model.dedicated_resources, field)
                setattr(deployed.dedicated_resources, field, value)
            deployed.status.available_replica_count = deployed.dedicated_resources.min_replica_count
            return api.MutateDeployedModelResponse(deployed_model=deployed)

        return self._begin("MutateDeployedModel", endpoint.name, mutate)

    def UndeployModel(self, request: api.UndeployModelRequest) -> operations_pb2.Operation:
        endpoint = self._endpoint(request.endpoint)
        deployed = self._deployed(endpoint, request.deployed_model_id)
        if endpoint.traffic_split.get(deployed.id) and len(endpoint.deployed_models) > 1:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "The DeployedModel has traffic assigned to it.")

        def undeploy() -> Any:
            endpoint.deployed_models = [model for model in endpoint.deployed_models if model.id != deployed.id]
            if not endpoint.deployed_models:
                endpoint.traffic_split = {}
            self._touch(endpoint)
            return api.UndeployModelResponse()

        return self._begin("UndeployModel", endpoint.name, undeploy)

    # Predictions.

    def Predict(self, request: api.PredictRequest) -> api.PredictResponse:
        endpoint = self._endpoint(request.endpoint)
        version, deployed = self.choose(endpoint.name)
        if version is None or deployed is None:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "The Endpoint has no traffic assigned to it.")
        rows = [json_format.MessageToDict(row) for row in api.PredictRequest.pb(request).instances]
        scores = self.scores[version]
        if len(rows) > len(scores):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, '{"error": "too many rows"}')
        answer = api.PredictResponse(deployed_model_id=deployed.id, model=deployed.model.partition("@")[0])
        for score in scores[: len(rows)]:
            value: dict[str, Any] = {"score": score, "decision": None, "out_of_vocabulary": []}
            json_format.ParseDict(value, api.PredictResponse.pb(answer).predictions.add())
        return answer

    def choose(self, endpoint: str) -> tuple[str | None, "api.DeployedModel | None"]:
        """Return the version that answers the next request, exactly by the traffic split, or None."""
        current = self.endpoints.get(endpoint)
        shares = {} if current is None else {key: share for key, share in current.traffic_split.items() if share}
        if current is None or not shares:
            return None, None
        debts = self._debts[endpoint]
        for key, share in shares.items():
            debts[key] += share / 100
        chosen = max(shares, key=lambda key: debts[key])
        debts[chosen] -= 1
        deployed = self._deployed(current, chosen)
        return deployed.display_name.removeprefix("v"), deployed

    # Operations.

    def GetOperation(self, request: operations_pb2.GetOperationRequest) -> operations_pb2.Operation:
        if request.name not in self.operations:
            return super().GetOperation(request)
        return self._look(request.name)

    def ListOperations(self, request: operations_pb2.ListOperationsRequest) -> operations_pb2.ListOperationsResponse:
        resource = request.name
        self._in_region(resource, resource.split("/")[-2])
        names = [name for name in self.operations if name.startswith(f"{resource}/operations/")]
        # What is being created has an operation already.
        if resource not in self.models and resource not in self.endpoints and not names:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"The resource does not exist: {resource}.")
        listed = [self.operations[name] for name in names]
        answer = operations_pb2.ListOperationsResponse(operations=[_copy(operation) for operation in listed])
        for name in names:
            self._look(name)
        return answer

    def CancelOperation(self, request: operations_pb2.CancelOperationRequest) -> empty_pb2.Empty:
        operation = self.operations[request.name]
        if self.cancellable and request.name in self.changes:
            del self.changes[request.name]
            operation.done = True
            operation.error.CopyFrom(status_pb2.Status(code=1, message="CANCELLED"))
        return empty_pb2.Empty()

    def _begin(self, method: str, resource: str, change: Callable[[], Any]) -> operations_pb2.Operation:
        """Begin an operation; it ends when it is looked at the second time."""
        if any(resource == changed for changed, _ in self.changes.values()):
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION, f"There are other operations running on the resource {resource}."
            )
        name = f"{resource}/operations/{next(self._numbers)}"
        self.operations[name] = operations_pb2.Operation(name=name)
        self.changes[name] = resource, change
        self._methods[name] = method
        return _copy(self.operations[name])

    def _look(self, name: str) -> operations_pb2.Operation:
        operation, before = self.operations[name], _copy(self.operations[name])
        method = self._methods[name]
        if operation.done or method in self.stuck:
            return before
        self._looks[name] = self._looks.get(name, 0) + 1
        if self._looks[name] > 1:
            _, change = self.changes.pop(name)
            operation.done = True
            if method in self.failing:
                operation.error.CopyFrom(self.failing[method])
            else:
                operation.response.Pack(_message(method, change()))
            return _copy(operation)
        return before

    # What the methods share.

    def _version(self, name: str) -> api.Model:
        name, _, version = self._in_region(name, "models").partition("@")
        versions = self.models.get(name, {})
        wanted = version or "default"
        for number, model in versions.items():
            if wanted == number or wanted in model.version_aliases:
                return model
        raise Refused(grpc.StatusCode.NOT_FOUND, f"The Model does not exist: {name}@{wanted}.")

    def _claim(self, versions: Mapping[str, api.Model], aliases: list[str]) -> None:
        for model in versions.values():
            model.version_aliases = [alias for alias in model.version_aliases if alias not in aliases]

    def _check_unused(self, name: str, version: str | None) -> None:
        for endpoint in self.endpoints.values():
            for deployed in endpoint.deployed_models:
                if deployed.model.startswith(f"{name}@") and version in (None, deployed.model_version_id):
                    raise Refused(grpc.StatusCode.FAILED_PRECONDITION, f"It is deployed to {endpoint.name}.")

    def _endpoint(self, name: str) -> api.Endpoint:
        if self._in_region(name, "endpoints") not in self.endpoints:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"The Endpoint does not exist: {name}.")
        return self.endpoints[name]

    @staticmethod
    def _deployed(endpoint: api.Endpoint, key: str) -> api.DeployedModel:
        for model in endpoint.deployed_models:
            if model.id == key:
                return model
        raise Refused(grpc.StatusCode.NOT_FOUND, f"The DeployedModel does not exist: {key}.")

    @staticmethod
    def _in_region(name: str, kind: str) -> str:
        if not name.startswith(f"{PARENT}/{kind}/"):
            raise invalid("name", f"{name} is in another project or region")
        return name

    @staticmethod
    def _check_split(field: str, split: Mapping[str, int], ids: set[str]) -> None:
        if split and sum(split.values()) != 100:
            raise invalid(field, f"{split} does not add up to 100")
        if unknown := sorted(split.keys() - ids):
            raise invalid(field, f"{unknown} are not deployed")

    def _touch(self, endpoint: api.Endpoint) -> None:
        endpoint.etag = str(int(endpoint.etag) + 1)
        endpoint.update_time = STARTED + datetime.timedelta(seconds=int(endpoint.etag))


def _check_labels(field: str, labels: Mapping[str, str]) -> None:
    for name, value in labels.items():
        if not _LABEL.fullmatch(name) or not _LABEL.fullmatch(value):
            raise invalid(field, f"{name}={value}")


def _message(method: str, result: Any) -> Any:
    if method not in _RESPONSES:
        return empty_pb2.Empty()
    return _RESPONSES[method].pb(result)


def _copy(operation: operations_pb2.Operation) -> operations_pb2.Operation:
    copied = operations_pb2.Operation()
    copied.CopyFrom(operation)
    return copied


_OPERATION = operations_pb2.Operation
RELEASE_METHODS: Mapping[str, Mapping[str, tuple[Any, Any]]] = {
    **METHODS,
    "google.cloud.aiplatform.v1.ModelService": {
        "UploadModel": (api.UploadModelRequest, _OPERATION),
        "GetModel": (api.GetModelRequest, api.Model),
        "ListModelVersions": (api.ListModelVersionsRequest, api.ListModelVersionsResponse),
        "MergeVersionAliases": (api.MergeVersionAliasesRequest, api.Model),
        "DeleteModelVersion": (api.DeleteModelVersionRequest, _OPERATION),
        "DeleteModel": (api.DeleteModelRequest, _OPERATION),
    },
    "google.cloud.aiplatform.v1.EndpointService": {
        "CreateEndpoint": (api.CreateEndpointRequest, _OPERATION),
        "GetEndpoint": (api.GetEndpointRequest, api.Endpoint),
        "UpdateEndpoint": (api.UpdateEndpointRequest, api.Endpoint),
        "DeleteEndpoint": (api.DeleteEndpointRequest, _OPERATION),
        "DeployModel": (api.DeployModelRequest, _OPERATION),
        "MutateDeployedModel": (api.MutateDeployedModelRequest, _OPERATION),
        "UndeployModel": (api.UndeployModelRequest, _OPERATION),
    },
    "google.cloud.aiplatform.v1.PredictionService": {"Predict": (api.PredictRequest, api.PredictResponse)},
    "google.longrunning.Operations": {
        "GetOperation": (operations_pb2.GetOperationRequest, _OPERATION),
        "ListOperations": (operations_pb2.ListOperationsRequest, operations_pb2.ListOperationsResponse),
        "CancelOperation": (operations_pb2.CancelOperationRequest, empty_pb2.Empty),
    },
}
