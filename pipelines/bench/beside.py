"""How long a small request waits while two clients send large ones."""

import multiprocessing
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.bench import serving

_LARGE_ROWS, _LARGE_CLIENTS = 10_000, 2
_PAUSE_S, _WARM_S = 0.002, 1.0


@dataclass(frozen=True)
class Waited:
    """The 99th percentile of one-row requests in milliseconds: alone, and beside the large ones."""

    alone_ms: float
    beside_ms: float


def measure(python: Path, package: Path, seconds: float = 6.0) -> Waited:
    """Measure both.

    Args:
        python: Interpreter of the virtualenv of ``serving``.
        package: A model package that takes 10,000 rows.
        seconds: Length of each measurement.
    """
    small, large = serving.v2_request(package, 1), serving.v2_request(package, _LARGE_ROWS)
    with tempfile.TemporaryDirectory() as folder:
        server = serving.start(python, serving.LOGGED, package, Path(folder))
        try:
            serving.await_server(server)
            alone = _p99_ms(server.port, small, seconds)
            context = multiprocessing.get_context("spawn")
            clients = [
                context.Process(target=_latencies_s, args=(server.port, large, seconds + 2 * _WARM_S, 0.0))
                for _ in range(_LARGE_CLIENTS)
            ]
            for client in clients:
                client.start()
            time.sleep(_WARM_S)
            beside = _p99_ms(server.port, small, seconds)
            for client in clients:
                client.join()
            return Waited(alone, beside)
        finally:
            server.process.terminate()
            server.process.wait(30)


def _p99_ms(port: int, request: bytes, seconds: float) -> float:
    latencies = sorted(_latencies_s(port, request, seconds, _PAUSE_S))
    return latencies[int(len(latencies) * 0.99)] * 1000


def _latencies_s(port: int, request: bytes, seconds: float, pause_s: float) -> Sequence[float]:
    """Ask on one connection for some time."""
    latencies = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            start, received = time.perf_counter(), bytearray()
            connection.sendall(request)
            while not serving.is_complete(received):
                received += connection.recv(1 << 20)
            latencies.append(time.perf_counter() - start)
            time.sleep(pause_s)
    return latencies
