"""``perennial submit``: one training run on a cluster, followed to its end."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from pipelines import runs, state, terminal
from pipelines.cluster import submission
from pipelines.cluster.connection import Server
from pipelines.cluster.following import Follower
from pipelines.cluster.storage import Bucket
from pipelines.view import View


def submit(
    project: Path,
    *,
    target: str,
    overrides: Sequence[str],
    seed: int,
    use_cache: bool,
    experiment: str | None,
    source_root: str | None,
    wait: bool,
) -> int:
    """Submit a run and, unless told otherwise, wait for its end.

    Returns:
        The command's exit code (see ``pipelines.runs``).
    """
    console = terminal.console()
    place, chosen = state.open_cluster(project, target, overrides)
    prepared = submission.prepare(place, chosen, use_cache)
    server = Server(chosen)
    parameters = submission.arguments(prepared, Bucket(chosen.storage), seed, source_root)
    version = submission.upload(server, prepared.pipeline, prepared.documents, submission.revision())
    filed = experiment or chosen.experiment or prepared.project.name
    now = datetime.now(UTC)
    name = f"{prepared.pipeline} {now:%Y-%m-%d %H:%M:%S}"
    run_id = submission.start(server, version, parameters, name, filed)
    place.runs.mkdir(parents=True, exist_ok=True)
    record = submission.record(prepared, run_id, now)
    console.print(f"submitted run {run_id}, version {version.name}, experiment {escape(filed)!r}", highlight=False)
    if not wait:
        console.print(f"follow it with 'perennial logs {run_id}', all with 'perennial runs'", highlight=False)
        return runs.OK
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
    show_end(record, console)
    assert record.exit_code is not None
    return record.exit_code


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
