"""All access to the Kubernetes API: few kinds, few verbs, and a sentence for whatever it refuses.

Objects are plain documents. The client's own typed and dynamic faces are not used: the one knows no custom resources,
the other can't ask for strict validation.
"""

import json
import os
import re
from collections.abc import Callable
from typing import Any

from components.shared.errors import InputError, StepFailed

Document = dict[str, Any]

MANAGER = "perennial"
_KINDS = {
    "InferenceService": ("apis/serving.kserve.io/v1beta1", "inferenceservices"),
    "ServingRuntime": ("apis/serving.kserve.io/v1alpha1", "servingruntimes"),
    "HTTPRoute": ("apis/gateway.networking.k8s.io/v1", "httproutes"),
    "Gateway": ("apis/gateway.networking.k8s.io/v1", "gateways"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "ConfigMap": ("api/v1", "configmaps"),
    "Pod": ("api/v1", "pods"),
    "Event": ("api/v1", "events"),
}
_TIMEOUT_S = 15.0
_FORBIDDEN = re.compile(r'User "([^"]+)" cannot (\w+) resource "([^"]+)" in API group "([^"]*)"')
_ACCOUNT = "system:serviceaccount:"


class Refused(StepFailed):
    """The API server answered with an error; ``status`` is HTTP's."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class Cluster:
    """One namespace, as this process may see and change it.

    Args:
        namespace: Where the models run.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.guard: Callable[[], None] = lambda: None
        """Called before anything is changed; raises if this process may no longer change anything."""
        self._api = _connected()

    def get(self, kind: str, name: str, *, namespace: str | None = None) -> Document | None:
        """Return an object, or None."""
        try:
            return self._call("GET", self._path(kind, name, namespace), kind)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def find(self, kind: str, *, labels: str = "", fields: str = "") -> list[Document]:
        """Return the objects that both selectors choose."""
        query = [("labelSelector", labels), ("fieldSelector", fields)]
        found = self._call("GET", self._path(kind), kind, [pair for pair in query if pair[1]])
        return list(found["items"])

    def apply(self, document: Document, *, dry_run: bool = False) -> Document:
        """Make an object what the document says, and nothing that it does not say (server-side apply)."""
        self.guard()
        query = [("fieldManager", MANAGER), ("fieldValidation", "Strict"), ("force", "true")]
        query += [("dryRun", "All")] if dry_run else []
        path = self._path(document["kind"], document["metadata"]["name"])
        return self._call("PATCH", path, document["kind"], query, document, "application/apply-patch+yaml")

    def merge(self, kind: str, name: str, change: Document) -> Document:
        """Change the fields that are named, and no other."""
        self.guard()
        query = [("fieldManager", MANAGER), ("fieldValidation", "Strict")]
        return self._call("PATCH", self._path(kind, name), kind, query, change, "application/merge-patch+json")

    def delete(self, kind: str, name: str) -> None:
        """Delete an object with what it owns; one that is not there is deleted already."""
        self.guard()
        try:
            self._call("DELETE", self._path(kind, name), kind, [("propagationPolicy", "Background")])
        except Refused as refused:
            if refused.status != 404:
                raise

    def create(self, document: Document) -> Document:
        """Create an object; status 409 if it is there."""
        return self._call("POST", self._path(document["kind"]), document["kind"], body=document)

    def replace(self, document: Document) -> Document:
        """Replace an object; status 409 if somebody else changed it since it was read."""
        path = self._path(document["kind"], document["metadata"]["name"])
        return self._call("PUT", path, document["kind"], body=document)

    def log(self, pod: str, container: str, *, previous: bool) -> list[str]:
        """Return the last lines that a container wrote; none where its log is gone, which is no error to the node."""
        query = [("container", container), ("tailLines", "20"), ("previous", "true" if previous else "false")]
        text = self._call("GET", f"{self._path('Pod', pod)}/log", "Pod", query, answer="str")
        lines = [line.strip() for line in str(text).splitlines()]
        return [line for line in lines if line and not line.startswith("unable to retrieve container logs")]

    def _path(self, kind: str, name: str | None = None, namespace: str | None = None) -> str:
        prefix, plural = _KINDS[kind]
        return f"/{prefix}/namespaces/{namespace or self.namespace}/{plural}" + (f"/{name}" if name else "")

    def _call(
        self,
        method: str,
        path: str,
        kind: str,
        query: list[tuple[str, str]] | None = None,
        body: Document | None = None,
        content_type: str = "application/json",
        answer: str = "object",
    ) -> Any:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        headers = {"Accept": "application/json", "Content-Type": content_type}
        how: dict[str, Any] = {"_return_http_data_only": True, "_request_timeout": _TIMEOUT_S}
        try:
            return self._api.call_api(
                path, method, {}, query or [], headers, body, response_type=answer, auth_settings=["BearerToken"], **how
            )
        except ApiException as refused:
            status = int(refused.status or 0)
            raise Refused(_sentence(refused, status, kind, self.namespace), status) from refused
        except HTTPError as broken:
            raise StepFailed(
                f"The Kubernetes API server at {self._api.configuration.host} does not answer ({broken}); "
                "look whether it runs and this pod may reach it, and run again."
            ) from broken


def _connected() -> Any:
    import urllib3
    from kubernetes import client, config

    settings = client.Configuration()
    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST") and not os.environ.get("KUBECONFIG"):
            config.load_incluster_config(client_configuration=settings)
        else:
            config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=settings)
    except config.ConfigException as absent:
        raise InputError(
            f"No cluster is known here ({absent}); set KUBECONFIG, or run where a service account's token is."
        ) from absent
    # Reading is safe to repeat, changing is not.
    settings.retries = urllib3.Retry(
        total=4,
        backoff_factor=0.3,
        status_forcelist=(429, 502, 503, 504),
        allowed_methods=("GET",),
        raise_on_status=False,
    )
    return client.ApiClient(settings)


def _sentence(refused: Any, status: int, kind: str, namespace: str) -> str:
    try:
        message = str(json.loads(refused.body)["message"])
    except (TypeError, ValueError, KeyError):
        message = " ".join(str(refused.body or refused.reason).split())[:300]
    if status == 403 and (found := _FORBIDDEN.search(message)):
        user, verb, resource, group = found.groups()
        who = f"service account {user.removeprefix(_ACCOUNT).replace(':', '/')!r}" if _ACCOUNT in user else f"{user!r}"
        what = f"{resource}.{group}" if group else resource
        return (
            f"The {who} may not {verb} {what} in namespace {namespace!r}; grant it "
            "(components/deployment/README.md lists every right) and run again."
        )
    if status == 401:
        return "The Kubernetes API server does not know who asks (401); renew the token or log in again."
    if status == 404 and "page not found" in message:
        return (
            f"The cluster has no {kind}; install KServe and the Gateway API (docs/kserve.md says which) and run again."
        )
    # Kubernetes quotes the whole object before it says what is wrong with it.
    if (said := message.rfind("strict decoding error")) > 0:
        message = message[said:]
    return f"The cluster refuses the {kind} ({status}): {message[:600]}"
