"""One training run on a cluster, from the project's folder to the run's end."""

from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape

from pipelines import runs
from pipelines.cluster import submission
from pipelines.cluster.connection import Server
from pipelines.cluster.following import Follower
from pipelines.cluster.storage import Bucket
from pipelines.state import State
from pipelines.targets.model import Kfp
from pipelines.view import View


def submit(
    place: State,
    target: Kfp,
    console: Console,
    *,
    seed: int,
    use_cache: bool = True,
    experiment: str | None = None,
    source_root: str | None = None,
    wait: bool = True,
) -> runs.Run:
    """Upload what the server lacks, start a run and, unless told otherwise, follow it to its end.

    Args:
        place: The project's folders.
        target: The cluster.
        console: Where progress is shown.
        seed: Of splits, search and training.
        use_cache: Take the outputs of steps that did not change from the server's cache.
        experiment: Under which the run is filed; None is the target's, or the project's name.
        source_root: Folder in a bucket with the tables; None uploads those beside the project file.
        wait: Follow the run; else its record stays open until somebody looks at it.

    Returns:
        The run's record; its ``exit_code`` is None while it goes on.

    Raises:
        InputError: If project, target, server or bucket won't do.
        StepFailed: If the server fails.
        KeyboardInterrupt: After Ctrl-C; the run goes on.
    """
    prepared = submission.prepare(place, target, use_cache)
    server = Server(target)
    parameters = submission.arguments(prepared, Bucket(target.storage), seed, source_root)
    version = submission.upload(server, prepared.pipeline, prepared.documents, submission.revision())
    filed, now = experiment or target.experiment or prepared.project.name, datetime.now(UTC)
    run_id = submission.start(server, version, parameters, f"{prepared.pipeline} {now:%Y-%m-%d %H:%M:%S}", filed)
    place.runs.mkdir(parents=True, exist_ok=True)
    record = submission.record(prepared, run_id, now)
    console.print(f"submitted run {run_id}, version {version.name}, experiment {escape(filed)!r}", highlight=False)
    if not wait:
        console.print(f"follow it with 'perennial logs {run_id}', all with 'perennial runs'", highlight=False)
        return record
    try:
        with View(record, console) as view:
            Follower(server, record, view.changed, lambda said: console.print(escape(said))).to_the_end()
    except KeyboardInterrupt:
        console.print(
            f"no longer watching; the run goes on. 'perennial logs {run_id}' shows it, "
            f"'perennial runs --end {run_id}' ends it.",
            highlight=False,
        )
        raise
    return record


def show_end(record: runs.Run, console: Console) -> None:
    """Say how a run ended, why, and which command shows more."""
    if record.exit_code == runs.OK:
        console.print("[bold green]finished[/]; what it measured and released is in the registry")
        return
    if record.exit_code == runs.REJECTED:
        console.print("[bold]rejected by the gate[/]; the champion stays.")
        console.print(f"more    perennial logs {record.remote} gate", highlight=False)
        return
    failed = next((step for step in record.steps if step.error and step.error == record.reason), None)
    where = f"{failed.name}: " if failed else ""
    console.print(f"[bold red]{record.state}[/]: {escape(where + (record.reason or 'unknown'))}")
    console.print(f"more    perennial logs {record.remote}{f' {failed.name}' if failed else ''}", highlight=False)
