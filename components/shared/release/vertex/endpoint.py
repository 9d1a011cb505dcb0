"""One endpoint of Vertex AI: which versions are deployed to it, and how its traffic is split between them."""

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from components.shared.errors import StepFailed
from components.shared.release.pace import Pace
from components.shared.release.vertex.container import Capacity
from components.shared.release.vertex.model_versions import PROJECT, alias
from components.shared.release.vertex.operations import Operations
from components.shared.vertex import TIMEOUT_S, Connection

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import DeployedModel, Endpoint, EndpointServiceClient

_CPU = "aiplatform.googleapis.com/prediction/online/cpu/utilization"


class VertexEndpoint:
    """An endpoint, which need not exist; deployed models have their version's alias as display name.

    Args:
        connection: Vertex AI.
        name: Id of the endpoint.
        project: Name of the Perennial project, its owner.
        pace: How long each change may take.
    """

    def __init__(self, connection: Connection, name: str, project: str, pace: Pace) -> None:
        self._connection, self._id, self._project, self._pace = connection, name, project, pace
        self.name = f"{connection.parent}/endpoints/{name}"

    @functools.cached_property
    def _client(self) -> "EndpointServiceClient":
        from google.cloud.aiplatform_v1 import EndpointServiceClient

        return EndpointServiceClient(**self._connection.options)

    @functools.cached_property
    def operations(self) -> Operations:
        """The operations on it."""
        return Operations(self._connection, self._client, self._pace)

    def read(self) -> "Endpoint | None":
        """Return the endpoint, None if it does not exist.

        Raises:
            StepFailed: If somebody else's endpoint has this name.
        """
        from google.api_core.exceptions import NotFound

        with self._connection.asked(f"show the endpoint {self._id!r}"):
            try:
                endpoint = self._client.get_endpoint(name=self.name, retry=self._connection.retry, timeout=TIMEOUT_S)
            except NotFound:
                return None
        if endpoint.labels.get(PROJECT) != self._project:
            raise StepFailed(
                f"the endpoint {self._id!r} in {self._connection.parent} does not belong to this project; delete it, "
                "or name another endpoint in the address."
            )
        return endpoint

    def deployed(self, version: str) -> "DeployedModel | None":
        """Return the deployed model of a version, None if it is not deployed."""
        endpoint = self.read()
        models = [] if endpoint is None else list(endpoint.deployed_models)
        return next((model for model in models if model.display_name == alias(version)), None)

    def shares(self) -> dict[str, int]:
        """Return each deployed version's percentage of the traffic; empty if the endpoint does not exist."""
        endpoint = self.read()
        if endpoint is None:
            return {}
        return {version_of(model): endpoint.traffic_split.get(model.id, 0) for model in endpoint.deployed_models}

    def create(self) -> None:
        """Create the endpoint unless it exists."""
        from google.api_core.exceptions import AlreadyExists
        from google.cloud import aiplatform_v1 as api

        if self.read() is not None:
            return
        described = api.Endpoint(display_name=self._id, labels={PROJECT: self._project})
        what = f"create the endpoint {self._id!r}"
        with self._connection.asked(what):
            try:
                begun: Any = self._client.create_endpoint(
                    parent=self._connection.parent, endpoint=described, endpoint_id=self._id, timeout=TIMEOUT_S
                )
            except AlreadyExists:
                return
        self.operations.finish(begun.operation.name, what, self._pace.route_s)

    def begin_deployment(self, version: str, model: str, capacity: Capacity) -> str | None:
        """Begin to deploy a version without traffic, and return the operation; None if it is deployed.

        Args:
            version: Of the registry.
            model: Resource name of the version in Model Registry.
            capacity: What it gets.
        """
        from google.cloud import aiplatform_v1 as api

        self.operations.settle(self.name, self._pace.start_s)
        if self.deployed(version) is not None:
            return None
        resources = api.DedicatedResources(
            machine_spec=api.MachineSpec(machine_type=capacity.machine),
            min_replica_count=capacity.replicas[0],
            max_replica_count=capacity.replicas[1],
        )
        if capacity.cpu_target is not None:
            metric = api.AutoscalingMetricSpec(metric_name=_CPU, target=capacity.cpu_target)
            resources.autoscaling_metric_specs = [metric]
        described = api.DeployedModel(model=model, display_name=alias(version), dedicated_resources=resources)
        if capacity.service_account is not None:
            described.service_account = capacity.service_account
        with self._connection.asked(f"deploy version {version} to the endpoint {self._id!r}"):
            # Without a traffic split in the request, that of the endpoint stays as it is.
            begun: Any = self._client.deploy_model(endpoint=self.name, deployed_model=described, timeout=TIMEOUT_S)
        return str(begun.operation.name)

    def split(self, shares: Mapping[str, int]) -> None:
        """Give deployed versions their percentages of the traffic, and wait until the endpoint has adopted them.

        Args:
            shares: Version to percentage, 100 together; empty if nothing is to answer.

        Raises:
            StepFailed: If a version with a share is not deployed, or the endpoint does not adopt the shares.
        """
        from google.cloud import aiplatform_v1 as api
        from google.protobuf import field_mask_pb2

        shares = {version: share for version, share in shares.items() if share}
        endpoint = self.read()
        if endpoint is None and not shares:
            return
        ids = {} if endpoint is None else {version_of(model): model.id for model in endpoint.deployed_models}
        missing = sorted(shares.keys() - ids.keys())
        if endpoint is None or missing:
            raise StepFailed(
                f"the endpoint {self._id!r} lacks the versions {missing}, which are to get {shares} % of the traffic; "
                "they were removed by someone else or have been replaced, release them again."
            )
        wanted = {ids[version]: share for version, share in shares.items()}
        if dict(endpoint.traffic_split) == wanted:
            return
        changed = api.Endpoint(name=self.name, traffic_split=wanted, etag=endpoint.etag)
        with self._connection.asked(f"split the traffic of the endpoint {self._id!r}"):
            self._client.update_endpoint(
                endpoint=changed, update_mask=field_mask_pb2.FieldMask(paths=["traffic_split"]), timeout=TIMEOUT_S
            )
        self._pace.until(
            lambda: self.shares_equal(wanted), self._pace.route_s, f"the endpoint {self._id!r} did not adopt {shares}"
        )

    def shares_equal(self, wanted: Mapping[str, int]) -> bool:
        """Return whether the endpoint splits its traffic like this, by the ids of deployed models."""
        endpoint = self.read()
        return endpoint is not None and {k: v for k, v in endpoint.traffic_split.items() if v} == dict(wanted)

    def scale(self, version: str, smallest: int) -> None:
        """Set the smallest number of replicas of a deployed version; the largest grows with it."""
        from google.cloud import aiplatform_v1 as api
        from google.protobuf import field_mask_pb2

        self.operations.settle(self.name, self._pace.start_s)
        deployed = self.deployed(version)
        if deployed is None or deployed.dedicated_resources.min_replica_count == smallest:
            return
        largest = max(smallest, deployed.dedicated_resources.max_replica_count)
        resources = api.DedicatedResources(min_replica_count=smallest, max_replica_count=largest)
        paths = [f"dedicated_resources.{field}" for field in ("min_replica_count", "max_replica_count")]
        what = f"scale version {version} at the endpoint {self._id!r}"
        with self._connection.asked(what):
            begun: Any = self._client.mutate_deployed_model(
                endpoint=self.name,
                deployed_model=api.DeployedModel(id=deployed.id, dedicated_resources=resources),
                update_mask=field_mask_pb2.FieldMask(paths=paths),
                timeout=TIMEOUT_S,
            )
        self.operations.finish(begun.operation.name, what, self._pace.start_s)

    def undeploy(self, version: str) -> None:
        """Take a version without traffic off the endpoint, if it is there."""
        self.operations.settle(self.name, self._pace.route_s)
        deployed = self.deployed(version)
        if deployed is None:
            return
        what = f"undeploy version {version} from the endpoint {self._id!r}"
        with self._connection.asked(what):
            begun: Any = self._client.undeploy_model(
                endpoint=self.name, deployed_model_id=deployed.id, timeout=TIMEOUT_S
            )
        self.operations.finish(begun.operation.name, what, self._pace.route_s)

    def delete(self) -> None:
        """Delete the endpoint, which has no deployed models any more, if it exists."""
        from google.api_core.exceptions import NotFound

        if self.read() is None:
            return
        what = f"delete the endpoint {self._id!r}"
        with self._connection.asked(what):
            try:
                begun: Any = self._client.delete_endpoint(name=self.name, timeout=TIMEOUT_S)
            except NotFound:
                return
        self.operations.finish(begun.operation.name, what, self._pace.route_s)


def version_of(model: "DeployedModel") -> str:
    """Return the registry's version of a deployed model."""
    return str(model.display_name).removeprefix("v")
