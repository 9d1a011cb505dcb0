"""KServe's ModelServer as one process: our door in front, our host, and an end that finishes what was begun."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop
from grpc import aio
from kserve import ModelServer
from kserve.model_repository import ModelRepository
from kserve.protocol.rest.server import RESTServer

from components.shared import processes, releases
from components.shared.errors import StepFailed
from serving import grpc_server
from serving.rest import Door
from serving.served import Served

logger = logging.getLogger(__name__)

Step = Callable[[], Coroutine[Any, Any, None]]
Announce = Callable[[releases.Server | None], None]

_GRACE_S = 10


class Repository(ModelRepository):
    """KServe's view of the models: the one that is active, under whatever name it has."""

    def __init__(self, served: Served) -> None:
        super().__init__()
        self._served = served

    def get_models(self) -> dict[str, Served]:
        """Return the active model by its name."""
        return {self._served.name: self._served} if self._served.active is not None else {}

    def get_model(self, name: str) -> Served | None:
        """Return the active model if this is its name."""
        return self.get_models().get(name)


class Rest(RESTServer):
    """KServe's REST application without its timing middleware, behind our door."""

    def __init__(self, server: "Server", host: str, port: int) -> None:
        super().__init__("", server.dataplane, server.model_repository_extension, port, grace_period=_GRACE_S)
        self.config.host = host
        self.config.access_log = self.config.proxy_headers = False
        self._served = server.served

    def _add_middlewares(self, app: object) -> None:
        """Add none: timing every request costs an eighth of the throughput."""

    def create_application(self) -> None:
        """Build KServe's application and put the door before it."""
        from kserve.model_server import app

        self._register_endpoints(app)
        self._add_exception_handlers(app)
        self.config.app = Door(app, self._served)

    async def serve(self, listener: socket.socket) -> None:
        """Answer until ``end`` is called; requests in flight are finished."""
        self.create_application()
        # The process's signals are ours: uvicorn would replace the handlers and raise them again at the end.
        self._server.capture_signals = contextlib.nullcontext
        await self._server.serve(sockets=[listener])

    def end(self) -> None:
        """Accept no more connections, finish what was begun."""
        self._server.should_exit = True

    async def started(self, serving: asyncio.Task[None]) -> None:
        """Wait until connections are accepted, or the server has ended."""
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.005)


class Server(ModelServer):
    """One process that serves one model's releases on REST and gRPC.

    Args:
        served: The releases.
        host: Address to listen on.
        port: REST port; 0 takes any free one.
        grpc_port: gRPC port, 0 for any free one, None for no gRPC.
        owned: End when standard input closes, as it does when the process that started this one dies.
    """

    def __init__(self, served: Served, host: str, port: int, grpc_port: int | None, owned: bool) -> None:
        super().__init__(http_port=port, registered_models=Repository(served), enable_latency_logging=False)
        self.served = served
        self._host, self._wanted_grpc_port, self._owned = host, grpc_port, owned
        # KServe writes a traceback for every request that it answers with a 404; a bug still reaches uvicorn's log.
        logging.getLogger("kserve").setLevel(logging.CRITICAL)
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        # uvicorn formats a line per request as soon as this logger has any handler, also an inherited one.
        access = logging.getLogger("uvicorn.access")
        access.handlers, access.propagate = [], False

    def run(self, settle: Step, follow: Step | None = None, announce: Announce | None = None) -> None:
        """Serve until SIGTERM, SIGINT, or (if owned) the end of standard input.

        Args:
            settle: Awaited once before the first request.
            follow: Runs beside the server, to bring new releases.
            announce: Told where the server listens when it does, and None when it is about to end.
        """
        with (
            _listen(self._host, self.http_port) as listener,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            runner.run(self._run(listener, settle, follow, announce or (lambda _: None)))

    async def _run(self, listener: socket.socket, settle: Step, follow: Step | None, announce: Announce) -> None:
        stop = asyncio.Event()
        self._stop_by_signals(stop)
        await settle()
        grpc, address = await self._start_grpc()
        port = listener.getsockname()[1]
        rest = Rest(self, self._host, port)
        serving = asyncio.create_task(rest.serve(listener))
        stopping = asyncio.create_task(stop.wait())
        following = asyncio.create_task(follow()) if follow else None
        try:
            await rest.started(serving)
            url = f"http://{grpc_server.bracketed(self._host)}:{port}"
            announce(releases.Server(os.getpid(), processes.started(os.getpid()), url, address))
            logger.info("listening on %s%s", url, f" and grpc://{address}" if address else "")
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            announce(None)
            stopping.cancel()
            rest.end()
            if following:
                following.cancel()
            if grpc:
                await grpc.stop(_GRACE_S)
            await serving
            logger.info("ended")

    def _stop_by_signals(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if self._owned:
            loop.add_reader(sys.stdin.fileno(), _until_closed, stop)

    async def _start_grpc(self) -> tuple[aio.Server | None, str | None]:
        if self._wanted_grpc_port is None:
            return None, None
        try:
            return await grpc_server.start(self.served, self.dataplane, self._host, self._wanted_grpc_port)
        except RuntimeError as broken:
            raise StepFailed(
                f"gRPC can't listen on {self._host}:{self._wanted_grpc_port}; it is taken or not allowed, "
                "choose another gRPC port."
            ) from broken


def _until_closed(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stop.set()


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server((host, port), backlog=2048, family=_family(host))
    except OSError as broken:
        raise StepFailed(
            f"Can't listen on {host}:{port} ({broken.strerror}); it is taken or not allowed, choose another port."
        ) from broken
    listener.setblocking(False)
    return listener


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
