"""The model server of one pod, as far as its counts go: the server's own counter behind its own path."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from serving.counting import TrafficCounter


class PodServer:
    """Counts requests of one version, and tells what it counted.

    Args:
        version: What it serves.
    """

    def __init__(self, version: str) -> None:
        self.version, self.answers = version, True
        self.hold: Callable[[], object] = lambda: None
        """Called before each answer; what it waits for delays the answer."""
        self.start()
        pod = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pod.hold()
                good = pod.answers and self.path.endswith("/stats")
                content = pod.counter.read().model_dump_json().encode() if good else json.dumps({}).encode()
                self.send_response(200 if good else 503)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        class Threads(ThreadingHTTPServer):
            daemon_threads = True

        self._http = Threads(("127.0.0.1", 0), Handler)
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def start(self) -> None:
        """Count from nothing, as a container does that was started again."""
        self.counter = TrafficCounter()
        self.counter.always(self.version)

    def serve(self, answered: int, *, failed: int = 0, score: float = 0.5) -> None:
        """Let requests come."""
        for _ in range(answered):
            self.counter.answered(self.version, 0.001, np.array([score]))
        for _ in range(failed):
            self.counter.refused(self.version, "bug")

    def end(self) -> None:
        self._http.shutdown()
        self._http.server_close()
