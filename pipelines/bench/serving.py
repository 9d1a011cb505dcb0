"""Requests per second of the model server, as a share of bare FastAPI + uvicorn around the same model.

Both run side by side and are asked in turns, so that what else the machine does hits both alike.
``python -m pipelines.bench.serving PYTHON PACKAGE`` prints the shares; PYTHON is the interpreter of ``serving``.
"""

import json
import re
import selectors
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.package_sample import PackageSample
from components.shared.errors import StepFailed
from components.shared.inference import call

ROOT = Path(__file__).resolve().parent.parent.parent
LOADS = ((1, 1), (1, 16), (256, 1), (256, 8))
"""Rows per request and connections."""
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_TYPES = {"numeric": "FP64", "boolean": "BOOL", "categorical": "BYTES"}


@dataclass(frozen=True)
class Measured:
    """One load: requests per second of both, and their ratio (median over the rounds)."""

    rows: int
    connections: int
    served_per_s: float
    floor_per_s: float
    share: float


def measure(
    python: Path, package: Path, *, source: Path = ROOT, rounds: int = 9, seconds: float = 0.6
) -> list[Measured]:
    """Measure every load.

    Args:
        python: Interpreter of the virtualenv of ``serving``.
        package: A model package.
        source: Folder that holds ``serving``, ``components`` and ``pipelines``.
        rounds: Turns per load; the median of the rounds' ratios counts.
        seconds: Length of one server's turn.
    """
    served_port, floor_port = free_port(), free_port()
    model_server = server(package, served_port)
    floor: list[str | Path] = ["-m", "pipelines.bench.bare_fastapi", package, str(floor_port)]
    processes = [subprocess.Popen([python, *command], cwd=source) for command in (model_server, floor)]
    try:
        for port, process in zip((served_port, floor_port), processes, strict=True):
            await_server(port, process)
        return [_measure(served_port, floor_port, package, load, rounds, seconds) for load in LOADS]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


def server(package: Path, port: int) -> list[str | Path]:
    """Return the arguments that start the model server on a package."""
    return ["-m", "serving", "--model-dir", package, "--name", "bench", "--port", str(port)]


def requests_per_s(port: int, request: bytes, connections: int, seconds: float) -> float:
    """Ask on kept-alive connections, each as soon as its last answer came; one thread, no client library."""
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection, selectors.EVENT_READ, (connection, bytearray()))
            connection.sendall(request)
        answered, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < seconds:
            for key, _ in selector.select(timeout=1):
                connection, received = key.data
                received += connection.recv(1 << 18)
                if _complete(received):
                    if not received.startswith(b"HTTP/1.1 200"):
                        raise StepFailed(f"A server under measurement answered {bytes(received[:300])!r}.")
                    answered += 1
                    received.clear()
                    connection.sendall(request)
        for key in list(selector.get_map().values()):
            key.data[0].close()
        return answered / passed


def _measure(served: int, floor: int, package: Path, load: tuple[int, int], rounds: int, seconds: float) -> Measured:
    rows, connections = load
    body = request(package, rows)
    for port in (served, floor):
        requests_per_s(port, body, connections, seconds / 4)
    pairs = [tuple(requests_per_s(port, body, connections, seconds) for port in (served, floor)) for _ in range(rounds)]
    return Measured(
        rows,
        connections,
        statistics.median(pair[0] for pair in pairs),
        statistics.median(pair[1] for pair in pairs),
        statistics.median(pair[0] / pair[1] for pair in pairs),
    )


def request(package: Path, rows: int) -> bytes:
    """Return a V2 request with so many rows of the package's sample."""
    sample = PackageSample.read(package).rows
    repeated = (sample * (rows // len(sample) + 1))[:rows]
    inputs = [
        {
            "name": feature.name,
            "datatype": _TYPES[feature.type],
            "shape": [rows],
            "data": [row[feature.name] for row in repeated],
        }
        for feature in ModelFacts.read(package).features
    ]
    body = json.dumps({"inputs": inputs}).encode()
    head = "POST /v2/models/bench/infer HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _complete(received: bytearray) -> bool:
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = _LENGTH.search(received, 0, end)
    return length is not None and len(received) >= end + 4 + int(length[1])


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def await_server(port: int, process: subprocess.Popen[bytes], deadline_s: float = 60.0) -> None:
    """Wait until a server answers.

    Raises:
        StepFailed: If it does not in time.
    """
    end = time.monotonic() + deadline_s
    while time.monotonic() < end and process.poll() is None:
        try:
            call(f"http://127.0.0.1:{port}", "/openapi.json")
            return
        except StepFailed:
            time.sleep(0.1)
    raise StepFailed(f"A server to measure did not come up on port {port}; its messages are above.")


def main() -> None:
    """Print one line per load."""
    for load in measure(Path(sys.argv[1]), Path(sys.argv[2])):
        print(
            f"{load.rows:4d} rows, {load.connections:2d} connections: {load.served_per_s:6.0f}/s, "
            f"bare FastAPI {load.floor_per_s:6.0f}/s, share {load.share:.2f}"
        )


if __name__ == "__main__":
    main()
