"""``perennial serve``: the local endpoint, in the foreground."""

import signal
from collections.abc import Sequence
from pathlib import Path

from components.shared.release import local, routing
from pipelines.command import terminal
from pipelines.project import project_file
from pipelines.targets import state
from pipelines.targets.local import endpoint
from pipelines.targets.local.place import open_place


def serve(
    project: Path, *, target: str = "laptop", overrides: Sequence[str] = (), host: str, port: int, grpc_port: int
) -> int:
    """Start the endpoint of a project and stay until Ctrl-C or SIGTERM."""
    console = terminal.console()
    place, chosen = state.open_project(project, target, overrides)
    read = project_file.read(place.project_file)
    place.create()
    local.recover(place.endpoint, place.registry_uri)
    where = open_place(chosen, read, place, ["serving"], lambda sentence: console.print(sentence, highlight=False))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with where.serve(place.endpoint, host=host, port=port, grpc_port=grpc_port) as running:
        version = routing.answering(place.endpoint)
        answers = (
            f"release {version} of {read.name}"
            if version
            else "nothing yet: the first 'perennial run' brings a release"
        )
        console.print(f"serving {answers}")
        console.print(f"REST {running.server.rest_url}  gRPC {running.server.grpc_address}  (Ctrl-C ends it)")
        try:
            code = running.process.wait()
        except KeyboardInterrupt:
            return 0
    console.print(f"the server ended with {code}; its log is {place.endpoint / endpoint.LOG}")
    return 5
