"""``perennial serve``: the local endpoint, in the foreground."""

import signal
import time
from datetime import datetime
from pathlib import Path

from rich.console import Console

from components.shared.errors import PerennialError
from components.shared.release import routing
from pipelines import runs
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.view import View
from pipelines.targets.local import endpoint
from pipelines.targets.protocol import RunningServer

_LOOK_S = 0.5


def serve(options: TargetOptions, *, host: str, port: int, grpc_port: int) -> int:
    """Start the endpoint of a project and stay until Ctrl-C or SIGTERM."""
    console, backend = terminal.console(), options.open()
    backend.check_machine()
    name, folder = backend.project.name, backend.state.endpoint
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with backend.serve(View(console), host=host, port=port, grpc_port=grpc_port) as server:
        version = routing.answering(folder)
        answers = (
            f"release {version} of {name}" if version else "nothing yet: the first 'perennial run' brings a release"
        )
        console.print(f"serving {answers}")
        console.print(f"{server.addresses}  (Ctrl-C ends it)")
        try:
            code = _follow(server, console, folder, name, version)
        except KeyboardInterrupt:
            return runs.OK
    console.print(f"the server ended with {code}; its log is {folder / endpoint.LOG}")
    return runs.FAILED


def _follow(server: RunningServer, console: Console, folder: Path, name: str, version: str | None) -> int:
    """Stay until the server ends and return its exit code; say when another release answers."""
    while (code := server.poll()) is None:
        try:
            now = routing.answering(folder)
        except PerennialError:
            # The server has the same trouble, logs it, and goes on with what it serves.
            now = version
        if now != version:
            instead = f"instead of release {version}" if version else "the first one"
            console.print(f"{datetime.now().astimezone():%H:%M:%S}  release {now} of {name} answers now, {instead}")
            version = now
        time.sleep(_LOOK_S)
    return code
