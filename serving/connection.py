"""One HTTP connection: how much may arrive before a request's body, and how long that may take.

uvicorn reads a head of any length for as long as a client likes to send it. The limits here hold before any route is
looked for, so they protect whatever the routes are.
"""

import asyncio
import logging
import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.refusal import RequestRefused
from serving.seldom import Seldom

logger = logging.getLogger(__name__)

COMPLETE = "perennial.complete"
"""Key of a request's scope: its body arrived together with its head."""
_LAST_S = 1.0
"""How long a refused client may take to read why; closing at once would reset the connection under its answer."""
GRPC_CONNECTIONS = 256
"""Most connections over gRPC, each of which carries many calls."""
_SPARE_DESCRIPTORS = 128
"""Descriptors that are kept for logs and model files."""
_MOST_CONNECTIONS = 20_000


@dataclass(frozen=True)
class ConnectionLimits:
    """What a client may do before a route answers it.

    Attributes:
        head_bytes: Most bytes of a request line with its headers, or of trailers.
        headers: Most headers of a request.
        head_s: Longest time in seconds until a head has arrived, also until a new connection's first one.
        idle_s: Longest time in seconds that a kept-alive connection stays without a request. Longer than the minute
            after which load balancers close theirs, so that they never send to a connection that is being closed.
        connections: Most connections at once.
        per_client: Most connections of one client address; None sets no limit, because a proxy has one address.
    """

    head_bytes: int = 32 * 1024
    headers: int = 100
    head_s: float = 10.0
    idle_s: float = 65.0
    connections: int = _MOST_CONNECTIONS
    per_client: int | None = None


def affordable_connections() -> int:
    """Return how many REST connections this process may hold, after raising its limit of open files if it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS + GRPC_CONNECTIONS + _SPARE_DESCRIPTORS
    allowed = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    files = wanted if soft == resource.RLIM_INFINITY else soft
    spare = _SPARE_DESCRIPTORS + min(GRPC_CONNECTIONS, files // 4)
    return max(1, min(_MOST_CONNECTIONS, files - spare))


class ConnectionGuard:
    """What the connections of one server share: the limits, and who holds how many.

    Args:
        limits: The limits.
        refused: Told of every request that is refused before it reached a route.
    """

    def __init__(self, limits: ConnectionLimits, refused: Callable[[RequestRefused], object]) -> None:
        self.limits = limits
        self._refused = refused
        self._open = 0
        self._by_client: Counter[str] = Counter()
        self._full, self._broken = Seldom(logger), Seldom(logger)

    def enter(self, client: str) -> RequestRefused | None:
        """Count a connection; return why it may not stay, if so."""
        limits = self.limits
        self._open += 1
        if limits.per_client is not None:
            self._by_client[client] += 1
            if self._by_client[client] > limits.per_client:
                return _busy(f"this address has {limits.per_client} connections already; use those.")
        if self._open > limits.connections:
            self._full.warning(
                f"all {limits.connections} connections are in use, further ones are refused; raise the limit of open "
                "files (ulimit -n), or run another server"
            )
            return _busy(f"the server has {limits.connections} connections already; ask again in a moment.")
        return None

    def leave(self, client: str) -> None:
        """Count a connection that ended."""
        self._open -= 1
        if self.limits.per_client is not None:
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]

    def refuse(self, refusal: RequestRefused) -> None:
        """Count a request that was refused before it reached a route."""
        self._refused(refusal)
        if refusal.reason == "http":
            self._broken.warning(f"a request was refused: {refusal.sentence}")


class GuardedConnection(HttpToolsProtocol):
    """uvicorn's connection within limits.

    A client that offers to upgrade the connection is answered as if it had not: HTTP lets a server ignore the offer
    (RFC 9110, section 7.8). Java's client makes one with every first request, for HTTP/2.

    Args:
        guard: The limits, shared with the other connections.
    """

    def __init__(self, guard: ConnectionGuard, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._guard = guard
        self._refusal: RequestRefused | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._in_head = False
        # Bytes that were neither a complete head, nor body, nor the end of a message.
        self._unfinished = self._piece = 0
        self._moved = False
        self._ignoring_offer = False

    # What the transport calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection, and expect a head."""
        super().connection_made(transport)
        if refusal := self._guard.enter(self._address()):
            self._refuse(refusal)
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the connection back."""
        self._stop_timer()
        self._stop_stalled()
        self._guard.leave(self._address())
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, up to the limits."""
        if self._refusal is not None:
            return
        self._unset_keepalive_if_required()
        self._moved, self._piece = False, len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(self._refusal or _malformed("it is not HTTP/1.1."))
            return
        self._unfinished = 0 if self._moved else self._unfinished + len(data)
        if self._unfinished > self._guard.limits.head_bytes:
            self._refuse(self._too_long())
        elif self._timer is None and (self._in_head or self.cycle is None or self.cycle.response_complete):
            # Also after bytes that begin no head: they have ended uvicorn's own wait for the next request.
            self._expect_head()

    def pause_writing(self) -> None:
        """Give a client that reads no answers only so long."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self._guard.limits.idle_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on with a client that reads again."""
        super().resume_writing()
        self._stop_stalled()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, even if its client has not read the last answer."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    # What the parser calls

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Check a complete head, and hand the request on."""
        self._in_head, self._moved = False, True
        self._stop_timer()
        if refusal := self._head_refusal():
            self._refusal = refusal
            # The parser stops at an exception.
            raise refusal
        self._ignoring_offer = self.parser.should_upgrade()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request; the parser ends one that offers an upgrade too early."""
        if not self._ignoring_offer:
            self._moved = True
            self._stop_timer()
            self.scope[COMPLETE] = True  # type: ignore[literal-required] # a key of our own
            super().on_message_complete()

    # Otherwise

    def on_response_complete(self) -> None:
        """Let a client that was answered before its body had arrived send the rest, but not forever."""
        # A cycle that is not complete is the next one, which was sent before this answer.
        unread = self.cycle.more_body and self.cycle.response_complete
        super().on_response_complete()
        if unread and not self.transport.is_closing():
            self._stop_timer()
            self._timer = self.loop.call_later(self._guard.limits.head_s, self.transport.abort)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._go_on(data[offer.args[0] :])

    def _go_on(self, rest: bytes) -> None:
        """Read what follows the head of a request that offers an upgrade as if it did not: with a new parser."""
        framing = [(name, value) for name, value in self.headers if name in (b"content-length", b"transfer-encoding")]
        head = b"POST / HTTP/1.1\r\n" + b"".join(b"%s: %s\r\n" % header for header in framing) + b"\r\n"
        self._ignoring_offer = False
        following = _AfterOffer(self)
        self.parser = httptools.HttpRequestParser(following)
        self.parser.feed_data(head)
        following.replaying = False
        if rest:
            self._feed(rest)

    def _head_refusal(self) -> RequestRefused | None:
        limits, headers = self._guard.limits, self.headers
        if len(headers) > limits.headers:
            return RequestRefused(
                431, f"the request has {len(headers)} headers; at most {limits.headers} are read.", "head"
            )
        # What arrived in small pieces can't be too long; only a large one may hold a body as well.
        if self._unfinished + self._piece > limits.head_bytes and self._head_bytes() > limits.head_bytes:
            return self._too_long()
        hosts = [name for name, _ in headers].count(b"host")
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            return _malformed(f"it has {hosts} Host headers; expected one.")
        if self.parser.get_method() == b"CONNECT":
            return _malformed("CONNECT asks for a proxy, and this server is not one.")
        return None

    def _head_bytes(self) -> int:
        return len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])

    def _too_long(self) -> RequestRefused:
        kib = self._guard.limits.head_bytes // 1024
        return RequestRefused(431, f"the headers are longer than the limit of {kib} KiB.", "head")

    def _expect_head(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self._guard.limits.head_s, self._too_late)

    def _too_late(self) -> None:
        if not self._in_head:
            # Nobody waits for an answer.
            self.transport.close()
            return
        self._refuse(
            RequestRefused(408, f"the headers did not arrive within {self._guard.limits.head_s:g} s.", "head_timeout")
        )

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_stalled(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _refuse(self, refusal: RequestRefused) -> None:
        """Say why, and read no more."""
        self._refusal = refusal
        self._guard.refuse(refusal)
        self._stop_timer()
        if self.transport.is_closing():
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering:
            self.transport.write(_answer(refusal, self.server_state.default_headers))
        if answering or refusal.status == 503:
            self.transport.close()
        else:
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self._timer = self.loop.call_later(_LAST_S, self.transport.abort)

    def _address(self) -> str:
        return self.client[0] if self.client else ""


class _AfterOffer:
    """What a parser calls that is first given a head which the connection knows already.

    Args:
        connection: What it stands for.
    """

    def __init__(self, connection: GuardedConnection) -> None:
        self._connection = connection
        self.replaying = True
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete

    def on_message_begin(self) -> None:
        """Begin a head that is new."""
        if not self.replaying:
            self._connection.on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        if not self.replaying:
            self._connection.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        if not self.replaying:
            self._connection.on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand on a complete head."""
        if not self.replaying:
            self._connection.on_headers_complete()


def _answer(refusal: RequestRefused, further: list[tuple[bytes, bytes]]) -> bytes:
    body = orjson.dumps({"error": refusal.sentence})
    retry = [] if refusal.retry_s is None else [(b"retry-after", b"%d" % refusal.retry_s)]
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        *retry,
        *further,
    ]
    head = b"".join(b"%s: %s\r\n" % header for header in headers)
    return b"%s%s\r\n%s" % (STATUS_LINE[refusal.status], head, body)


def _malformed(what: str) -> RequestRefused:
    return RequestRefused(400, f"the request cannot be read: {what}", "http")


def _busy(sentence: str) -> RequestRefused:
    return RequestRefused(503, sentence, "connections", retry_s=1)
