"""The inference routes of REST in front of KServe's application, and the limits of a request's body."""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import partial
from typing import Any

import orjson

from serving import metadata, request_id
from serving.exchange import Exchange, Reply, RequestHead
from serving.limits import BodyBytes
from serving.refusal import RequestRefused, short
from serving.v1 import V1Body
from serving.v2 import V2Body

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_INFERENCE = re.compile(
    r"/v1/models/([^/]+?)(?:/versions/([^/]+))?:predict|/v2/models/([^/]+)(?:/versions/([^/]+))?/infer"
)
_MODEL = re.compile(r"/v2/models/([^/]+)")
_OPEN = re.compile(r"/|/v2/health/(?:live|ready)|/v2/models/[^/]+(?:/versions/[^/]+)?/ready")
"""Whether the server and its model are there may be asked by everybody: probes have no token."""
_STATS = re.compile(r"/v2/models/([^/]+)/stats")
_VERSION = re.compile(r"/v2/models/([^/]+)/versions/([^/]+)(/ready)?")
_JSON = re.compile(rb'application/(?:[\w.-]+\+)?json\s*(?:;\s*charset="?utf-?8"?\s*)?;?', re.IGNORECASE)
_ID_HEADER = request_id.HEADER.encode()
_HEADERS = frozenset(
    (b"content-type", b"content-length", b"content-encoding", b"inference-header-content-length", _ID_HEADER)
)
_BODY_TIMEOUT_S = 30.0


class InferenceRoutes:
    """ASGI application: answers inference itself and hands everything else to KServe's own.

    Args:
        inner: KServe's application, for health, metadata and metrics.
        exchange: Answers the requests.
    """

    def __init__(self, inner: App, exchange: Exchange) -> None:
        self._inner = inner
        self._exchange = exchange
        self._served = exchange.served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's request."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        if self._exchange.ending.noticed():
            send = _closing(send)
        path: str = scope["path"]
        is_probe = scope["method"] == "GET" and _OPEN.fullmatch(path)
        if not is_probe and not self._exchange.admit(_authorization(scope)):
            refusal = RequestRefused(401, "a valid token is needed: send 'Authorization: Bearer TOKEN'.", "token")
            self._exchange.refuse("v1" if path.startswith("/v1/") else "v2", None, refusal)
            await _send(send, 401, _error(refusal.sentence), further=[(b"www-authenticate", b"Bearer")])
            return
        if match := _INFERENCE.fullmatch(path):
            if scope["method"] == "POST":
                await self._infer(match, scope, receive, send)
            else:
                await _send(send, 405, _error(f"{short(path)} expects POST, not {short(scope['method'])}."))
        elif scope["method"] == "POST":
            await _send(send, 404, _error(f"there is nothing to post to at {short(path)}."))
        elif match := _VERSION.fullmatch(path):
            status, sentence = self._served.state(match[2])
            await _send(send, status, orjson.dumps({"name": match[1], "ready": status == 200, "state": sentence}))
        elif (match := _MODEL.fullmatch(path)) and scope["method"] == "GET":
            await self._describe(match[1], send)
        elif (match := _STATS.fullmatch(path)) and scope["method"] == "GET":
            await self._count(match[1], send)
        elif path == "/v2/health/ready":
            ready = self._served.active is not None and not self._exchange.ending.began
            await _send(send, 200 if ready else 503, orjson.dumps({"ready": ready}))
        else:
            await self._inner(scope, receive, send)

    async def _describe(self, model: str, send: Send) -> None:
        """Answer with the metadata; KServe's own would drop the classes."""
        try:
            body: bytes = orjson.dumps(metadata.described(self._served.pick(model, None)))
            await _send(send, 200, body)
        except RequestRefused as refusal:
            await _send(send, refusal.status, _error(refusal.sentence))

    async def _count(self, model: str, send: Send) -> None:
        """Answer with what each version did while there was more than one."""
        try:
            self._served.pick(model, None)
            routing = self._served.routing
            followed = {"shares": routing.shares, "mirrors": routing.mirrors}
            counts = self._exchange.counter.read().model_copy(update=followed)
            await _send(send, 200, counts.model_dump_json().encode())
        except RequestRefused as refusal:
            await _send(send, refusal.status, _error(refusal.sentence))

    async def _infer(self, match: re.Match[str], scope: Scope, receive: Receive, send: Send) -> None:
        protocol = "v1" if match[1] else "v2"
        headers = {name: value for name, value in scope["headers"] if name in _HEADERS}
        header_id = _id_of(headers)
        try:
            reply = await self._reply(match, protocol, headers, header_id, receive)
        except RequestRefused as refusal:
            reply = self._exchange.refuse(protocol, header_id, refusal)
        except _ClientLeft:
            return
        except Exception:
            reply = self._exchange.fail(protocol, header_id)
        content = reply.content if reply.refusal is None else _error(reply.refusal.sentence)
        retry = [(b"retry-after", b"1")] if reply.status == 503 else []
        await _send(send, reply.status, content or b"", reply.request_id, retry)

    async def _reply(
        self, match: re.Match[str], protocol: str, headers: dict[bytes, bytes], header_id: str | None, receive: Receive
    ) -> Reply[bytes]:
        """Read the body and let the exchange answer it."""
        model, version = match[1] or match[3], match[2] or match[4]
        limit = self._served.request_bytes(model, version)
        json_length = _check_headers(headers, protocol)
        with self._exchange.in_flight.request() as held:
            body = await read_body(receive, headers, limit, held)
            head = RequestHead(protocol, model, version, header_id, len(body))
            if protocol == "v1":
                return await self._exchange.answer(head, partial(V1Body, body))
            return await self._exchange.answer(head, partial(V2Body, body, json_length))


def _authorization(scope: Scope) -> str | None:
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    return found[0].decode("latin-1") if len(found) == 1 else None


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
    length = headers.get(b"inference-header-content-length")
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
    timeout_s: float = _BODY_TIMEOUT_S,
) -> bytes:
    """Read the body, giving up as soon as it is known to exceed the limit; uvicorn discards what still arrives.

    Args:
        receive: ASGI's.
        headers: May hold the declared length.
        limit: Largest body in bytes.
        held: Takes the bytes from the server's budget as they arrive.
        timeout_s: Longest wait for the whole body.

    Raises:
        RequestRefused: 413 if it is larger than the limit, 408 if it does not arrive in time, 503 if the server holds
            too many bytes of other requests.
    """
    declared = headers.get(b"content-length", b"0")
    if not declared.isdigit() or len(declared) > 18 or int(declared) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
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


def _too_large(limit: int) -> RequestRefused:
    return RequestRefused(413, f"the body is larger than the limit of {limit} bytes; split the request.", "bytes")


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
    further: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content)), *further]
    if answered_id is not None:
        headers.append((_ID_HEADER, answered_id.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
