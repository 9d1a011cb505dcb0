"""``perennial serve``: the local endpoint, in the foreground."""

import signal
from pathlib import Path

from components.shared import releases
from pipelines import endpoint, environments, project_file, state, terminal


def serve(project: Path, *, host: str, port: int, grpc_port: int) -> int:
    """Start the endpoint of a project and stay until Ctrl-C or SIGTERM."""
    console = terminal.console()
    place = state.open_state(project)
    name = project_file.read(place.project_file).name
    place.create()
    endpoint.recover(place.endpoint, place.registry_uri)
    [serving] = environments.prepare(
        ["serving"], lambda what: console.print(f"installing the packages of {what}")
    ).values()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with endpoint.start(
        place.endpoint, python=serving.python, source=serving.source, host=host, port=port, grpc_port=grpc_port
    ) as running:
        version = releases.active(place.endpoint)
        answers = (
            f"release {version} of {name}" if version else "nothing yet: the first 'perennial run' brings a release"
        )
        console.print(f"serving {answers}")
        console.print(f"REST {running.server.rest_url}  gRPC {running.server.grpc_address}  (Ctrl-C ends it)")
        try:
            code = running.process.wait()
        except KeyboardInterrupt:
            return 0
    console.print(f"the server ended with {code}; its log is {place.endpoint / endpoint.LOG}")
    return 5
