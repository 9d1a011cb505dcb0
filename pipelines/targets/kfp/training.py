"""Train on a cluster: bring the project there, start a run, follow it, fetch what it says of itself."""

from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from components.shared.errors import PerennialError
from pipelines import runs
from pipelines.command.view import View
from pipelines.runs import report
from pipelines.targets.kfp import artifacts, submission
from pipelines.targets.kfp.connection import Server
from pipelines.targets.kfp.following import Follower
from pipelines.targets.kfp.storage import Bucket
from pipelines.targets.model import Kfp
from pipelines.targets.state import State


def train(
    state: State,
    target: Kfp,
    *,
    seed: int,
    use_cache: bool,
    experiment: str | None = None,
    source_root: str | None = None,
    wait: bool = True,
    console: Console,
) -> runs.Run:
    """Submit a run and, unless told otherwise, wait for its end.

    Args:
        state: The project's folders.
        target: The cluster.
        seed: Of splits, search and training.
        use_cache: Take the outputs of steps that did not change from the server's cache.
        experiment: The run is filed under; None is the target's, or the project's name.
        source_root: A folder in a bucket where others put the tables; None uploads those beside the project file.
        wait: Follow it to its end.
        console: Where progress is shown.

    Returns:
        The record; without ``wait`` it is still open.

    Raises:
        InputError: If project, target, server or bucket won't do.
        KeyboardInterrupt: After Ctrl-C; the run goes on.
    """
    prepared = submission.prepare(state, target, use_cache, source_root)
    server, bucket = Server(target), Bucket(target.storage)
    parameters = submission.arguments(prepared, bucket, seed, source_root)
    version = submission.upload(server, prepared.pipeline, prepared.documents, submission.revision())
    filed = experiment or target.experiment or prepared.project.name
    now = datetime.now(UTC)
    name = f"{prepared.pipeline} {now:%Y-%m-%d %H:%M:%S}"
    run_id = submission.start(server, version, parameters, name, filed)
    state.runs.mkdir(parents=True, exist_ok=True)
    record = submission.record(prepared, run_id, now)
    console.print(f"submitted run {run_id}, version {version.name}, experiment {escape(filed)!r}", highlight=False)
    if not wait:
        console.print(f"follow it with 'perennial logs {run_id}', all with 'perennial runs'", highlight=False)
        return record
    try:
        with View(record, console) as view:
            follower = Follower(server, record, view.changed, lambda said: console.print(escape(said)))
            follower.to_the_end()
    except KeyboardInterrupt:
        console.print(
            f"no longer watching; the run goes on. 'perennial logs {run_id}' shows it, "
            f"'perennial runs --end {run_id}' ends it.",
            highlight=False,
        )
        raise
    _fetch(follower, record, bucket, console)
    return record


def page(record: runs.Run) -> Path:
    """Write the report of a run from what was fetched of it."""
    return report.render(record.as_dict(), record.folder)


def _fetch(follower: Follower, record: runs.Run, bucket: Bucket, console: Console) -> None:
    """Keep what the steps say; a run has ended as it has, whether this machine can read it or not."""
    try:
        uris = artifacts.located(follower.workflow())
        record.artifacts |= artifacts.bring(uris, bucket, record.folder / "artifacts")
    except PerennialError as error:
        console.print(f"what it measured stays on the cluster: {escape(str(error))}", highlight=False)
    record.save()
