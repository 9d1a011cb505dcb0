"""Answers as Feast's feature server 0.67 does: recorded shapes around rows that a test chooses.

``tests/components/materialization/test_lookup.py`` asks the real one the same questions.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_ZERO = "1970-01-01T00:00:00Z"


@dataclass
class Store:
    """The online store, and how its server behaves.

    Attributes:
        rows: View, then entity, to the event time and the values of its row.
        absent: What the server says of a row that it does not have; Redis's says PRESENT of an empty store.
        failure: Status and body of every answer instead.
        held: Answers wait until it is set; None answers at once.
        asked: The questions so far.
    """

    rows: dict[str, dict[Any, tuple[datetime, dict[str, Any]]]] = field(default_factory=dict)
    absent: str = "NOT_FOUND"
    failure: tuple[int, Any] | None = None
    held: threading.Event | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, question: dict[str, Any]) -> tuple[int, Any]:
        """Return status and document of the answer to a question."""
        self.asked.append(question)
        if self.held is not None:
            self.held.wait(10)
        if self.failure is not None:
            return self.failure
        [(join_key, entities)] = question["entities"].items()
        names = [join_key, *(name.replace(":", "__") for name in question["features"])]
        present = ["PRESENT"] * len(entities)
        vectors = [{"values": entities, "statuses": present, "event_timestamps": [_ZERO] * len(entities)}]
        for name in question["features"]:
            view, _, feature = name.partition(":")
            cells = [self._cell(view, feature, entity) for entity in entities]
            values, statuses, times = zip(*cells, strict=True)
            vectors.append({"values": values, "statuses": statuses, "event_timestamps": times})
        return 200, {"results": vectors, "metadata": {"feature_names": names}}

    def _cell(self, view: str, feature: str, entity: Any) -> tuple[Any, str, str]:
        if entity not in self.rows.get(view, {}):
            return None, self.absent, _ZERO
        moment, values = self.rows[view][entity]
        return values[feature], "PRESENT", moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


@contextlib.contextmanager
def serving(store: Store) -> Iterator[str]:
    """Serve a store until the context is left; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Otherwise the head and the body of an answer wait for each other.
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, document = store.answer(json.loads(body))
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
