"""KServe's controller and a gateway, as small as the deployment step can tell: on a real API server, by real requests.

The controller writes what KServe writes (Deployments, HTTPRoutes, statuses) and pods that no node takes, whose status
says what the test wants. The gateway is an HTTP server that follows the HTTPRoutes to model servers of this process.
"""

import base64
import contextlib
import json
import random
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from components.shared.inference import PROBE
from tests.components.deployment import api_server
from tests.components.deployment.pod_server import PodServer

SERVING = "apis/serving.kserve.io/v1beta1"
GATEWAY = "apis/gateway.networking.k8s.io/v1"
DOMAIN = "example.com"
PARENT = {"namespace": "kserve", "name": "kserve-ingress-gateway"}
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


class Api:
    """The API server as the administrator sees it; paths begin below the namespace."""

    def __init__(self, kubeconfig: str, namespace: str) -> None:
        self.settings = client.Configuration()
        config.load_kube_config(kubeconfig, client_configuration=self.settings)
        self._client, self.namespace = client.ApiClient(self.settings), namespace

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        headers = {"Accept": "application/json", "Content-Type": kind}
        how: dict[str, Any] = {"response_type": "object", "auth_settings": ["BearerToken"]}
        return self._client.call_api(path, method, {}, [], headers, body, _return_http_data_only=True, **how)

    def path(self, group: str, plural: str, name: str = "") -> str:
        return f"/{group}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def all(self, group: str, plural: str) -> dict[str, Any]:
        return {one["metadata"]["name"]: one for one in self.call("GET", self.path(group, plural))["items"]}

    def get(self, group: str, plural: str, name: str) -> Any:
        return self.all(group, plural).get(name)

    def make(self, group: str, plural: str, body: Any) -> None:
        with contextlib.suppress(ApiException):
            self.call("POST", self.path(group, plural), body)

    def remove(self, group: str, plural: str, name: str) -> None:
        with contextlib.suppress(ApiException):
            self.call("DELETE", self.path(group, plural, name), {"gracePeriodSeconds": 0})

    def patch(self, group: str, plural: str, name: str, body: Any) -> None:
        with contextlib.suppress(ApiException):
            self.call("PATCH", self.path(group, plural, name), body, "application/merge-patch+json")


@dataclass
class Behaviour:
    """What this KServe can do, and how the pods of each version fare."""

    routes_canaries: bool = True
    makes_routes: bool = True
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    crashing: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Runtime to the status of its pods."""
    accepts: bool = True


class Controller(threading.Thread):
    """Bring the namespace to what its InferenceServices say, ten times a second."""

    def __init__(self, api: Api, behaviour: Behaviour) -> None:
        super().__init__(daemon=True)
        self.api, self.behaviour = api, behaviour
        self.table: dict[str, list[tuple[str, int]]] = {}
        self.restarts: list[str] = []
        self.servers: dict[str, PodServer] = {}
        """Pod to its server."""
        self._ended = threading.Event()
        self._seen: dict[str, str] = {}
        self._runtimes: dict[str, str] = {}

    def run(self) -> None:
        while not self._ended.wait(0.05):
            with contextlib.suppress(ApiException):
                self.reconcile()

    def end(self) -> None:
        self._ended.set()
        self.join()
        for server in self.servers.values():
            server.end()

    def join_pod(self, name: str, service: str, version: str, status: Any = READY) -> PodServer:
        """Bring up a pod behind a Service."""
        if name not in self.servers:
            self.servers[name] = PodServer(version)
        server = self.servers[name]
        labels, limits = {"app": f"isvc.{service}"}, {"limits": {"memory": "1Gi"}}
        container: dict[str, Any] = {"name": "kserve-container", "image": "serving", "resources": limits}
        container["ports"] = [{"containerPort": server.port, "protocol": "TCP"}]
        spec = {"containers": [container], "schedulerName": "nobody", "automountServiceAccountToken": False}
        self.api.make("api/v1", "pods", {"metadata": {"name": name, "labels": labels}, "spec": spec})
        self.api.patch("api/v1", "pods", f"{name}/status", {"status": status})
        return server

    def leave_pod(self, name: str) -> None:
        """Take a pod away."""
        self.api.remove("api/v1", "pods", name)
        self.servers.pop(name).end()

    def reconcile(self) -> None:
        services = self.api.all(SERVING, "inferenceservices")
        wanted: dict[str, Any] = {}
        routed: dict[str, Any] = {}
        for name, service in services.items():
            if not service["metadata"].get("deletionTimestamp"):
                self._service(name, service, wanted, routed)
        self._deployments(wanted)
        self._routes(routed)
        self._accept()

    def _service(self, name: str, service: Any, wanted: dict[str, Any], routed: dict[str, Any]) -> None:
        spec = service["spec"]
        stable = predictor_service(name, spec["predictor"])
        canaries = {predictor_service(name, one["predictor"]): one for one in spec.get("canary") or []}
        for deployment, predictor in {
            stable: spec["predictor"],
            **{k: v["predictor"] for k, v in canaries.items()},
        }.items():
            wanted[deployment] = (name, predictor, service["metadata"].get("annotations", {}))
        statuses = [
            {
                "name": one["predictor"]["name"],
                "ready": self._ready(deployment),
                "trafficPercent": one["trafficPercent"],
            }
            for deployment, one in canaries.items()
        ]
        if service.get("status", {}).get("canaryStatuses", []) != statuses:
            self.api.patch(SERVING, "inferenceservices", f"{name}/status", {"status": {"canaryStatuses": statuses}})
        internal = service["metadata"].get("labels", {}).get("networking.kserve.io/visibility") == "cluster-local"
        if internal or not self.behaviour.makes_routes:
            return
        found = self.api.get(GATEWAY, "httproutes", name)
        if not self._ready(stable):
            # KServe leaves a route alone while the predictor is not ready.
            if found is not None:
                routed[name] = routed[f"{name}-predictor"] = None
            return
        refs = [{"name": stable, "port": 80}]
        if canaries and self.behaviour.routes_canaries:
            there = {
                deployment: one["trafficPercent"] for deployment, one in canaries.items() if self._ready(deployment)
            }
            refs = [{"name": stable, "port": 80, "weight": 100 - sum(there.values())}]
            refs += [{"name": one, "port": 80, "weight": weight} for one, weight in there.items()]
        labels = service["metadata"].get("labels", {})
        for route in (name, f"{name}-predictor"):
            host = f"{route}-{self.api.namespace}.{DOMAIN}"
            routed[route] = {
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "HTTPRoute",
                "metadata": {"name": route, "labels": {**labels, "double": "kserve"}},
                "spec": {"parentRefs": [PARENT], "hostnames": [host], "rules": [{"backendRefs": refs}]},
            }

    def _ready(self, deployment: str) -> bool:
        pods = self.api.all("api/v1", "pods").values()
        own = [pod for pod in pods if pod["metadata"]["labels"]["app"] == f"isvc.{deployment}"]
        conditions = [one for pod in own for one in pod.get("status", {}).get("conditions", [])]
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def _deployments(self, wanted: dict[str, Any]) -> None:
        there = {n: d for n, d in self.api.all("apis/apps/v1", "deployments").items()}
        for name in there.keys() - wanted.keys():
            self.api.remove("apis/apps/v1", "deployments", name)
            self._runtimes.pop(name, None)
            if name in self.servers:
                self.leave_pod(name)
        for name, (owner, predictor, annotations) in wanted.items():
            template = json.dumps([template_of(predictor), annotations], sort_keys=True)
            if name in self._seen and self._seen[name] != template and name in there:
                self.restarts.append(name)
            self._seen[name] = template
            labels = {"app": f"isvc.{name}"}
            if name not in there:
                # A paused Deployment makes no pods of its own.
                deployment: dict[str, Any] = {"paused": True, "replicas": 1, "selector": {"matchLabels": labels}}
                container = {"name": "kserve-container", "image": "serving"}
                deployment["template"] = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
                self.api.make(
                    "apis/apps/v1",
                    "deployments",
                    {"metadata": {"name": name, "labels": {"owner": owner}}, "spec": deployment},
                )
                self.join_pod(name, name, version_of(predictor), {})
            self._roll(name, predictor)
            status = self.behaviour.pods.get(version_of(predictor), READY)
            found = self.api.get("api/v1", "pods", name)
            if found and any(found.get("status", {}).get(key) != value for key, value in status.items()):
                self.api.patch("api/v1", "pods", f"{name}/status", {"status": status})

    def _roll(self, name: str, predictor: Any) -> None:
        """Replace a pod whose runtime has changed, as a Deployment does: not before the new one is ready."""
        runtime, surge = predictor["model"]["runtime"], f"{name}-next"
        if self._runtimes.setdefault(name, runtime) == runtime:
            if surge in self.servers:
                self.leave_pod(surge)
        elif status := self.behaviour.crashing.get(runtime):
            self.join_pod(surge, name, version_of(predictor), status)
        else:
            self.join_pod(surge, name, version_of(predictor))
            self.leave_pod(name)
            self.join_pod(name, name, version_of(predictor))
            self.leave_pod(surge)
            self._runtimes[name] = runtime

    def _routes(self, routed: dict[str, Any]) -> None:
        there = self.api.all(GATEWAY, "httproutes")
        for name, route in there.items():
            if route["metadata"].get("labels", {}).get("double") == "kserve" and name not in routed:
                self.api.remove(GATEWAY, "httproutes", name)
        for name, route in routed.items():
            if route is None:
                continue
            if name not in there:
                self.api.make(GATEWAY, "httproutes", route)
            elif weights(there[name]) != weights(route):
                version = there[name]["metadata"]["resourceVersion"]
                route["metadata"]["resourceVersion"] = version
                with contextlib.suppress(ApiException):
                    self.api.call("PUT", self.api.path(GATEWAY, "httproutes", name), route)

    def _accept(self) -> None:
        """The gateway's part: take up every route, a moment after it was written."""
        routes = self.api.all(GATEWAY, "httproutes")
        # Whoever is older has the hostname, as the Gateway API says.
        by_age = sorted(routes.values(), key=lambda one: one["metadata"]["creationTimestamp"], reverse=True)
        if not self.behaviour.accepts:
            return
        self.table = {host: weights(route) for route in by_age for host in route["spec"].get("hostnames", [])}
        for name, route in routes.items():
            generation = route["metadata"]["generation"]
            now = {"status": "True", "reason": "x", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            conditions = [
                {"type": kind, "observedGeneration": generation, **now} for kind in ("Accepted", "ResolvedRefs")
            ]
            parents = [{"parentRef": PARENT, "controllerName": "double/gateway", "conditions": conditions}]
            if route.get("status", {}).get("parents", [{}])[:1] != parents:
                self.api.patch(GATEWAY, "httproutes", f"{name}/status", {"status": {"parents": parents}})


def predictor_service(name: str, predictor: Any) -> str:
    return f"{name}-{predictor['name']}-predictor" if predictor.get("name") else f"{name}-predictor"


def template_of(predictor: Any) -> dict[str, Any]:
    """What of a predictor the pods see; the number of them and the container's name are not part of it."""
    kept = {key: value for key, value in predictor.items() if "Replicas" not in key and "scale" not in key}
    return {**kept, "model": {key: value for key, value in predictor["model"].items() if key != "name"}}


def version_of(predictor: Any) -> str:
    if predictor.get("name") == "probe":
        return "probe"
    return str(predictor["labels"]["perennial/version"])


def weights(route: Any) -> list[tuple[str, int]]:
    return [(ref["name"], ref.get("weight", 1)) for ref in route["spec"]["rules"][0].get("backendRefs", [])]


class Gateway:
    """An HTTP server that follows the routes, and the model servers behind it."""

    def __init__(self, controller: Controller, scores: dict[str, list[float]]) -> None:
        self.scores = scores
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers["Content-Length"])))

            def _answer(self, body: bytes) -> None:
                is_probe = (self.headers["x-request-id"] or "").startswith(PROBE)
                host = self.headers["Host"]
                status, content = gateway.answer(controller, host, self.path, body, is_probe=is_probe)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(
        self, controller: Controller, host: str, path: str, body: bytes, *, is_probe: bool = True
    ) -> tuple[int, bytes]:
        backends = [pair for pair in controller.table.get(host, []) if pair[1] > 0]
        if not backends:
            return 404, b""
        [(service, _)] = random.choices(backends, [weight for _, weight in backends])
        deployment = controller.api.get("apis/apps/v1", "deployments", service)
        if deployment is None:
            return 500, b""
        if not controller._ready(service):
            return 503, b"no healthy upstream"
        version = service.removesuffix("-predictor").rpartition("-v")[2]
        if path.endswith("/ready"):
            good = f"/versions/{version}/" in path
            return (200 if good else 404), b"{}"
        rows = json.loads(body)["instances"]
        # While a Deployment's pod is replaced, another one answers that nobody asks what it counted.
        if (server := controller.servers.get(service)) is not None:
            server.serve(0 if is_probe else 1, score=self.scores[version][0])
        predictions = [{"score": score} for score in self.scores[version][: len(rows)]]
        return 200, json.dumps({"model_version": version, "predictions": predictions}).encode()


class Load(threading.Thread):
    """One client that never stops asking; every answer that is not one counts."""

    def __init__(self, url: str, host: str) -> None:
        super().__init__(daemon=True)
        self.url, self.host = url.removeprefix("http://"), host
        self.versions: list[str] = []
        self.lost: list[str] = []
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            connection = HTTPConnection(self.url, timeout=10)
            connection.request("POST", "/v1/models/made:predict", b'{"instances": [{}]}', {"Host": self.host})
            response = connection.getresponse()
            content = response.read()
            connection.close()
            if response.status == 200:
                self.versions.append(json.loads(content)["model_version"])
            else:
                self.lost.append(f"{response.status} {content[:80]!r}")
            time.sleep(0.02)

    def end(self) -> None:
        self._ended.set()
        self.join()


@contextlib.contextmanager
def namespace(kubeconfig: str) -> Iterator[Api]:
    """A namespace of its own, gone afterwards."""
    api = Api(kubeconfig, f"deployment-test-{uuid.uuid4().hex[:8]}")
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": api.namespace}})
    # Where no controller runs beside the API server, nobody else makes it.
    api.make("api/v1", "serviceaccounts", {"metadata": {"name": "default"}})
    try:
        yield api
    finally:
        with contextlib.suppress(ApiException):
            api.call("DELETE", f"/api/v1/namespaces/{api.namespace}")


def account(api: Api, name: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    """Make a service account with these rights; return a kubeconfig with its token."""
    rbac = "apis/rbac.authorization.k8s.io/v1"
    api.make("api/v1", "serviceaccounts", {"metadata": {"name": name}})
    api.make(rbac, "roles", {"metadata": {"name": name}, "rules": rules})
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": api.namespace}],
    }
    api.make(rbac, "rolebindings", binding)
    answer = api.call("POST", api.path("api/v1", "serviceaccounts", f"{name}/token"), {"spec": {}})
    certificate = api.settings.ssl_ca_cert
    authority = base64.b64encode(Path(certificate).read_bytes()).decode() if certificate else None
    return api_server.config(api.settings.host, answer["status"]["token"], authority)
