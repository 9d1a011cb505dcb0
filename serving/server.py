"""KServe's ModelServer as one process: our door in front, our host, and an end that finishes what was begun."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable

import uvloop
from components.shared import processes, releases
from components.shared.errors import StepFailed
from kserve import ModelServer
from kserve.model_repository import ModelRepository
from kserve.protocol.rest.server import RESTServer

from serving import grpc_server
from serving.rest import Door
from serving.served import Served

logger = logging.getLogger(__name__)

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

    async def serve(self, listener: socket.socket, stop: asyncio.Event) -> None:
        """Answer until asked to stop; requests in flight are finished."""
        self.create_application()
        # The process's signals are ours: uvicorn would replace the handlers and raise them again at the end.
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
        serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        self._server.should_exit = True
        stopping.cancel()
        await serving


class Server(ModelServer):
    """One process that serves one model's releases on REST and gRPC."""

    def __init__(self, served: Served) -> None:
        super().__init__(registered_models=Repository(served), enable_latency_logging=False)
        self.served = served
        for name, level in (("kserve", logging.WARNING), ("uvicorn.error", logging.WARNING)):
            logging.getLogger(name).setLevel(level)
        # uvicorn formats a line per request as soon as this logger has any handler, also an inherited one.
        access = logging.getLogger("uvicorn.access")
        access.handlers, access.propagate = [], False

    def run(
        self,
        host: str,
        port: int,
        grpc_port: int | None,
        settle: Callable[[], Awaitable[None]],
        follow: Callable[[], Awaitable[None]] | None = None,
        announce: Callable[[releases.Server | None], None] | None = None,
        owned: bool = False,
    ) -> None:
        """Serve until SIGTERM, SIGINT, or (if owned) the end of standard input.

        Args:
            host: Address to listen on.
            port: REST port; 0 takes any free one.
            grpc_port: gRPC port, 0 for any free one, None for no gRPC.
            settle: Awaited once before the first request.
            follow: Runs beside the server, to bring new releases.
            announce: Told where the server listens when it does, and None when it is about to end.
            owned: End when standard input closes, as it does when the process that started this one dies.
        """
        listener = _listen(host, port)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._run(listener, host, grpc_port, settle, follow, announce or (lambda _: None), owned))

    async def _run(
        self,
        listener: socket.socket,
        host: str,
        grpc_port: int | None,
        settle: Callable[[], Awaitable[None]],
        follow: Callable[[], Awaitable[None]] | None,
        announce: Callable[[releases.Server | None], None],
        owned: bool,
    ) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if owned:
            loop.add_reader(sys.stdin.fileno(), lambda: os.read(sys.stdin.fileno(), 4096) or stop.set())
        await settle()
        grpc, address = None, None
        if grpc_port is not None:
            try:
                grpc, address = await grpc_server.start(self.served, self.dataplane, host, grpc_port)
            except RuntimeError as broken:
                raise StepFailed(f"gRPC can't listen on {host}:{grpc_port}; choose another --grpc-port.") from broken
        rest = Rest(self, host, listener.getsockname()[1])
        serving = asyncio.create_task(rest.serve(listener, stop))
        following = asyncio.create_task(follow()) if follow else None
        try:
            while not rest._server.started and not serving.done():
                await asyncio.sleep(0.005)
            url = f"http://{host}:{listener.getsockname()[1]}"
            announce(releases.Server(os.getpid(), processes.started(os.getpid()), url, address))
            logger.info("listening on %s%s", url, f" and grpc://{address}" if address else "")
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            announce(None)
            stop.set()
            if following:
                following.cancel()
            if grpc:
                await grpc.stop(_GRACE_S)
            await serving
            logger.info("ended")


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server((host, port), backlog=2048, family=_family(host))
    except OSError as broken:
        raise StepFailed(
            f"Can't listen on {host}:{port} ({broken.strerror}); another process has the port, choose another."
        ) from broken
    listener.setblocking(False)
    return listener


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
