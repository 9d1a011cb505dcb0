"""An in-process Cloud Storage, and the metadata server that gives a container its token.

It is strict: another bucket, a wrong token, an unknown parameter and a generation that is not the current one are
refused.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "a-token-of-the-container"
_PAGE = 2


class CloudStorageDouble:
    """One bucket.

    Args:
        bucket: Its name.
        token: What a request must bear.
    """

    def __init__(self, bucket: str, token: str = TOKEN) -> None:
        self.bucket, self.token = bucket, token
        self.renew({})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.origin = f"http://{self.host}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def renew(self, objects: dict[str, bytes]) -> None:
        """Forget everything, and hold these objects."""
        self.objects = dict(objects)
        self.generations = dict.fromkeys(objects, 1)
        self.busy, self.forbidden, self.lose_answers = 0, False, 0
        self._lock = threading.Lock()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def environment(self) -> dict[str, str]:
        """Return the variables by which Google's libraries find this server."""
        names = ("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT")
        return dict.fromkeys(names, self.host) | {"STORAGE_EMULATOR_HOST": self.origin}

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, int]:
        """Return status, content and generation."""
        address = urlsplit(path)
        if "/storage/" not in address.path:
            assert headers["metadata-flavor"] == "Google"
            if address.path.endswith("/token"):
                token = {"access_token": self.token, "expires_in": 3600, "token_type": "Bearer"}
                return 200, json.dumps(token).encode(), 0
            if address.path.endswith("/project-id"):
                return 200, b"my-project", 0
            account = {"email": "models@my-project", "scopes": [], "aliases": ["default"]}
            return 200, json.dumps(account).encode(), 0
        if headers.get("authorization") != f"Bearer {self.token}" or self.forbidden:
            return 403, b"{}", 0
        if self.busy:
            self.busy -= 1
            return 503, b"{}", 0
        query = {name: value for name, (value,) in parse_qs(address.query).items()}
        with self._lock:
            if method == "POST":
                return self._write(address.path, query, body)
            return self._read(address.path, query)

    def _write(self, path: str, query: dict[str, str], body: bytes) -> tuple[int, bytes, int]:
        assert path == f"/upload/storage/v1/b/{self.bucket}/o", path
        assert query.keys() - {"ifGenerationMatch"} == {"uploadType", "name"} and query["uploadType"] == "media"
        name = query["name"]
        if int(query.get("ifGenerationMatch", self.generations.get(name, 0))) != self.generations.get(name, 0):
            return 412, b"{}", 0
        self.objects[name] = body
        self.generations[name] = self.generations.get(name, 0) + 1
        if self.lose_answers:
            self.lose_answers -= 1
            return 503, b"{}", 0
        return 200, json.dumps({"name": name, "generation": str(self.generations[name])}).encode(), 0

    def _read(self, path: str, query: dict[str, str]) -> tuple[int, bytes, int]:
        parts = path.split("/")
        assert parts[:6] == ["", "storage", "v1", "b", self.bucket, "o"], path
        if len(parts) == 7:
            assert query == {"alt": "media"}
            name = unquote(parts[6])
            if name not in self.objects:
                return 404, b"{}", 0
            return 200, self.objects[name], self.generations[name]
        assert query.keys() - {"pageToken"} == {"prefix", "fields"}
        names = sorted(name for name in self.objects if name.startswith(query["prefix"]))
        begin = int(query.get("pageToken", "0"))
        page: dict[str, Any] = {"items": [{"name": name} for name in names[begin : begin + _PAGE]]}
        if begin + _PAGE < len(names):
            page["nextPageToken"] = str(begin + _PAGE)
        return 200, json.dumps(page).encode(), 0


def _handler(double: CloudStorageDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, body: bytes) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, content, generation = double.answer(self.command, self.path, headers, body)
            self.send_response(status)
            self.send_header("Metadata-Flavor", "Google")
            self.send_header("x-goog-generation", str(generation))
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", "application/json" if content[:1] == b"{" else "text/plain")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler
