"""The API server that KUBECONFIG names, and the manifests under names of a test's own."""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient

from tests.infra import rendered

_OTHERS = ("kubeflow", "kserve")
_NAMESPACES = ("perennial-models", "perennial", *_OTHERS)
# Keys whose value is a namespace.
_NAMES = ("namespace", "kubernetes.io/metadata.name")


class Cluster:
    """The API server as the administrator sees it."""

    def __init__(self, kubeconfig: str) -> None:
        self.settings = client.Configuration()
        config.load_kube_config(kubeconfig, client_configuration=self.settings)
        self.client = client.ApiClient(self.settings)
        self._kinds = DynamicClient(self.client)

    def apply(self, document: dict[str, Any], manager: str = "perennial", **query: str) -> tuple[dict[str, Any], str]:
        """Apply server-side, strictly; return the object and the server's warnings ('' is none)."""
        how = {"fieldManager": manager, "fieldValidation": "Strict", **query}
        answer, _, headers = self.call(
            "PATCH", self.path(document), document, "application/apply-patch+yaml", list(how.items())
        )
        return answer, headers.get("Warning", "")

    def create(self, document: dict[str, Any], **query: str) -> tuple[dict[str, Any], str]:
        how = {"fieldValidation": "Strict", **query}
        answer, _, headers = self.call("POST", self.path(document, named=False), document, query=list(how.items()))
        return answer, headers.get("Warning", "")

    def delete(self, document: dict[str, Any]) -> None:
        self.call("DELETE", self.path(document))

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        kind: str = "application/json",
        query: Any = (),
        headers: dict[str, str] | None = None,
    ) -> Any:
        sent = {"Accept": "application/json", "Content-Type": kind, **(headers or {})}
        return self.client.call_api(
            path, method, {}, list(query), sent, body, response_type="object", auth_settings=["BearerToken"]
        )

    def has(self, api_version: str, kind: str) -> bool:
        return bool(self._kinds.resources.search(api_version=api_version, kind=kind))

    def path(self, document: dict[str, Any], named: bool = True) -> str:
        kind = self._kinds.resources.get(api_version=document["apiVersion"], kind=document["kind"])
        metadata = document["metadata"]
        base = kind.path("", metadata["namespace"]) if kind.namespaced else kind.path("", None)
        return f"{base.rstrip('/')}/{metadata['name']}" if named else base.rstrip("/")


def renamed(overlay: str, prefix: str) -> list[dict[str, Any]]:
    """The manifests of an overlay in namespaces that begin with ``prefix``, so that they disturb nobody."""
    documents = [_moved(document, prefix) for document in rendered.documents(overlay)]
    for document in rendered.of_kind(documents, "Namespace"):
        document["metadata"]["name"] = f"{prefix}-{document['metadata']['name']}"
    return documents


def _moved(value: Any, prefix: str) -> Any:
    """Put the prefix before a namespace, be it a key's value or a part of a service's host name."""
    if isinstance(value, dict):
        return {
            key: f"{prefix}-{inner}" if key in _NAMES and inner in _NAMESPACES else _moved(inner, prefix)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_moved(inner, prefix) for inner in value]
    if isinstance(value, str):
        return re.sub(rf"(?<=\.)({'|'.join(_NAMESPACES)})(?=\.svc)", rf"{prefix}-\1", value)
    return value


@contextmanager
def namespaces(cluster: Cluster) -> Iterator[str]:
    """A prefix for namespaces that are removed again; those that infra/ does not bring are created."""
    prefix = f"infra-{uuid.uuid4().hex[:6]}"
    made = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{prefix}-{name}"}} for name in _NAMESPACES]
    runner = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "pipeline-runner", "namespace": f"{prefix}-kubeflow"},
    }
    for namespace in made[-len(_OTHERS) :]:
        cluster.create(namespace)
    cluster.create(runner)
    try:
        yield prefix
    finally:
        for namespace in made:
            try:
                cluster.delete(namespace)
            except ApiException as error:
                if error.status != 404:
                    raise


def storage(cluster: Cluster) -> dict[str, Any] | None:
    """KServe's object that the overlays add to, made here where KServe is not installed; None: it is there."""
    document = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterStorageContainer",
        "metadata": {"name": "default"},
        "spec": {
            "container": {"name": "storage-initializer", "image": "kserve/storage-initializer:v0.21.0"},
            "supportedUriFormats": [{"prefix": "s3://"}],
        },
    }
    try:
        cluster.call("GET", cluster.path(document))
    except ApiException as error:
        if error.status != 404:
            raise
        cluster.create(document)
        return document
    return None
