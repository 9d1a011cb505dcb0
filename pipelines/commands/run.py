"""``perennial run``: one training run with its live view, its report and, if asked, one real question."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from pipelines import endpoint, project_file, report, runs, simulator, state, terminal
from pipelines.commands import summary
from pipelines.local import training
from pipelines.local.place import Place
from pipelines.view import View


def run(
    project: Path,
    *,
    target: str = "laptop",
    overrides: Sequence[str] = (),
    seed: int,
    use_cache: bool,
    wait: bool,
    simulate: bool,
    ask: bool,
) -> int:
    """Run the training pipeline of a project on this machine.

    Returns:
        The command's exit code (see ``pipelines.runs``).
    """
    console = terminal.console()
    place, chosen = state.open_project(project, target, overrides)
    if simulate:
        _simulate_missing(place, console)
    prepared = training.prepare(place, chosen, lambda sentence: console.print(sentence, highlight=False))
    with state.exclusive(place, "run", wait=wait):
        place.create()
        endpoint.recover(place.endpoint, place.registry_uri)
        runs.settle(place.runs)
        record = training.new_run(prepared, datetime.now(UTC))
        with _server(place.endpoint, prepared.place):
            try:
                with prepared.place.tasks(record.id) as tasks, View(record, console) as view:
                    training.train(prepared, record, view.changed, tasks, seed=seed, use_cache=use_cache)
            finally:
                endpoint.recover(place.endpoint, place.registry_uri)
                page = report.render(record.as_dict(), record.folder)
            summary.show(record, page, place.root, console)
            if ask and record.exit_code == runs.OK:
                summary.ask(place.endpoint, record, console)
    assert record.exit_code is not None
    return record.exit_code


@contextmanager
def _server(folder: Path, where: Place) -> Iterator[None]:
    """Have an endpoint while a run may need one: the one that is there, or one started beside the first steps."""
    if endpoint.find(folder):
        yield
        return
    with ThreadPoolExecutor(1) as starter:
        starting = starter.submit(where.serve, folder)
        try:
            yield
        finally:
            starting.result().stop()


def _simulate_missing(place: state.State, console: Console) -> None:
    """Write the shipped example's tables where they are missing."""
    project = project_file.read(place.project_file)
    paths = [place.root / source.path for source in project.sources.values() if source.path]
    if all(path.exists() for path in paths):
        return
    rows = simulator.write(paths[0].parent)
    console.print(f"simulated {', '.join(f'{count:,} {table}' for table, count in sorted(rows.items()))}")
