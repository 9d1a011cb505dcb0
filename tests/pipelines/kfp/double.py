"""A double of KFP's API server that answers with what a real one said, and the recorder that took its words down.

A recording is a list of exchanges. One that only reads may be asked for again and again; one that changes something
moves the double on: what a run's state was before it was ended is not told after. A request that the real server was
never asked, and a field that its API does not know, are refused and noted; the test fails by them.
"""

import json
import re
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import kfp_server_api as api
import urllib3

FOLDER = Path(__file__).parent / "recordings"
_BODIES = {
    "/apis/v2beta1/pipelines": api.V2beta1Pipeline,
    "/apis/v2beta1/experiments": api.V2beta1Experiment,
    "/apis/v2beta1/runs": api.V2beta1Run,
    "/apis/v2beta1/recurringruns": api.V2beta1RecurringRun,
}
# Requests that are answered as before while another one's turn is awaited that may not come.
_PATIENCE = 20
# What a test sends differs from the recording in these: a hash, where the content was changed since.
_CONTENT = re.compile(r"[0-9a-f]{64}")


class Endpoint(ThreadingHTTPServer):
    """An HTTP server on loopback that hands every request to ``reply``."""

    daemon_threads = True

    def __init__(self) -> None:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = urlsplit(self.path)
                query = dict(parse_qsl(parts.query, keep_blank_values=True))
                answer = endpoint.reply(self.command, parts.path, query, body, dict(self.headers))
                content = answer["body"]
                data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
                self.send_response(answer["status"])
                self.send_header("Content-Type", answer["type"])
                self.send_header("Content-Length", str(len(data)))
                for name, value in answer.get("headers", {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = handle_any

            def log_message(self, format: str, *args: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def reply(
        self, method: str, path: str, query: dict[str, Any], body: bytes, headers: dict[str, Any]
    ) -> dict[str, Any]:
        """Answer a request with ``status``, ``type`` and ``body``."""
        raise NotImplementedError


class Recorder(Endpoint):
    """Passes every request on to a real server and notes both."""

    def __init__(self, upstream: str, name: str) -> None:
        self._upstream, self._file = upstream.rstrip("/"), FOLDER / f"{name}.json"
        self._exchanges: list[dict[str, Any]] = []
        self._pool, self._lock = urllib3.PoolManager(), threading.Lock()
        super().__init__()

    def reply(
        self, method: str, path: str, query: dict[str, Any], body: bytes, headers: dict[str, Any]
    ) -> dict[str, Any]:
        with self._lock:
            sent = {name: value for name, value in headers.items() if name.lower() not in ("host", "content-length")}
            url = f"{self._upstream}{path}"
            answer = self._pool.request(
                method, url + ("?" + urlencode(query) if query else ""), body=body, headers=sent
            )
            type_ = answer.headers.get("Content-Type", "application/json").partition(";")[0]
            text = answer.data.decode("utf-8", "replace")
            content = json.loads(text) if type_ == "application/json" and text else text
            entry = {"method": method, "path": path, "query": query, "status": answer.status, "type": type_}
            if body:
                entry["sent"] = (
                    _structure(json.loads(body)) if headers.get("Content-Type") == "application/json" else "file"
                )
            self._exchanges.append(entry | {"body": _pruned(path, content)})
            return {"status": answer.status, "type": type_, "body": content if type_ == "application/json" else text}

    def save(self) -> None:
        """Write what was noted; of equal answers one after the other, one."""
        kept: list[dict[str, Any]] = []
        latest: dict[str, Any] = {}
        for entry in self._exchanges:
            if entry["method"] != "GET":
                latest.clear()
            key = json.dumps([entry["method"], entry["path"], entry["query"]], sort_keys=True)
            if entry["method"] != "GET" or latest.get(key) != entry:
                kept.append(entry)
            latest[key] = entry
        FOLDER.mkdir(exist_ok=True)
        self._file.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


class Double(Endpoint):
    """Answers with a recording; ``problems`` is what a real server would not have understood."""

    def __init__(self, name: str, page_sizes: Sequence[int] = (), ended: bool = False) -> None:
        """Answer with the recording of a scenario.

        Args:
            name: The scenario.
            page_sizes: Sizes of pages in which the one run of the recording is listed, too: as it was told of last.
            ended: Begin at the end of the recording, when its run has ended.
        """
        self._exchanges = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        self._exchanges += [_listed(self._exchanges, size) for size in page_sizes]
        self._at, self._lock = len(self._exchanges) if ended else 0, threading.Lock()
        self._repeated = 0
        self._content: dict[str, str] = {}
        self.problems: list[str] = []
        super().__init__()

    def reply(
        self, method: str, path: str, query: dict[str, Any], body: bytes, headers: dict[str, Any]
    ) -> dict[str, Any]:
        with self._lock:
            json_body = json.loads(body) if body and headers.get("Content-Type") == "application/json" else None
            found = self._find(method, path, query)
            if found is None:
                return self._refuse(404, f"{method} {path} {query} was never recorded here")
            entry = self._exchanges[found]
            if json_body is not None and _structure(json_body) != entry.get("sent"):
                unknown = ", ".join(_unknown(method, path, json_body))
                return self._refuse(400, f"{method} {path} {unknown or f'was not recorded with this body: {body!r}'}")
            self._learn(entry["query"], query)
            text = json.dumps(entry["body"])
            for recorded, now in self._content.items():
                text = text.replace(recorded, now)
            return {"status": entry["status"], "type": entry["type"], "body": json.loads(text)}

    def _find(self, method: str, path: str, query: dict[str, Any]) -> int | None:
        """Find the exchange that a request repeats: ahead as far as the next change, or else the latest before."""

        def same(index: int) -> bool:
            entry = self._exchanges[index]
            return (method, path) == (entry["method"], entry["path"]) and _masked(query) == _masked(entry["query"])

        changes = [i for i in range(self._at, len(self._exchanges)) if self._exchanges[i]["method"] != "GET"]
        if method != "GET":
            if changes and same(changes[0]):
                self._at = changes[0] + 1
                return changes[0]
            return None
        # What was asked for in turns changes in turns: a run has not failed before its last pod was seen to.
        end = changes[0] if changes else len(self._exchanges)
        fresh = [i for i in range(self._at, end) if same(i)]
        before = [i for i in range(self._at) if same(i)]
        self._repeated += 1
        if fresh and (fresh[0] == self._at or not before or self._repeated > _PATIENCE):
            self._at, self._repeated = fresh[0] + 1, 0
            return fresh[0]
        return before[-1] if before else None

    def _learn(self, recorded: dict[str, Any], now: dict[str, Any]) -> None:
        """Remember which hash stands for which in the recording."""
        for name, value in recorded.items():
            for old, new in zip(_CONTENT.findall(value), _CONTENT.findall(now[name]), strict=True):
                self._content[old] = new

    def _refuse(self, status: int, problem: str) -> dict[str, Any]:
        self.problems.append(problem)
        return {"status": status, "type": "application/json", "body": {"code": 3, "message": f"double: {problem}"}}


def _listed(exchanges: list[dict[str, Any]], page_size: int) -> dict[str, Any]:
    """Make a list of the last answer about a run: an element of a list has the fields of a single answer."""
    run = next(e for e in reversed(exchanges) if e["method"] == "GET" and "/v2beta1/runs/" in e["path"])["body"]
    query = {"experiment_id": run["experiment_id"], "page_size": str(page_size), "page_token": ""}
    return {
        "method": "GET",
        "path": "/apis/v2beta1/runs",
        "query": query | {"sort_by": "created_at desc"},
        "status": 200,
        "type": "application/json",
        "body": {"runs": [run], "total_size": 1},
    }


def _masked(query: dict[str, Any]) -> dict[str, Any]:
    return {name: _CONTENT.sub("#", value) for name, value in query.items()}


def _unknown(method: str, path: str, body: Any) -> Iterator[str]:
    """Find fields that the API does not know, by the models of the client's own package."""
    if body is None or method != "POST":
        return
    if path not in _BODIES:
        if body:
            yield f"takes no body, got {sorted(body)}"
        return
    yield from _unknown_fields(body, _BODIES[path])


def _unknown_fields(value: Any, model: Any, where: str = "") -> Iterator[str]:
    names = {json_name: name for name, json_name in model.attribute_map.items()}
    for key, inner in value.items():
        if key not in names:
            yield f"there is no field {where}{key}"
            continue
        type_ = getattr(api, model.openapi_types[names[key]], None)
        if isinstance(inner, dict) and hasattr(type_, "attribute_map"):
            yield from _unknown_fields(inner, type_, f"{where}{key}.")


def _structure(value: Any) -> Any:
    """Keep of a body which fields it has."""
    return (
        {name: _structure(inner) for name, inner in value.items()} if isinstance(value, dict) else type(value).__name__
    )


def _pruned(path: str, content: Any) -> Any:
    """Leave out what nobody here reads and what repeats the pipeline: an answer stays what it is, only shorter."""
    if re.fullmatch(r"/apis/v2beta1/runs/[^/:]+", path) and isinstance(content, dict):
        return {name: value for name, value in content.items() if name not in ("pipeline_spec", "run_details")}
    if re.fullmatch(r"/apis/v1beta1/runs/[^/:]+", path) and isinstance(content, dict) and "pipeline_runtime" in content:
        workflow = json.loads(content["pipeline_runtime"].get("workflow_manifest") or "{}")
        status = workflow.get("status", {})
        fields = ("id", "name", "displayName", "type", "templateName", "phase", "message", "startedAt", "finishedAt")
        nodes = {
            id_: {name: node[name] for name in fields if name in node} for id_, node in status.get("nodes", {}).items()
        }
        short = {
            "metadata": {"name": workflow.get("metadata", {}).get("name", "")},
            "status": {name: status[name] for name in ("phase", "message") if name in status} | {"nodes": nodes},
        }
        return {"pipeline_runtime": {"workflow_manifest": json.dumps(short)}}
    if path == "/apis/v2beta1/runs" and isinstance(content, dict):
        return content | {"runs": [_pruned(f"{path}/x", run) for run in content.get("runs", [])]}
    return content
