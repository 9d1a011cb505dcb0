"""All access to the Kubernetes API: few kinds, few verbs, and a message for whatever it refuses.

Objects are plain dicts. The client's own typed and dynamic interfaces are not used: the former has no custom
resources, the latter can't request strict validation.
"""

import json
import os
import re
from collections.abc import Callable
from typing import Any

from components.shared import inference
from components.shared.errors import InputError, StepFailed
from components.shared.hosts import bracketed

Manifest = dict[str, Any]

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
_ASK_S = 5.0
_FORBIDDEN = re.compile(r'User "([^"]+)" cannot (\w+) resource "([^"]+)" in API group "([^"]*)"')
_ACCOUNT = "system:serviceaccount:"


class ApiRefused(StepFailed):
    """The API server answered with an error; ``status`` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
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
        self._inside = bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and not os.environ.get("KUBECONFIG")
        self._api = _connected(inside=self._inside)

    def get(self, kind: str, name: str, *, namespace: str | None = None) -> Manifest | None:
        """Return an object, or None."""
        try:
            return self._object("GET", self._path(kind, name, namespace), kind)
        except ApiRefused as refused:
            if refused.status == 404:
                return None
            raise

    def find(self, kind: str, *, labels: str = "", fields: str = "") -> list[Manifest]:
        """Return the objects that both selectors match."""
        query = [("labelSelector", labels), ("fieldSelector", fields)]
        listing = self._call("GET", self._path(kind), kind, [pair for pair in query if pair[1]])
        return list(listing["items"])

    def apply(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """Create or change an object so that it has the fields of the manifest (server-side apply)."""
        self.guard()
        query = [("fieldManager", MANAGER), ("fieldValidation", "Strict"), ("force", "true")]
        query += [("dryRun", "All")] if dry_run else []
        path = self._path(manifest["kind"], manifest["metadata"]["name"])
        return self._object("PATCH", path, manifest["kind"], query, manifest, "application/apply-patch+yaml")

    def merge(self, kind: str, name: str, change: Manifest) -> Manifest:
        """Change the fields that are named, and no other."""
        self.guard()
        query = [("fieldManager", MANAGER), ("fieldValidation", "Strict")]
        return self._object("PATCH", self._path(kind, name), kind, query, change, "application/merge-patch+json")

    def delete(self, kind: str, name: str, *, version: str | None = None) -> None:
        """Delete an object with what it owns; one that is not there is deleted already.

        Args:
            kind: Its kind.
            name: Its name.
            version: Its ``resourceVersion``: status 409 if somebody changed it since it was read. None deletes any.
        """
        self.guard()
        body = None if version is None else {"preconditions": {"resourceVersion": version}}
        try:
            self._call("DELETE", self._path(kind, name), kind, [("propagationPolicy", "Background")], body)
        except ApiRefused as refused:
            if refused.status != 404:
                raise

    def create(self, manifest: Manifest) -> Manifest:
        """Create an object; status 409 if it is there."""
        return self._object("POST", self._path(manifest["kind"]), manifest["kind"], body=manifest)

    def replace(self, manifest: Manifest) -> Manifest:
        """Replace an object; status 409 if somebody else changed it since it was read."""
        path = self._path(manifest["kind"], manifest["metadata"]["name"])
        return self._object("PUT", path, manifest["kind"], body=manifest)

    def log(self, pod: str, container: str, *, previous: bool) -> list[str]:
        """Return the last lines that a container wrote; none where its log is gone, which is no error to the node."""
        query = [("container", container), ("tailLines", "20"), ("previous", "true" if previous else "false")]
        text = self._call("GET", f"{self._path('Pod', pod)}/log", "Pod", query, answer="str")
        lines = [line.strip() for line in str(text).splitlines()]
        return [line for line in lines if line and not line.startswith("unable to retrieve container logs")]

    def ask(self, pod: Manifest, port: int, path: str) -> Manifest:
        """Return what a pod's server answers to a GET: asked by its address, or from outside through the API server.

        Raises:
            StepFailed: If it does not answer with status 200 and an object.
        """
        name = pod["metadata"]["name"]
        if not self._inside:
            answer = self._call("GET", f"{self._path('Pod', f'{name}:{port}')}/proxy{path}", "Pod")
            return dict(answer) if isinstance(answer, dict) else {}
        status, content = inference.call(
            f"http://{bracketed(str(pod['status'].get('podIP')))}:{port}", path, timeout_s=_ASK_S
        )
        if status != 200:
            raise StepFailed(f"the pod {name} answers with status {status}.")
        return content

    def account(self) -> str:
        """Return the account as which the API server knows this process."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        answer = self._object("POST", path, "SelfSubjectReview", body=review)
        return str(answer["status"]["userInfo"]["username"])

    def _path(self, kind: str, name: str | None = None, namespace: str | None = None) -> str:
        prefix, plural = _KINDS[kind]
        return f"/{prefix}/namespaces/{namespace or self.namespace}/{plural}" + (f"/{name}" if name else "")

    def _object(self, method: str, path: str, kind: str, *arguments: Any, **options: Any) -> Manifest:
        """Call the API server where it answers with one object."""
        manifest: Manifest = self._call(method, path, kind, *arguments, **options)
        return manifest

    def _call(
        self,
        method: str,
        path: str,
        kind: str,
        query: list[tuple[str, str]] | None = None,
        body: Manifest | None = None,
        content_type: str = "application/json",
        answer: str = "object",
    ) -> Any:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        headers = {"Accept": "application/json", "Content-Type": content_type}
        options: dict[str, Any] = {
            "response_type": answer,
            "auth_settings": ["BearerToken"],
            "_return_http_data_only": True,
            "_request_timeout": _TIMEOUT_S,
        }
        try:
            return self._api.call_api(path, method, {}, query or [], headers, body, **options)
        except ApiException as refused:
            status = int(refused.status or 0)
            raise ApiRefused(_message(refused, status, kind, self.namespace), status) from refused
        except HTTPError as broken:
            raise StepFailed(
                f"the Kubernetes API server at {self._api.configuration.host} does not answer ({broken}); "
                "check that it runs and that this process can reach it, and run again."
            ) from broken


def _connected(*, inside: bool) -> Any:
    import urllib3
    from kubernetes import client, config

    settings = client.Configuration()
    try:
        if inside:
            config.load_incluster_config(client_configuration=settings)
        else:
            config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=settings)
    except config.ConfigException as absent:
        raise InputError(
            f"no cluster is configured here ({absent}); set KUBECONFIG, or run where a service account's token is."
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


def _message(refused: Any, status: int, kind: str, namespace: str) -> str:
    try:
        message = str(json.loads(refused.body)["message"])
    except (TypeError, ValueError, KeyError):
        message = " ".join(str(refused.body or refused.reason).split())[:300]
    if status == 403 and (match := _FORBIDDEN.search(message)):
        user, verb, resource, group = match.groups()
        who = f"service account {user.removeprefix(_ACCOUNT).replace(':', '/')!r}" if _ACCOUNT in user else f"{user!r}"
        resource_type = f"{resource}.{group}" if group else resource
        return (
            f"the {who} may not {verb} {resource_type} in namespace {namespace!r}; grant it "
            "(components/deployment/README.md lists every right) and run again."
        )
    if status == 401:
        return "the Kubernetes API server does not accept the credentials (401); renew the token or log in again."
    if status == 404 and "page not found" in message:
        return (
            f"the cluster has no {kind}; install KServe and the Gateway API (docs/kserve.md says which) and run again."
        )
    # Kubernetes quotes the whole object before it says what is wrong with it.
    if (start := message.rfind("strict decoding error")) > 0:
        message = message[start:]
    return f"the cluster refuses the {kind} ({status}): {message[:600]}"
