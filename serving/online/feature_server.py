"""A client of Feast's feature server: the newest row that the online store has of an entity, by view."""

import contextlib
import http.client
import json
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from components.shared.errors import InputError
from serving.refusal import RequestRefused

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PATH = "/get-online-features"
_RETRY_S = 1


class StoredRow(NamedTuple):
    """A row of the online store; ``event_time_us`` is microseconds since 1970 in UTC, None is a missing value."""

    event_time_us: int
    values: dict[str, Any]


class FeatureServer:
    """Reads from a feature server over HTTP; any number of threads may, each keeps its connection.

    Args:
        url: Its address, as http://host:port.
        timeout_s: Longest wait for it to accept a connection, and for each part of its answer.

    Raises:
        InputError: If the address is not valid.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise InputError(f"the feature server's address is {url!r}; expected http://host:port.")
        self._connect = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._path = address.hostname, address.port, address.path.rstrip("/") + _PATH
        self._url, self._timeout_s = f"{address.scheme}://{address.netloc.rpartition('@')[2]}", timeout_s
        self._threads = threading.local()

    def read(
        self, join_key: str, entities: Sequence[str | int], features: Mapping[str, Sequence[str]]
    ) -> dict[str, list[StoredRow | None]]:
        """Return for each view one row per entity; None where the store has no row.

        Args:
            join_key: Feast's name of the entity.
            entities: Whom to read, each once.
            features: View to the features to read, at least one.

        Raises:
            RequestRefused: 503 if the server does not answer in time, or not as expected.
        """
        names = [f"{view}:{feature}" for view, columns in features.items() for feature in columns]
        question = {"features": names, "entities": {join_key: list(entities)}, "full_feature_names": True}
        status, content = self._post(json.dumps(question).encode())
        try:
            answer = json.loads(content)
            if status != 200:
                raise self._failed(f"it answers with status {status}: {_reason(answer)}")
            vectors = dict(zip(answer["metadata"]["feature_names"], answer["results"], strict=True))
            return {view: _rows(vectors, view, columns, len(entities)) for view, columns in features.items()}
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise self._failed(f"its answer is not that of a feature server ({error!r})") from error

    def _post(self, body: bytes) -> tuple[int, bytes]:
        """Send one request; a connection that the server closed since the last one is opened again, once."""
        reused: http.client.HTTPConnection | None = getattr(self._threads, "connection", None)
        try:
            if reused is not None:
                try:
                    return self._ask(reused, body)
                except (ConnectionError, http.client.BadStatusLine):
                    pass
            self._threads.connection = self._connect(self._host, self._port, timeout=self._timeout_s)
            return self._ask(self._threads.connection, body)
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(str(error) or type(error).__name__) from error

    def _ask(self, connection: http.client.HTTPConnection, body: bytes) -> tuple[int, bytes]:
        try:
            connection.request("POST", self._path, body=body, headers={"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        except BaseException:
            connection.close()
            self._threads.connection = None
            raise

    def _failed(self, reason: str) -> RequestRefused:
        return RequestRefused(
            503,
            f"the features could not be looked up: the feature server at {self._url} fails ({reason}); ask again, or "
            "send the features.",
            "lookup",
            retry_s=_RETRY_S,
        )


def _rows(vectors: Mapping[str, Any], view: str, columns: Sequence[str], count: int) -> list[StoredRow | None]:
    theirs = {name: vectors[f"{view}__{name}"] for name in columns}
    return [_row({name: _cell(vector, index) for name, vector in theirs.items()}) for index in range(count)]


def _cell(vector: Mapping[str, Any], index: int) -> tuple[Any, int] | None:
    """Return a value and its event time; None where the store has no row.

    Some stores call the nulls of a row that they don't have PRESENT; such a row has the time zero.
    """
    value, status = vector["values"][index], vector["statuses"][index]
    moment = (datetime.fromisoformat(vector["event_timestamps"][index]) - _EPOCH) // _MICROSECOND
    return None if status == "NOT_FOUND" or (value is None and not moment) else (value, moment)


def _row(cells: Mapping[str, tuple[Any, int] | None]) -> StoredRow | None:
    present = {name: cell for name, cell in cells.items() if cell is not None}
    if not present:
        return None
    moment = max(moment for _, moment in present.values())
    return StoredRow(moment, dict.fromkeys(cells) | {name: value for name, (value, _) in present.items()})


def _reason(answer: Any) -> str:
    """Shorten what Feast says of an error: a text that is JSON itself."""
    with contextlib.suppress(TypeError, ValueError, KeyError):
        answer = json.loads(answer)["message"]
    return " ".join(str(answer).split())[:200]
