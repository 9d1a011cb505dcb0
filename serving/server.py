"""The server as one process: REST through uvicorn, gRPC beside it, and an end that finishes requests in flight."""

import asyncio
import contextlib
import functools
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import prometheus_client
import uvicorn
import uvloop
from grpc import aio

from components.shared import processes
from components.shared.errors import StepFailed
from components.shared.hosts import bracketed
from components.shared.release.endpoint_folder import EndpointServer
from serving import grpc_server, metrics_port
from serving.connection import ConnectionGuard, ConnectionLimits, GuardedConnection
from serving.exchange import Exchange
from serving.information import Information
from serving.rest import RestRoutes
from serving.vertex import VertexRoutes

logger = logging.getLogger(__name__)

Step = Callable[[], Coroutine[Any, Any, None]]
Announce = Callable[[EndpointServer | None], None]

_GRACE_S = 10
_DRAIN_S = 5.0
"""Longest time for which clients are still answered after the signal, each with its last answer."""
_COLLECT_AFTER = (50_000, 20, 100)
_TOLD_S, _LAST_S, _LOOK_S = 0.3, 1.0, 0.02
_OBSERVERS_S = 5.0
"""Longest wait, at the end, for observers of the requests that were answered."""


@dataclass(frozen=True)
class Listening:
    """Where a server listens.

    Attributes:
        host: The address.
        port: Of REST; 0 takes any free one.
        grpc_port: Of gRPC; 0 for any free one, None for no gRPC.
        metrics_port: Of the metrics; None tells them on REST's port.
        limits: What a client may do before a route answers it.
        vertex: The routes that Vertex AI calls, if it runs this server.
    """

    host: str
    port: int
    grpc_port: int | None = None
    metrics_port: int | None = None
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    vertex: VertexRoutes | None = None


class RestServer:
    """uvicorn with our routes and our connections.

    Args:
        exchange: Answers the requests.
        listening: Where, and within which limits.
    """

    def __init__(self, exchange: Exchange, listening: Listening) -> None:
        self._exchange = exchange
        guard = ConnectionGuard(listening.limits, lambda refusal: exchange.refuse(exchange.head("http"), refusal))
        self._config = uvicorn.Config(
            RestRoutes(exchange, Information(exchange, has_metrics=listening.metrics_port is None), listening.vertex),
            http=functools.partial(GuardedConnection, guard),  # type: ignore[arg-type] # whatever returns a protocol
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(listening.limits.idle_s),
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = uvicorn.Server(self._config)

    async def serve(self, listener: socket.socket) -> None:
        """Answer until ``end`` is called; requests in flight are finished."""
        # As long as one descriptor of a socket is open, the kernel keeps the connections that nobody has accepted yet.
        self._spare = listener.dup()
        # The process's signals are ours: uvicorn would replace the handlers and raise them again at the end.
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
        await self._server.serve(sockets=[listener])

    def end(self) -> None:
        """Accept no more connections; requests in flight are finished."""
        self._server.should_exit = True

    async def drained(self, deadline_s: float) -> None:
        """Let every client have its last answer, then listen no more.

        A connection that is kept alive ends with its next answer, which says so. Those that were open when this began
        and ask nothing more are not waited for longer than the deadline. When nothing listens any more, clients that
        have connected already are still answered.
        """
        end = time.monotonic() + deadline_s
        state = self._server.server_state
        earlier = set(state.connections)
        while time.monotonic() < end and (earlier & state.connections or not self._exchange.ending.told_for(_TOLD_S)):
            await asyncio.sleep(_LOOK_S)
        await self._listen_no_more()
        last = time.monotonic() + _LAST_S
        while state.connections and time.monotonic() < last:
            await asyncio.sleep(_LOOK_S)

    async def _listen_no_more(self) -> None:
        """Stop listening, and take over who is connected by then: closing the socket would reset those connections."""
        loop, server = asyncio.get_running_loop(), self._server
        for listening in server.servers:
            listening.close()
        with self._spare:
            self._spare.setblocking(False)
            accepted = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    accepted.append(self._spare.accept()[0])
        for connection in accepted:
            connection.setblocking(False)
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self._config.http_protocol_class
        protocol: asyncio.Protocol = make(config=self._config, server_state=self._server.server_state, app_state={})
        return protocol

    async def started(self, serving: asyncio.Task[None]) -> None:
        """Wait until connections are accepted, or the server has ended."""
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.005)


class ModelServerProcess:
    """One process that serves one model's releases on REST and gRPC.

    Args:
        exchange: Answers the requests.
        listening: Where it listens.
        owned: End when standard input closes, as it does when the process that started this one dies.
    """

    def __init__(self, exchange: Exchange, listening: Listening, *, owned: bool) -> None:
        self.exchange = exchange
        self._listening, self._owned = listening, owned
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        # uvicorn formats a line per request as soon as this logger has any handler, also an inherited one.
        access = logging.getLogger("uvicorn.access")
        access.handlers, access.propagate = [], False

    def run(self, settle: Step, follow: Step | None = None, announce: Announce | None = None) -> None:
        """Serve until SIGTERM, SIGINT, or (if owned) the end of standard input.

        Args:
            settle: Awaited once before the first request.
            follow: Runs alongside the server and loads new releases.
            announce: Called with the server's addresses once it listens, and with None when it is about to end.
        """
        with (
            _listen(self._listening.host, self._listening.port) as listener,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            runner.run(self._run(listener, settle, follow, announce or (lambda _: None)))

    async def _run(self, listener: socket.socket, settle: Step, follow: Step | None, announce: Announce) -> None:
        stop = asyncio.Event()
        self._stop_by_signals(stop)
        self._tell_metrics()
        await settle()
        _spare_collector()
        grpc, address = await self._start_grpc()
        port = listener.getsockname()[1]
        rest = RestServer(self.exchange, self._listening)
        serving = asyncio.create_task(rest.serve(listener))
        stopping = asyncio.create_task(stop.wait())
        following = asyncio.create_task(follow()) if follow else None
        try:
            await rest.started(serving)
            url = f"http://{bracketed(self._listening.host)}:{port}"
            pid = os.getpid()
            announce(EndpointServer(pid=pid, started=processes.started(pid), rest_url=url, grpc_address=address))
            # Whoever is told that it is ready finds its address.
            self.exchange.announced = True
            logger.info("listening on %s%s", url, f" and grpc://{address}" if address else "")
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            announce(None)
            stopping.cancel()
            self.exchange.ending.begin()
            if not serving.done():
                await rest.drained(_DRAIN_S)
            rest.end()
            if following:
                following.cancel()
            if grpc:
                await grpc.stop(_GRACE_S)
            await serving
            await asyncio.to_thread(self.exchange.observers.close, _OBSERVERS_S)
            if self.exchange.lookups is not None:
                self.exchange.lookups.close()
            for log in (self.exchange.log, self.exchange.accesses):
                if log is not None:
                    await asyncio.to_thread(log.close)
            logger.info("ended")

    def _stop_by_signals(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if self._owned:
            loop.add_reader(sys.stdin.fileno(), _until_closed, stop)

    async def _start_grpc(self) -> tuple[aio.Server | None, str | None]:
        host, port = self._listening.host, self._listening.grpc_port
        if port is None:
            return None, None
        try:
            return await grpc_server.start(self.exchange, host, port)
        except RuntimeError as error:
            raise StepFailed(
                f"gRPC can't listen on {host}:{port}; the port is in use or not allowed, choose another gRPC port."
            ) from error

    def _tell_metrics(self) -> None:
        """Tell the metrics on a port of their own, if there is one; nowhere of which versions the server is made."""
        with contextlib.suppress(KeyError):
            prometheus_client.REGISTRY.unregister(prometheus_client.PLATFORM_COLLECTOR)
        if self._listening.metrics_port is not None:
            metrics_port.start(self._listening.host, self._listening.metrics_port)


def _spare_collector() -> None:
    """Let the garbage collector look at the objects of requests only, and less often.

    By default it goes through everything that was ever imported, about once in 70,000 new objects; a large request
    makes more than that, and all others wait meanwhile. A request leaves no cycles, so little is kept for longer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


def _until_closed(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stop.set()


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server((host, port), backlog=2048, family=_family(host))
    except OSError as error:
        raise StepFailed(
            f"can't listen on {host}:{port} ({error.strerror}); the port is in use or not allowed, choose another port."
        ) from error
    listener.setblocking(False)
    return listener


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
