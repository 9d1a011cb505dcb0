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
_MOST_RESTARTS = 3
_RESTARTS_S = 60.0


class Restarts:
    """How often a server may be started again: three times a minute; one that ends sooner would end for ever.

    >>> restarts = Restarts()
    >>> [restarts.another(now_s) for now_s in (0, 1, 2, 59, 60, 61)]
    [True, True, True, False, True, True]
    """

    def __init__(self) -> None:
        self._at_s: list[float] = []

    def another(self, now_s: float) -> bool:
        """Count a restart, if there may be one now.

        Args:
            now_s: A monotonic clock in seconds.
        """
        self._at_s = [at_s for at_s in self._at_s if now_s - at_s < _RESTARTS_S]
        if len(self._at_s) == _MOST_RESTARTS:
            return False
        self._at_s.append(now_s)
        return True


def serve(options: TargetOptions, *, host: str, port: int, grpc_port: int, access: Sequence[str]) -> int:
    """Start the endpoint of a project and stay until Ctrl-C or SIGTERM; a server that is killed is started again."""
    console, backend = terminal.console(), options.open()
    backend.check_machine()
    name, folder = backend.project.name, backend.state.endpoint
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    restarts, log = Restarts(), folder / endpoint.LOG
    while True:
        with backend.serve(View(console), host=host, port=port, grpc_port=grpc_port, access=access) as server:
            version = routing.answering(folder)
            answers = (
                f"release {version} of {name}" if version else "nothing yet: the first 'perennial run' brings a release"
            )
            console.print(f"serving {answers}")
            console.print(f"{server.addresses}  (Ctrl-C ends it)")
            # Clients know these by now.
            port, grpc_port = server.ports
            try:
                code = _follow(server, console, backend, version)
            except KeyboardInterrupt:
                return runs.OK
        if not code:
            console.print(f"the server was told to end; its log is {log}")
            return runs.FAILED
        if not restarts.another(time.monotonic()):
            console.print(f"the server {_end(code)}, the {_MOST_RESTARTS + 1}th time within a minute; its log is {log}")
            return runs.FAILED
        console.print(f"{_now()}  the server {_end(code)} and is started again; its log is {log}")


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
            console.print(f"{_now()}  release {now} of {name} answers now, {instead}")
            version = now
        time.sleep(_LOOK_S)
    return code


def _now() -> str:
    return f"{datetime.now().astimezone():%H:%M:%S}"


def _end(code: int) -> str:
    return f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with {code}"


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
