"""Send one request to a model server over its V1 protocol, without a client library and without a proxy."""

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

from components.shared.errors import InputError, StepFailed


@dataclass(frozen=True)
class Subject:
    """Whom rows are about, so that the server looks up what they leave out.

    ``event_time`` is the moment that the features describe, ISO 8601 with a time zone; None is the time of the request.
    """

    entity: tuple[str, ...]
    event_time: str | None = None


PROBE = "perennial-probe-"
"""How the id of a request begins that tests a release; monitoring leaves it out."""


def predict(
    rest_url: str,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    version: str | None = None,
    host: str | None = None,
    request_id: str | None = None,
    entity: Sequence[str] | None = None,
    event_time: str | None = None,
    explains: bool = False,
    interval: float | None = None,
    subject: Subject | None = None,
    timeout_s: float = 30.0,
) -> dict[str, Any]:
    """Request the predictions of rows.

    Args:
        rest_url: Address of the server, as http://host:port.
        name: The model.
        rows: One object of features per row; a server with online features looks up what is left out.
        version: Request this release; None lets the server choose.
        host: Host header for a gateway at ``rest_url``; None is the address itself.
        request_id: Id of the request; None lets the server choose.
        entity: Whom each row describes, for the log.
        event_time: The time that the rows describe, ISO 8601 with a time zone; None is the time of the request.
        explains: Ask what each feature contributed, too.
        interval: Ask for the interval or set that holds this share of labels, too; above 0 and below 1.
        subject: The same as ``entity`` and ``event_time``, for a lookup: ask for the features that were scored, too.
        timeout_s: Longest wait for the answer.

    Returns:
        ``{"model_name", "model_version", "classes", "positive", "predictions": [{"score", "decision",
        "out_of_vocabulary"}]}``; ``classes`` is absent for a regression, ``positive`` unless the task is binary.
        A prediction that is explained also has ``margin``, ``base``, ``contributions`` and ``contribution_errors``;
        one with an interval ``lower`` and ``upper``, or ``set``; one with a subject ``features``, and ``feature_ages``
        where they were looked up.

    Raises:
        InputError: If the server refuses the rows; the message is the server's.
        StepFailed: If no server answers, or it fails.
    """
    path = f"/v1/models/{quote(name, safe='')}" + (f"/versions/{quote(version, safe='')}" if version else "")
    try:
        if subject is not None:
            entity, event_time = subject.entity, subject.event_time
        entities = None if entity is None else list(entity)
        optional = {"entity": entities, "event_time": event_time, "interval": interval}
        optional["return_features"] = True if subject is not None else None
        document = {"instances": list(rows)} | {name: value for name, value in optional.items() if value is not None}
        body = json.dumps(document, allow_nan=False).encode()
    except ValueError as error:
        raise InputError(f"a row contains NaN or an infinity ({error}); send null for a missing value.") from error
    path += ":explain" if explains else ":predict"
    status, answer = call(rest_url, path, body=body, host=host, request_id=request_id, timeout_s=timeout_s)
    if status == 200:
        return answer
    sentence = str(answer.get("error", f"it gave no reason (status {status})"))
    if 400 <= status < 500:
        raise InputError(sentence)
    raise StepFailed(f"the model server at {_shown(urlsplit(rest_url))} did not answer: {sentence}")


def largest_first(contributions: Mapping[str, Any]) -> dict[str, Any]:
    """Order what features contributed by its size, whatever its sign and the class.

    >>> largest_first({"age": 0.1, "plan": -0.7})
    {'plan': -0.7, 'age': 0.1}
    """

    def size(name: str) -> float:
        value = contributions[name]
        return max(map(abs, value)) if isinstance(value, list) else float(abs(value))

    return {name: contributions[name] for name in sorted(contributions, key=size, reverse=True)}


def _shown(address: SplitResult) -> str:
    """Write an address without its token."""
    return address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()


def call(
    rest_url: str,
    path: str,
    *,
    body: bytes | None = None,
    host: str | None = None,
    request_id: str | None = None,
    timeout_s: float = 5.0,
) -> tuple[int, dict[str, Any]]:
    """Send one request; return its status and JSON object.

    A user in the address, as in ``http://TOKEN@host``, is sent as the bearer token.

    Raises:
        StepFailed: If nothing answers there, or not in JSON.
    """
    address = urlsplit(rest_url)
    connect = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = connect(address.hostname or "", address.port, timeout=timeout_s)
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if host is not None:
            headers["Host"] = host
        if request_id is not None:
            headers["X-Request-Id"] = request_id
        if address.username is not None:
            headers["Authorization"] = f"Bearer {address.username}"
        connection.request("GET" if body is None else "POST", path, body=body, headers=headers)
        response = connection.getresponse()
        document = json.loads(response.read() or b"{}")
        return response.status, document if isinstance(document, dict) else {"answer": document}
    except (OSError, http.client.HTTPException) as error:
        raise StepFailed(
            f"no model server answers at {_shown(address)} ({error}); start one with 'perennial serve'."
        ) from error
    except ValueError as error:
        raise StepFailed(
            f"the server at {_shown(address)} is not a model server (its answer is not JSON); check the address."
        ) from error
    finally:
        connection.close()
