"""``perennial run``: one run on this machine with its live view, its report and, if asked, one real question."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines import api, runs
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.verbs import summary
from pipelines.command.view import View
from pipelines.targets.local import endpoint
from pipelines.targets.protocol import Backend, RunObserver, RunRequest


def run(options: TargetOptions, request: RunRequest, *, simulate: bool, ask: bool) -> int:
    """Run a pipeline of a project on this machine.

    Returns:
        The command's exit code (see ``pipelines.runs``).
    """
    console, backend = terminal.console(), options.open()
    backend.check_machine()
    if simulate and (rows := api.simulate(options.project)):
        console.print(f"simulated {', '.join(f'{count:,} {table}' for table, count in sorted(rows.items()))}")
    with backend.start(request, View(console)) as started:
        page = started.follow()
        record = started.record
        summary.show(record, page, backend.state.root, console)
        if ask and record.exit_code == runs.OK and request.entry.releases:
            with _server(backend):
                summary.ask(backend.state.endpoint, record, console)
    assert record.exit_code is not None
    return record.exit_code


@contextmanager
def _server(backend: Backend) -> Iterator[None]:
    """Provide a server for a question: the run's, or one started now, because a run with nothing to do needs none."""
    if endpoint.find(backend.state.endpoint):
        yield
        return
    with backend.serve(RunObserver(), host="127.0.0.1", port=0, grpc_port=0):
        yield
