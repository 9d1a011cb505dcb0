"""``perennial run``: one training run with its live view, its report and, if asked, one real question."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pipelines import endpoint, environments, report, runs, state
from pipelines.commands import summary
from pipelines.laptop import training
from pipelines.laptop.processes import ProcessGroups
from pipelines.view import View
from rich.console import Console


def run(project: Path, *, seed: int, use_cache: bool, wait: bool, simulate: bool, ask: bool) -> int:
    """Run the training pipeline of a project on this machine.

    Returns:
        The command's exit code (see ``pipelines.runs``).
    """
    console = Console(stderr=False, soft_wrap=True)
    place = state.open_state(project)
    prepared = training.prepare(place, announce=lambda name: console.print(f"installing the packages of {name}"))
    if simulate:
        _simulate_missing(place, console)
    place.create()
    with state.exclusive(place, "run", wait=wait):
        endpoint.recover(place.endpoint, place.registry_uri)
        record = training.new_run(prepared, datetime.now(UTC))
        try:
            with ProcessGroups() as groups, _server(place, groups):
                with View(record, console) as view:
                    training.train(prepared, record, view.changed, groups, seed=seed, use_cache=use_cache)
                page = report.render(record.as_dict(), record.folder)
                summary.show(record, page, console)
                if ask and record.exit_code == runs.OK:
                    summary.ask(place, record, console)
        finally:
            endpoint.recover(place.endpoint, place.registry_uri)
    assert record.exit_code is not None
    return record.exit_code


@contextmanager
def _server(place: state.State, groups: ProcessGroups) -> Iterator[None]:
    """Use the endpoint that runs, or one for the time of this run."""
    if endpoint.running(place.endpoint):
        yield
        return
    [serving] = environments.prepare(["serving"]).values()
    server = endpoint.start(place.endpoint, serving.python, serving.source, groups)
    try:
        yield
    finally:
        endpoint.stop(server)


def _simulate_missing(place: state.State, console: Console) -> None:
    """Write the example's tables where they are missing."""
