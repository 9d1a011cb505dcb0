"""The REST door: our inference routes in front of KServe's application, and the limits of a request's body."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
from kserve.metrics import PREDICT_HIST_TIME

from serving import metrics, v1, v2
from serving.refusal import Refused, short
from serving.release import Answer, Release
from serving.served import Served

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_INFERENCE = re.compile(
    r"/v1/models/([^/]+?)(?:/versions/([^/]+))?:predict|/v2/models/([^/]+)(?:/versions/([^/]+))?/infer"
)
_VERSION = re.compile(r"/v2/models/([^/]+)/versions/([^/]+)(/ready)?")
_JSON = re.compile(rb'application/(?:[\w.-]+\+)?json\s*(?:;\s*charset="?utf-?8"?\s*)?;?', re.IGNORECASE)
_BODY_TIMEOUT_S = 30.0
_BIG_BYTES = 128 * 1024
"""A larger body is answered in a thread, so that it does not hold up the small ones."""


class Door:
    """ASGI application: answers inference itself and hands everything else to KServe's own.

    Args:
        inner: KServe's application, for health, metadata and metrics.
        served: The releases.
    """

    def __init__(self, inner: App, served: Served) -> None:
        self._inner = inner
        self._served = served
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="big-request")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's request."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        path: str = scope["path"]
        if match := _INFERENCE.fullmatch(path):
            if scope["method"] == "POST":
                await self._infer(match, scope, receive, send)
            else:
                await _send(send, 405, _error(f"{short(path)} takes POST, not {short(scope['method'])}."))
        elif scope["method"] == "POST":
            await _send(send, 404, _error(f"There is nothing to post to at {short(path)}."))
        elif match := _VERSION.fullmatch(path):
            status, sentence = self._served.state(match[2])
            await _send(send, status, orjson.dumps({"name": match[1], "ready": status == 200, "state": sentence}))
        elif path == "/v2/health/ready":
            ready = self._served.active is not None
            await _send(send, 200 if ready else 503, orjson.dumps({"ready": ready}))
        else:
            await self._inner(scope, receive, send)

    async def _infer(self, match: re.Match[str], scope: Scope, receive: Receive, send: Send) -> None:
        protocol = "v1" if match[1] else "v2"
        name = self._served.name or "unknown"
        try:
            release = self._served.pick(match[1] or match[3], match[2] or match[4])
            headers = _headers(scope)
            json_length = _check_headers(headers, protocol)
            body = await read_body(receive, headers, release.signature.request_bytes)
            if len(body) > _BIG_BYTES:
                loop = asyncio.get_running_loop()
                made = await loop.run_in_executor(self._threads, _respond, release, protocol, body, json_length)
            else:
                made = _respond(release, protocol, body, json_length)
            status, content, reason = 200, made[0], None
            metrics.count_rows(release.name, made[1])
        except Refused as refusal:
            status, content, reason = refusal.status, _error(refusal.sentence), refusal.reason
        except _Gone:
            return
        except Exception:
            logger.exception("a request met a bug")
            status, content, reason = 500, _error("The server met a bug; its log says more."), "bug"
        metrics.REQUESTS.labels(name, protocol, status).inc()
        if reason:
            metrics.ERRORS.labels(name, reason).inc()
        await _send(send, status, content)


class _Gone(Exception):
    """The client left before its request was complete."""


def _respond(release: Release, protocol: str, body: bytes, json_length: int | None) -> tuple[bytes, Answer]:
    start = time.perf_counter()
    made = v1.respond(release, body) if protocol == "v1" else v2.respond(release, body, json_length)
    PREDICT_HIST_TIME.labels(release.name).observe(time.perf_counter() - start)
    return made


def _headers(scope: Scope) -> dict[bytes, bytes]:
    wanted = (b"content-type", b"content-length", b"content-encoding", b"inference-header-content-length")
    return {name: value for name, value in scope["headers"] if name in wanted}


def _check_headers(headers: dict[bytes, bytes], protocol: str) -> int | None:
    """Refuse what is not JSON; return how much of a V2 body is JSON where raw tensors follow."""
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise Refused(415, "A compressed body is not taken; send it without Content-Encoding.", "content_type")
    length = headers.get(b"inference-header-content-length")
    if length is not None and protocol == "v2":
        if not length.isdigit() or len(length) > 12:
            raise Refused(400, "Inference-Header-Content-Length is not a number of bytes.", "json")
        return int(length)
    content_type = headers.get(b"content-type", b"application/json")
    if not _JSON.fullmatch(content_type.strip()):
        raise Refused(
            415,
            f"Content-Type {short(content_type.decode('latin-1'))} is not taken; send application/json in UTF-8.",
            "content_type",
        )
    return None


async def read_body(
    receive: Receive, headers: dict[bytes, bytes], limit: int, timeout_s: float = _BODY_TIMEOUT_S
) -> bytes:
    """Read the body, giving up as soon as it is known to exceed the limit; uvicorn discards what still comes."""
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
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError as late:
        raise Refused(408, f"The body did not arrive within {timeout_s:g} s.", "timeout") from late
    raise _Gone


def _too_large(limit: int) -> Refused:
    return Refused(413, f"The body is larger than {limit} bytes, the most that is taken; split the request.", "bytes")


def _error(sentence: str) -> bytes:
    return orjson.dumps({"error": sentence})


async def _send(send: Send, status: int, content: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
