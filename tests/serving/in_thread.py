"""The server's REST side in a thread of this process, with limits that a test does not have to wait for."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import uvloop

from serving.connection import ConnectionLimits
from serving.exchange import Exchange
from serving.server import Listening, RestServer


@contextlib.contextmanager
def rest(exchange: Exchange, limits: ConnectionLimits, metrics_port: int | None = None) -> Iterator[int]:
    """Serve until the context is left; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = int(listener.getsockname()[1])
        server = RestServer(exchange, Listening("127.0.0.1", port, metrics_port=metrics_port, limits=limits))
        started = threading.Event()

        async def serve() -> None:
            serving = asyncio.create_task(server.serve(listener))
            await server.started(serving)
            started.set()
            await serving

        def run() -> None:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(serve())

        thread = threading.Thread(target=run)
        thread.start()
        assert started.wait(10)
        try:
            yield port
        finally:
            server.end()
            thread.join(15)
            assert not thread.is_alive()
