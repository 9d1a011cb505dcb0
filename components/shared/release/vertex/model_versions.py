"""The versions of one model in Vertex AI's Model Registry, named by the alias ``v<version>``.

A version there is a copy of what the registry has: the registry's alias ``champion`` stays the commit point of a
release.
"""

import functools
from typing import TYPE_CHECKING, Any

from components.shared.documents.release import RegisteredVersion
from components.shared.errors import StepFailed
from components.shared.release.pace import Pace
from components.shared.release.vertex.container import HEALTH, PORT, PREDICT, Container
from components.shared.release.vertex.operations import Operations
from components.shared.vertex import TIMEOUT_S, Connection

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import Model, ModelServiceClient

PROJECT, VERSION = "perennial-project", "perennial-version"
"""Labels of models and endpoints."""
CHAMPION = "champion"
"""Alias of the version that answers."""
_DEFAULT = "default"


class ModelVersions:
    """One model.

    Args:
        connection: Vertex AI.
        name: Id of the model there.
        project: Name of the Perennial project, its owner.
        pace: How long an upload may take.
    """

    def __init__(self, connection: Connection, name: str, project: str, pace: Pace) -> None:
        self._connection, self._project, self._pace = connection, project, pace
        self._id, self._name = name, f"{connection.parent}/models/{name}"

    @functools.cached_property
    def _client(self) -> "ModelServiceClient":
        from google.cloud.aiplatform_v1 import ModelServiceClient

        return ModelServiceClient(**self._connection.options)

    @functools.cached_property
    def _operations(self) -> Operations:
        return Operations(self._connection, self._client, self._pace)

    def find(self, version: str) -> str | None:
        """Return the resource name of a version, None if it was not uploaded.

        Raises:
            StepFailed: If somebody else's model has this name.
        """
        model = self._get(f"{self._name}@{alias(version)}")
        if model is None:
            return None
        self._check_owner(model)
        return f"{self._name}@{model.version_id}"

    def versions(self) -> list[str]:
        """Return the registry's versions that were uploaded; none if the model does not exist."""
        from google.api_core.exceptions import NotFound

        with self._connection.asked(f"list the versions of the model {self._id!r}"):
            try:
                listed = self._client.list_model_versions(
                    name=self._name, retry=self._connection.retry, timeout=TIMEOUT_S
                )
                return [model.labels[VERSION] for model in listed if VERSION in model.labels]
            except NotFound:
                return []

    def upload(self, release: RegisteredVersion, container: Container, artifact_uri: str) -> str:
        """Upload a version unless it is there, and return its resource name.

        Args:
            release: What is uploaded.
            container: Serves it.
            artifact_uri: Folder of its package in Cloud Storage.

        Raises:
            PerennialError: If Vertex AI refuses or does not finish in time.
        """
        from google.api_core.exceptions import AlreadyExists
        from google.cloud import aiplatform_v1 as api

        self._operations.settle(self._name, self._pace.start_s)
        if (name := self.find(release.version)) is not None:
            return name
        existing = self._get(self._name)
        if existing is not None:
            self._check_owner(existing)
        described = api.Model(
            display_name=self._id,
            version_aliases=[alias(release.version)],
            version_description=f"version {release.version} of {release.name} in the registry",
            artifact_uri=artifact_uri,
            labels={PROJECT: self._project, VERSION: release.version},
            container_spec=api.ModelContainerSpec(
                image_uri=container.image,
                args=container.args,
                env=[api.EnvVar(name=name, value=value) for name, value in sorted(container.env.items())],
                ports=[api.Port(container_port=PORT)],
                health_route=HEALTH,
                predict_route=PREDICT,
            ),
        )
        request = api.UploadModelRequest(parent=self._connection.parent, model=described)
        if existing is None:
            request.model_id = self._id
        else:
            request.parent_model = self._name
        what = f"upload version {release.version} of the model {self._id!r}"
        with self._connection.asked(what):
            try:
                begun: Any = self._client.upload_model(request=request, timeout=TIMEOUT_S)
            except AlreadyExists:
                # A killed process began to.
                begun = None
        if begun is not None:
            self._operations.finish(begun.operation.name, what, self._pace.start_s)
        self._pace.within(lambda: self.find(release.version) is not None, self._pace.route_s)
        uploaded = self.find(release.version)
        if uploaded is None:
            raise StepFailed(f"Vertex AI lists no version {alias(release.version)!r} after its upload; run again.")
        return uploaded

    def point_to(self, version: str) -> None:
        """Let the alias of the champion, and that of the default version, name a version."""
        with self._connection.asked("move an alias"):
            self._client.merge_version_aliases(
                name=f"{self._name}@{alias(version)}", version_aliases=[CHAMPION, _DEFAULT], timeout=TIMEOUT_S
            )

    def delete(self, version: str) -> None:
        """Delete a version if it is there, and the model with its last version."""
        from google.api_core.exceptions import NotFound

        self._operations.settle(self._name, self._pace.route_s)
        if (name := self.find(version)) is None:
            return
        what = f"delete version {version} of the model {self._id!r}"
        with self._connection.asked(what):
            try:
                versions = list(
                    self._client.list_model_versions(name=self._name, retry=self._connection.retry, timeout=TIMEOUT_S)
                )
                begun: Any
                if len(versions) == 1:
                    begun = self._client.delete_model(name=self._name, timeout=TIMEOUT_S)
                else:
                    begun = self._client.delete_model_version(name=name, timeout=TIMEOUT_S)
            except NotFound:
                return
        self._operations.finish(begun.operation.name, what, self._pace.route_s)

    def _get(self, name: str) -> "Model | None":
        from google.api_core.exceptions import NotFound

        with self._connection.asked(f"show the model {self._id!r}"):
            try:
                return self._client.get_model(name=name, retry=self._connection.retry, timeout=TIMEOUT_S)
            except NotFound:
                return None

    def _check_owner(self, model: "Model") -> None:
        if model.labels.get(PROJECT) != self._project:
            raise StepFailed(
                f"the model {self._id!r} in {self._connection.parent} does not belong to this project; delete it, or "
                "name another endpoint in the address."
            )


def alias(version: str) -> str:
    """Return the alias of a registry's version; an alias there begins with a letter.

    >>> alias("7")
    'v7'
    """
    return f"v{version}"
