"""CPU time per request of the model server beside that of others around the same model.

All of them run side by side and are asked in turns, so that what else the machine does hits them alike. CPU time is
what counts: on a shared machine, requests per second say as much about the neighbours.
"""

import contextlib
import http.client
import json
import os
import re
import selectors
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.package_sample import PackageSample
from components.shared.errors import StepFailed

ROOT = Path(__file__).resolve().parent.parent.parent
OURS, LOGGED, BARE, KSERVE, MLSERVER, BARE_GRPC = (
    "perennial",
    "perennial with the inference log",
    "bare FastAPI + uvicorn",
    "KServe's ModelServer",
    "MLServer",
    "bare grpc.aio",
)
MLSERVER_VARIABLE = "PERENNIAL_MLSERVER"
"""Names the program ``mlserver`` of a virtualenv with ONNX Runtime; without it, MLServer is not measured."""
LOADS = ((1, 1), (1, 16), (256, 1), (256, 8))
"""Rows per request and connections."""
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_TYPES = {"numeric": "FP64", "boolean": "BOOL", "categorical": "BYTES"}


@dataclass(frozen=True)
class Server:
    """A server that runs, with its two ports; one that has no gRPC ignores the second."""

    process: subprocess.Popen[bytes]
    port: int
    grpc_port: int

    def cpu_s(self) -> float:
        """Return the CPU time that its process has taken."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True)
class Measured:
    """One load on one server: CPU time per request, requests per second, and its share of the floor's CPU time.

    ``share`` is above 1 where it takes less than the floor; the median of the rounds.
    """

    protocol: str
    rows: int
    connections: int
    server: str
    floor: str
    cpu_us: float
    floor_cpu_us: float
    per_s: float
    share: float


Ask = Callable[[Server, int, int, float], float]
"""Ask a server with so many rows per request, on so many connections, for some seconds; returns requests per second."""


def measure(python: Path, package: Path, *, rounds: int = 5, seconds: float = 1.0) -> list[Measured]:
    """Measure every load of every protocol.

    Args:
        python: Interpreter of the virtualenv of ``serving``, with FastAPI.
        package: A model package.
        rounds: Turns per load; the median of the rounds' ratios counts.
        seconds: Length of one server's turn.
    """
    optional = (MLSERVER,) if os.environ.get(MLSERVER_VARIABLE) else ()
    with _servers(python, package, (OURS, LOGGED, BARE, KSERVE, BARE_GRPC, *optional)) as servers:
        asks: dict[str, tuple[Ask, Sequence[str]]] = {
            "V2": (_over_http(v2_request, package), (BARE, OURS, LOGGED, KSERVE, *optional)),
            "V1": (_over_http(v1_request, package), (BARE, OURS, LOGGED)),
            "gRPC": (_over_grpc(python, package), (BARE_GRPC, OURS, LOGGED)),
        }
        measured = []
        for protocol, (ask, names) in asks.items():
            for rows, connections in LOADS:
                chosen = {name: servers[name] for name in names}
                measured += _measure(protocol, chosen, ask, rows, connections, rounds, seconds)
        return measured


def _measure(
    protocol: str, servers: Mapping[str, Server], ask: Ask, rows: int, connections: int, rounds: int, seconds: float
) -> list[Measured]:
    """Measure one load; the first server is the floor."""
    for server in servers.values():
        ask(server, rows, connections, seconds / 4)
    turns = [
        {name: _turn(server, ask, rows, connections, seconds) for name, server in servers.items()}
        for _ in range(rounds)
    ]
    floor, *others = servers
    return [
        Measured(
            protocol,
            rows,
            connections,
            name,
            floor,
            statistics.median(turn[name][0] for turn in turns) * 1e6,
            statistics.median(turn[floor][0] for turn in turns) * 1e6,
            statistics.median(turn[name][1] for turn in turns),
            statistics.median(turn[floor][0] / turn[name][0] for turn in turns),
        )
        for name in others
    ]


def _turn(server: Server, ask: Ask, rows: int, connections: int, seconds: float) -> tuple[float, float]:
    """Return the CPU time of one request in seconds, and requests per second."""
    before = server.cpu_s()
    per_s = ask(server, rows, connections, seconds)
    return (server.cpu_s() - before) / (per_s * seconds), per_s


@contextlib.contextmanager
def _servers(python: Path, package: Path, names: Sequence[str]) -> Iterator[dict[str, Server]]:
    """Start servers, and end them when the context is left."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {}
        for name in names:
            servers[name] = start(python, name, package, folder)
            stack.callback(_end, servers[name].process)
        for name, server in servers.items():
            await_server(server, has_http=name != BARE_GRPC)
        yield servers


def start(python: Path, name: str, package: Path, folder: Path) -> Server:
    """Start one of the servers, which need not answer yet.

    Args:
        python: Interpreter of the virtualenv of ``serving``, with FastAPI.
        name: Which one.
        package: A model package.
        folder: Its logs go here.
    """
    port, grpc_port = free_port(), free_port()
    ours: list[object] = ["-m", "serving", "--model-dir", package, "--name", "bench", "--port", port]
    ours += ["--grpc-port", grpc_port, "--access-log", folder / f"access-{port}.log"]
    commands: dict[str, list[object]] = {
        OURS: ours,
        LOGGED: [*ours, "--log-dir", folder / "log"],
        BARE: ["-m", "pipelines.bench.bare_fastapi", package, port],
        KSERVE: ["-m", "pipelines.bench.kserve_stock", package, port, grpc_port],
        BARE_GRPC: ["-m", "pipelines.bench.bare_grpc", package, grpc_port],
    }
    if name == MLSERVER:
        python = Path(os.environ[MLSERVER_VARIABLE])
        commands[name] = ["start", _mlserver_folder(folder, package, port, grpc_port)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        [str(python), *map(str, commands[name])],
        cwd=ROOT,
        env=environment | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return Server(process, port, grpc_port)


def _mlserver_folder(folder: Path, package: Path, port: int, grpc_port: int) -> Path:
    """Write what MLServer reads: one process, as the others are."""
    settings = {"http_port": port, "grpc_port": grpc_port, "metrics_port": free_port(), "parallel_workers": 0}
    model = {"name": "bench", "implementation": "pipelines.bench.mlserver_model.Scorer"}
    target = folder / f"mlserver-{port}"
    target.mkdir()
    (target / "settings.json").write_text(json.dumps(settings | {"debug": False}))
    (target / "model-settings.json").write_text(json.dumps(model | {"parameters": {"uri": str(package)}}))
    return target


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(30)


def _over_http(request_of: Callable[[Path, int], bytes], package: Path) -> Ask:
    def ask(server: Server, rows: int, connections: int, seconds: float) -> float:
        return requests_per_s(server.port, request_of(package, rows), connections, seconds)

    return ask


def _over_grpc(python: Path, package: Path) -> Ask:
    def ask(server: Server, rows: int, connections: int, seconds: float) -> float:
        load = [package, server.grpc_port, rows, connections, seconds]
        command = [str(python), "-m", "pipelines.bench.grpc_load", *map(str, load)]
        return float(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout)

    return ask


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
                if is_complete(received):
                    if not received.startswith(b"HTTP/1.1 200"):
                        raise StepFailed(f"A server under measurement answered {bytes(received[:300])!r}.")
                    answered += 1
                    received.clear()
                    connection.sendall(request)
        for key in list(selector.get_map().values()):
            key.data[0].close()
        return answered / passed


def v2_request(package: Path, rows: int) -> bytes:
    """Return a V2 request with so many rows of the package's sample."""
    repeated = _sample(package, rows)
    inputs = [
        {
            "name": feature.name,
            "datatype": _TYPES[feature.type],
            "shape": [rows],
            "data": [row[feature.name] for row in repeated],
        }
        for feature in ModelFacts.read(package).features
    ]
    return _post("/v2/models/bench/infer", {"inputs": inputs})


def v1_request(package: Path, rows: int) -> bytes:
    """Return a V1 request with so many rows of the package's sample."""
    return _post("/v1/models/bench:predict", {"instances": _sample(package, rows)})


def _sample(package: Path, rows: int) -> Sequence[Mapping[str, object]]:
    sample = PackageSample.read(package).rows
    return (sample * (rows // len(sample) + 1))[:rows]


def _post(path: str, document: Mapping[str, object]) -> bytes:
    body = json.dumps(document).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def is_complete(received: bytearray) -> bool:
    """Return whether an answer has arrived as a whole."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = _LENGTH.search(received, 0, end)
    return length is not None and len(received) >= end + 4 + int(length[1])


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def await_server(server: Server, *, has_http: bool = True, deadline_s: float = 60.0) -> None:
    """Wait until a server answers.

    Raises:
        StepFailed: If it does not in time.
    """
    end = time.monotonic() + deadline_s
    while time.monotonic() < end and server.process.poll() is None:
        try:
            if not has_http:
                socket.create_connection(("127.0.0.1", server.grpc_port)).close()
                return
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
            connection.request("GET", "/v2/health/ready")
            # The floor has no such route, and is ready as soon as it says so.
            if connection.getresponse().status in (200, 404):
                return
        except (http.client.HTTPException, OSError):
            pass
        time.sleep(0.02)
    raise StepFailed(f"A server to measure did not come up on port {server.port}.")
