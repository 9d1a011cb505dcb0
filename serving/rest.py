"""The routes of REST, and the limits of a request's body."""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import orjson

from serving import request_id
from serving.connection import COMPLETE
from serving.exchange import Exchange, Reply, RequestHead
from serving.information import JSON, Answer, Information
from serving.limits import BodyBytes
from serving.refusal import RequestRefused, short
from serving.rest_content import RestContent
from serving.v1 import V1Body
from serving.v2 import V2Body
from serving.vertex import PROTOCOL as VERTEX
from serving.vertex import VertexBody, VertexRoutes

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

_INFERENCE = re.compile(
    r"/v1/models/([^/]+?)(?:/versions/([^/]+))?:(predict|explain)"
    r"|/v2/models/([^/]+)(?:/versions/([^/]+))?/(infer|explain)"
)
_JSON = re.compile(rb'application/(?:[\w.-]+\+)?json\s*(?:;\s*charset="?utf-?8"?\s*)?;?', re.IGNORECASE)
_ID_HEADER = request_id.HEADER.encode()
_LENGTH_HEADER = b"inference-header-content-length"
_HEADERS = frozenset((b"content-type", b"content-length", b"content-encoding", _LENGTH_HEADER, _ID_HEADER))
_NO_TIMEOUT = contextlib.nullcontext()
_READING = ("GET", "HEAD")
_BODY_TIMEOUT_S = 30.0


class _Inference(NamedTuple):
    """What the path of an inference says."""

    protocol: str
    model: str
    version: str | None
    explains: bool


def _inference(path: str) -> _Inference | None:
    """Return what a path of an inference says, None of another path."""
    match = _INFERENCE.fullmatch(path)
    if match is None:
        return None
    protocol, (model, version, verb) = ("v1", match.groups()[:3]) if match[1] else ("v2", match.groups()[3:])
    return _Inference(protocol, model, version, verb == "explain")


class Question(NamedTuple):
    """A route that is not a prediction; ``is_open``: clients need no token, as for probes."""

    path: re.Pattern[str]
    answer: Callable[..., Answer]
    is_open: bool = False


def _questions(information: Information, health: str | None) -> tuple[Question, ...]:
    """Return the routes other than predictions; the groups of a path are the arguments of its answer."""
    further = () if health is None else ((re.escape(health), information.ready, True),)
    routes = (
        *further,
        (r"/", information.alive, True),
        (r"/v2/health/live", information.live, True),
        (r"/v2/health/ready", information.ready, True),
        (r"/v2/models/([^/]+)(?:/versions/([^/]+))?/ready", information.model_ready, True),
        (r"/v1/models/([^/:]+)", information.model_ready, False),
        (r"/v[12]/models", information.models, False),
        (r"/v2/?", information.server, False),
        (r"/v2/models/([^/]+)(?:/versions/([^/]+))?", information.model, False),
        (r"/v2/models/([^/]+)/stats", information.counts, False),
        (r"/metrics", information.metrics, False),
        (r"/openapi\.json", information.openapi, False),
    )
    return tuple(Question(re.compile(path), answer, is_open) for path, answer, is_open in routes)


class RestRoutes:
    """The ASGI application.

    Args:
        exchange: Answers the predictions.
        information: Answers everything else.
        vertex: The routes that Vertex AI calls, if it runs this server.
    """

    def __init__(self, exchange: Exchange, information: Information, vertex: VertexRoutes | None = None) -> None:
        self._exchange = exchange
        self._served = exchange.served
        self._vertex = vertex
        self._questions = _questions(information, None if vertex is None else vertex.health)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._exchange.ending.noticed():
            send = _closing(send)
        path: str = scope["path"]
        inference = self._inference(path)
        asked = None if inference else self._asked(path)
        is_probe = asked is not None and asked[0].is_open and scope["method"] in _READING
        admission = self._exchange.admission
        if admission is not None and not is_probe:
            try:
                admission.enter(_authorization(scope), how="'Authorization: Bearer TOKEN'")
            except RequestRefused as refusal:
                self._exchange.refuse(self._exchange.head("v1" if path.startswith("/v1/") else "v2"), refusal)
                await _send(send, refusal.status, _error(refusal.sentence), further=_advice(refusal))
                return
        if inference:
            await self._post(inference, scope, receive, send)
        elif asked:
            await _inform(asked, scope, send)
        else:
            await _send(send, 404, _error(f"there is nothing at {short(path)}; /openapi.json lists the routes."))

    def _inference(self, path: str) -> _Inference | None:
        """Return what a path of an inference says, None of another path; on Vertex AI's, the one model is meant."""
        if self._vertex is not None and path == self._vertex.predict:
            return _Inference(VERTEX, self._served.name, None, False)
        return _inference(path)

    def _asked(self, path: str) -> tuple[Question, re.Match[str]] | None:
        for question in self._questions:
            if match := question.path.fullmatch(path):
                return question, match
        return None

    async def _post(self, asked: _Inference, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            await self._infer(asked, scope, receive, send)
        else:
            await _refuse_method(scope, b"POST", send)

    async def _infer(self, asked: _Inference, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value for name, value in scope["headers"] if name in _HEADERS}
        head = self._exchange.head(
            asked.protocol, asked.model, asked.version, _id_of(headers), _declared(headers), explains=asked.explains
        )
        try:
            reply = await self._reply(head, headers, scope, receive)
        except RequestRefused as refusal:
            reply = self._exchange.refuse(head, refusal)
        except _ClientLeft:
            return
        except Exception:
            reply = self._exchange.fail(head)
        content = reply.content
        if content is None:
            why = reply.refusal or RequestRefused(500, "the server failed unexpectedly.", "bug")
            await _send(send, reply.status, _error(why.sentence), reply.request_id, further=_advice(why))
        elif content.json_length is None:
            await _send(send, reply.status, content.body, reply.request_id)
        else:
            length = [(_LENGTH_HEADER, b"%d" % content.json_length)]
            await _send(send, reply.status, content.body, reply.request_id, b"application/octet-stream", length)

    async def _reply(
        self, head: RequestHead, headers: dict[bytes, bytes], scope: Scope, receive: Receive
    ) -> Reply[RestContent]:
        """Read the body and let the exchange answer it."""
        limit = self._served.request_bytes(head.model, head.version)
        json_length = _check_headers(headers, head.protocol)
        timeout_s = None if COMPLETE in scope else _BODY_TIMEOUT_S
        with self._exchange.in_flight.request() as held:
            body = await read_body(receive, headers, limit, held, timeout_s)
            if self._exchange.admission is not None:
                self._exchange.admission.charge(_authorization(scope), len(body))
            if len(body) != head.size_bytes:
                head = head._replace(size_bytes=len(body))
            if head.protocol == "v1":
                return await self._exchange.answer(head, partial(V1Body, body))
            if head.protocol == VERTEX:
                return await self._exchange.answer(head, partial(VertexBody, body))
            return await self._exchange.answer(head, partial(V2Body, body, json_length, explains=head.explains))


async def _inform(asked: tuple[Question, re.Match[str]], scope: Scope, send: Send) -> None:
    question, match = asked
    if scope["method"] not in _READING:
        await _refuse_method(scope, b"GET, HEAD", send)
        return
    answer = question.answer(*match.groups())
    await _send(send, answer.status, answer.body, None, answer.content_type)


async def _refuse_method(scope: Scope, allowed: bytes, send: Send) -> None:
    sentence = f"{short(scope['path'])} expects {allowed.decode()}, not {short(scope['method'])}."
    await _send(send, 405, _error(sentence), further=[(b"allow", allowed)])


def _authorization(scope: Scope) -> str | None:
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    return values[0].decode("latin-1") if len(values) == 1 else None


class _ClientLeft(Exception):
    """The client closed the connection before its request was complete."""


def _id_of(headers: dict[bytes, bytes]) -> str | None:
    value = headers.get(_ID_HEADER)
    return None if value is None else request_id.from_header(value.decode("latin-1"))


def _check_headers(headers: dict[bytes, bytes], protocol: str) -> int | None:
    """Refuse what is not JSON; return how much of a V2 body is JSON where raw tensors follow."""
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise RequestRefused(
            415, "a compressed body is not supported; send it without Content-Encoding.", "content_type"
        )
    length = headers.get(_LENGTH_HEADER)
    if length is not None and protocol == "v2":
        if not length.isdigit() or len(length) > 12:
            raise RequestRefused(400, "Inference-Header-Content-Length is not a number of bytes.", "json")
        return int(length)
    content_type = headers.get(b"content-type", b"application/json")
    if not _JSON.fullmatch(content_type.strip()):
        raise RequestRefused(
            415,
            f"Content-Type {short(content_type.decode('latin-1'))} is not supported; send application/json in UTF-8.",
            "content_type",
        )
    return None


async def read_body(
    receive: Receive,
    headers: dict[bytes, bytes],
    limit: int,
    held: BodyBytes,
    timeout_s: float | None,
) -> bytes:
    """Read the body, giving up as soon as it is known to exceed the limit; uvicorn discards what still arrives.

    Args:
        receive: ASGI's.
        headers: May hold the declared length.
        limit: Largest body in bytes.
        held: Takes the bytes from the server's budget as they arrive.
        timeout_s: Longest wait for the whole body; None where it has arrived, so that nobody has to look at a clock.

    Raises:
        RequestRefused: 413 if it is larger than the limit, 408 if it does not arrive in time, 503 if the server holds
            too many bytes of other requests.
    """
    if _declared(headers) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s) if timeout_s is not None else _NO_TIMEOUT:
            while (message := await receive())["type"] == "http.request":
                parts.append(message["body"])
                size += len(message["body"])
                if size > limit:
                    raise _too_large(limit)
                held.add(len(message["body"]))
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError as late:
        raise RequestRefused(408, f"the body did not arrive within {timeout_s:g} s.", "timeout") from late
    raise _ClientLeft


def _declared(headers: dict[bytes, bytes]) -> int:
    """Return the length of the body that a client declares; 0 if it declares none."""
    return int(headers.get(b"content-length", b"0"))


def _too_large(limit: int) -> RequestRefused:
    return RequestRefused(413, f"the body is larger than the limit of {limit} bytes; split the request.", "bytes")


def _advice(refusal: RequestRefused) -> Headers:
    """Return the headers that tell a refused client what it may do."""
    if refusal.status == 401:
        return [(b"www-authenticate", b"Bearer")]
    return [] if refusal.retry_s is None else [(b"retry-after", b"%d" % refusal.retry_s)]


def _error(sentence: str) -> bytes:
    body: bytes = orjson.dumps({"error": sentence})
    return body


def _closing(send: Send) -> Send:
    """Let every answer say that its connection ends with it, so that the client opens the next one elsewhere."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await send(message)

    return sent


async def _send(
    send: Send,
    status: int,
    content: bytes,
    answered_id: str | None = None,
    content_type: bytes = JSON,
    further: Headers = (),
) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(content)), *further]
    if answered_id is not None:
        headers.append((_ID_HEADER, answered_id.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
