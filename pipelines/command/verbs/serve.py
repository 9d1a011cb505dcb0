"""``perennial serve``: the local endpoint, in the foreground."""

import signal
import time
from collections.abc import Sequence
from datetime import datetime

from rich.console import Console

from components.shared.errors import PerennialError
from components.shared.release import local as local_release
from components.shared.release import routing
from components.shared.release.driver import ReleaseDriver
from components.shared.release.file_journal import FileJournalStore
from pipelines import runs
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.verbs import release as releases
from pipelines.command.view import View
from pipelines.targets.local import endpoint
from pipelines.targets.local.backend import LocalBackend
from pipelines.targets.protocol import Backend, RunningServer

_LOOK_S = 0.5


def serve(options: TargetOptions, *, host: str, port: int, grpc_port: int, access: Sequence[str]) -> int:
    """Start the endpoint of a project and stay until Ctrl-C or SIGTERM."""
    console, backend = terminal.console(), options.open()
    backend.check_machine()
    name, folder = backend.project.name, backend.state.endpoint
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with backend.serve(View(console), host=host, port=port, grpc_port=grpc_port, access=access) as server:
        version = routing.answering(folder)
        answers = (
            f"release {version} of {name}" if version else "nothing yet: the first 'perennial run' brings a release"
        )
        console.print(f"serving {answers}")
        console.print(f"{server.addresses}  (Ctrl-C ends it)")
        try:
            code = _follow(server, console, backend, version)
        except KeyboardInterrupt:
            return runs.OK
    console.print(f"the server ended with {code}; its log is {folder / endpoint.LOG}")
    return runs.FAILED


def _follow(server: RunningServer, console: Console, backend: Backend, version: str | None) -> int:
    """Stay until the server ends and return its exit code; watch releases, and say when another one answers."""
    folder, name = backend.state.endpoint, backend.project.name
    watch = _Watch(backend, console)
    while (code := server.poll()) is None:
        watch.look()
        try:
            # While a release is under way, the shares say nothing of who is the champion.
            now = version if FileJournalStore(folder).read() else routing.answering(folder)
        except PerennialError:
            # The server has the same trouble, logs it, and goes on with what it serves.
            now = version
        if now != version:
            instead = f"instead of release {version}" if version else "the first one"
            console.print(f"{datetime.now().astimezone():%H:%M:%S}  release {now} of {name} answers now, {instead}")
            version = now
        time.sleep(_LOOK_S)
    return code


class _Watch:
    """Goes on with a release that is exposed; what fails is said once, and tried again at the next look."""

    def __init__(self, backend: Backend, console: Console) -> None:
        self._backend, self._console = backend, console
        self._driver: ReleaseDriver | None = None
        self._told: str | None = None

    def look(self) -> None:
        """Look, if there is such a release; the registry is opened once for each."""
        try:
            assert isinstance(self._backend, LocalBackend)
            state = self._backend.state
            if local_release.waiting(state.endpoint) is None:
                self._driver = None
                # What a registry that did not answer left undone.
                local_release.recover(state.endpoint, state.registry_uri)
                return
            self._driver = self._driver or self._backend.release_driver()
            releases.look(self._backend, self._driver, self._console)
            self._told = None
        except PerennialError as error:
            if str(error) != self._told:
                self._told = str(error)
                self._console.print(str(error), style="yellow", highlight=False, markup=False, soft_wrap=True)
