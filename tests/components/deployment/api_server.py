"""A double of Kubernetes' API server: objects with versions, patches and rights, in this process, over HTTP.

It stands in where there is no KUBECONFIG, so that the release tests run everywhere. It validates no schemas: unknown
fields and admission are only seen on a real one.
"""

import copy
import itertools
import json
import threading
import urllib.request
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

ADMIN = "admin"
_VERBS = {"PUT": "update", "PATCH": "patch", "DELETE": "delete", "POST": "create"}
_WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


class ApiError(Exception):
    """An answer other than success."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True)
class Request:
    """One request, taken apart."""

    method: str
    group: str
    namespace: str
    plural: str
    name: str
    subresource: str
    query: dict[str, str]
    body: Any
    kind: str
    user: str
    rest: str = ""

    @property
    def verb(self) -> str:
        return _VERBS.get(self.method) or ("get" if self.name else "list")


@dataclass
class ApiServer:
    """The objects, and what each field manager applied last."""

    objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    applied: dict[tuple[str, str, str, str, str], Any] = field(default_factory=dict)
    versions: Any = field(default_factory=lambda: itertools.count(1))
    lock: Any = field(default_factory=threading.Lock)

    def answer(self, request: Request) -> Any:
        with self.lock:
            if request.user != ADMIN:
                self._authorize(request)
            if request.plural == "namespaces":
                return self._namespace(request)
            if request.subresource != "proxy":
                return self._object(request)
        return self._proxied(request)

    def _proxied(self, request: Request) -> Any:
        """Ask a pod; each is a server of its own port on this machine."""
        name, _, port = request.name.partition(":")
        if name not in self.objects.get((request.group, request.namespace, "pods"), {}):
            raise ApiError(404, f'pods "{name}" not found')
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{request.rest}", timeout=5) as answer:
                return json.loads(answer.read())
        except OSError as error:
            raise ApiError(500, f"error trying to reach service: {error}") from error

    def _namespace(self, request: Request) -> Any:
        if request.method == "DELETE":
            for key in [key for key in self.objects if key[1] == request.name]:
                del self.objects[key]
        return request.body or {}

    def _object(self, request: Request) -> Any:
        if request.subresource == "token":
            return {"status": {"token": f"{request.namespace}/{request.name}"}}
        if request.plural == "selfsubjectreviews":
            return {"status": {"userInfo": {"username": request.user}}}
        stored = self.objects.setdefault((request.group, request.namespace, request.plural), {})
        if request.method == "POST":
            return self._create(stored, request, request.body["metadata"]["name"], request.body)
        if not request.name:
            selected = [manifest for manifest in stored.values() if _matches(manifest, request.query)]
            return {"items": copy.deepcopy(selected)}
        if request.name not in stored and request.kind.startswith("application/apply-patch"):
            return self._create(stored, request, request.name, request.body)
        if request.name not in stored or request.subresource == "log":
            raise ApiError(404, f'{request.plural} "{request.name}" not found')
        if request.method == "DELETE":
            expected = ((request.body or {}).get("preconditions") or {}).get("resourceVersion")
            if expected not in (None, stored[request.name]["metadata"]["resourceVersion"]):
                raise ApiError(409, f'the object "{request.name}" has been modified')
            return stored.pop(request.name)
        return copy.deepcopy(stored[request.name]) if request.method == "GET" else self._update(stored, request)

    def _create(self, stored: dict[str, Any], request: Request, name: str, body: Any) -> Any:
        if name in stored:
            raise ApiError(409, f'{request.plural} "{name}" already exists')
        manifest = copy.deepcopy(body)
        manifest.pop("status", None)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        manifest["metadata"] |= {"namespace": request.namespace, "generation": 1, "creationTimestamp": now}
        manifest["metadata"]["uid"] = str(uuid.uuid4())
        manifest["metadata"]["resourceVersion"] = str(next(self.versions))
        if "dryRun" not in request.query:
            stored[name] = manifest
            self._remember(request, name)
        return copy.deepcopy(manifest)

    def _update(self, stored: dict[str, Any], request: Request) -> Any:
        old = stored[request.name]
        expected = request.body.get("metadata", {}).get("resourceVersion")
        if expected is not None and expected != old["metadata"]["resourceVersion"]:
            raise ApiError(409, f'the object "{request.name}" has been modified')
        new = self._changed(old, request)
        if request.subresource == "status":
            new = {**old, "status": new.get("status", {})}
        else:
            new = {key: value for key, value in new.items() if key != "status"}
            new |= {"status": old["status"]} if "status" in old else {}
        new["metadata"] = {
            **new["metadata"],
            **{key: old["metadata"][key] for key in ("creationTimestamp", "namespace")},
        }
        new["metadata"] |= {key: old["metadata"][key] for key in ("generation", "resourceVersion", "uid")}
        if new != old:
            spec_changed = any(
                new.get(key) != old.get(key) for key in (new.keys() | old.keys()) - {"metadata", "status"}
            )
            new["metadata"]["generation"] += spec_changed
            new["metadata"]["resourceVersion"] = str(next(self.versions))
        if "dryRun" not in request.query:
            stored[request.name] = new
            self._remember(request, request.name)
        return copy.deepcopy(new)

    def _changed(self, old: Any, request: Request) -> Any:
        if request.method == "PUT":
            return copy.deepcopy(request.body)
        if not request.kind.startswith("application/apply-patch"):
            return _merged(old, request.body, null_removes=True)
        before = self.applied.get(self._owner(request, request.name))
        return _merged(_without(copy.deepcopy(old), before, request.body), request.body, null_removes=False)

    def _remember(self, request: Request, name: str) -> None:
        if request.kind.startswith("application/apply-patch"):
            self.applied[self._owner(request, name)] = copy.deepcopy(request.body)

    def _owner(self, request: Request, name: str) -> tuple[str, str, str, str, str]:
        return request.group, request.namespace, request.plural, name, request.query.get("fieldManager", "")

    def _authorize(self, request: Request) -> None:
        namespace, _, account = request.user.partition("/")
        group = request.group.split("/")[1] if request.group.startswith("apis/") else ""
        resource = request.plural + (f"/{request.subresource}" if request.subresource else "")
        roles = self.objects.get(("apis/rbac.authorization.k8s.io/v1", namespace, "roles"), {})
        rules = roles.get(account, {"rules": []})["rules"]
        for rule in rules if request.namespace == namespace else []:
            if group in rule["apiGroups"] and resource in rule["resources"] and request.verb in rule["verbs"]:
                return
        raise ApiError(
            403,
            f'{resource} is forbidden: User "system:serviceaccount:{namespace}:{account}" cannot {request.verb} '
            f'resource "{resource}" in API group "{group}" in the namespace "{request.namespace}"',
        )


def _merged(old: Any, change: Any, *, null_removes: bool) -> Any:
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    merged = dict(old) if isinstance(old, dict) else {}
    for key, value in change.items():
        if value is None and null_removes:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value, null_removes=null_removes)
    return merged


def _without(manifest: Any, before: Any, now: Any) -> Any:
    """Remove the fields that the manager applied before and does not apply now."""
    if not (isinstance(manifest, dict) and isinstance(before, dict) and isinstance(now, dict)):
        return manifest
    for key, value in before.items():
        if key not in now:
            manifest.pop(key, None)
        elif key in manifest:
            manifest[key] = _without(manifest[key], value, now[key])
    return manifest


def _matches(manifest: Any, query: dict[str, str]) -> bool:
    labels = manifest["metadata"].get("labels") or {}
    wanted = dict(pair.split("=", 1) for pair in query.get("labelSelector", "").split(",") if pair)
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    for pair in (pair for pair in query.get("fieldSelector", "").split(",") if pair):
        path, _, value = pair.partition("=")
        node: Any = manifest
        for part in path.split("."):
            node = (node or {}).get(part)
        if node != value:
            return False
    return True


def start(folder: Path) -> tuple[Path, ThreadingHTTPServer]:
    """Start one; return a kubeconfig that names it, and the server to shut down."""
    server = ApiServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body are two writes; without this each answer waits 40 ms for an acknowledgement.
        disable_nagle_algorithm = True

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                code, content = 200, server.answer(self._request(body)) if self.path != _WEBHOOKS else {"items": []}
            except ApiError as error:
                code, content = error.code, {"kind": "Status", "code": error.code, "message": error.message}
            encoded = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

        def _request(self, body: bytes) -> Request:
            address = urlsplit(self.path)
            group, _, rest = address.path.strip("/").partition("/namespaces")
            parts = [*rest.strip("/").split("/"), "", "", "", ""]
            if address.path.endswith("/selfsubjectreviews"):
                namespace, plural, name, subresource = "", "selfsubjectreviews", "", ""
            elif parts[1] == "":
                namespace, plural, name, subresource = "", "namespaces", parts[0], ""
            else:
                namespace, plural, name, subresource = parts[:4]
            query = {key: values[0] for key, values in parse_qs(address.query).items()}
            user = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            kind = self.headers.get("Content-Type") or ""
            content = json.loads(body) if body else None
            rest = "/".join(parts[4:]).rstrip("/")
            return Request(self.command, group, namespace, plural, name, subresource, query, content, kind, user, rest)

        def log_message(self, *_: object) -> None:
            pass

    class Threads(ThreadingHTTPServer):
        daemon_threads = True

    http = Threads(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps(config(f"http://127.0.0.1:{http.server_port}", ADMIN)))
    return kubeconfig, http


def config(server: str, token: str, authority: str | None = None) -> dict[str, Any]:
    """Describe a kubeconfig with a token."""
    cluster = {"server": server, **({"certificate-authority-data": authority} if authority else {})}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": cluster}],
        "users": [{"name": "x", "user": {"token": token}}],
    }
