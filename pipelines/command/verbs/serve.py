"""``perennial serve``: the local endpoint, in the foreground."""

import signal

from components.shared.release import routing
from pipelines import runs
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.view import View
from pipelines.targets.local import endpoint


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
            code = server.wait()
        except KeyboardInterrupt:
            return runs.OK
    console.print(f"the server ended with {code}; its log is {folder / endpoint.LOG}")
    return runs.FAILED
