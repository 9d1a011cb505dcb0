"""``perennial schedule``: train again and again, by the clock of the server."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from pipelines.command import terminal
from pipelines.project import project_file
from pipelines.targets import state
from pipelines.targets.kfp import schedules, submission
from pipelines.targets.kfp.connection import Server
from pipelines.targets.kfp.storage import Bucket


def create(
    project: Path,
    *,
    target: str,
    overrides: Sequence[str],
    cron: str,
    name: str | None,
    seed: int,
    experiment: str | None,
    source_root: str | None,
) -> None:
    """Create a schedule of the pipeline as it is now: version, bundle and images stay until it is made anew."""
    place, chosen = state.open_cluster(project, target, overrides)
    expression = schedules.check_cron(cron)
    prepared = submission.prepare(place, chosen, source_root=source_root)
    server = Server(chosen)
    parameters = submission.arguments(prepared, Bucket(chosen.storage), seed, source_root)
    version = submission.upload(server, prepared.pipeline, prepared.documents, submission.revision())
    made = schedules.create(
        server,
        name or prepared.pipeline,
        expression,
        version,
        parameters,
        experiment or chosen.experiment or prepared.project.name,
    )
    terminal.console().print(f"scheduled {made.name}: {made.cron} (UTC), version {version.name}", highlight=False)


def show(project: Path, *, target: str, overrides: Sequence[str], experiment: str | None) -> None:
    """List the schedules of a project."""
    server, filed = _server(project, target, overrides, experiment)
    table = Table("schedule", "when (UTC)", "state", "made", box=None)
    for each in schedules.listing(server, filed):
        made = f"{each.made:%Y-%m-%d %H:%M}" if each.made else ""
        table.add_row(each.name, each.cron, "on" if each.enabled else "paused", made)
    terminal.console().print(table)


def change(
    verb: str, project: Path, *, target: str, overrides: Sequence[str], experiment: str | None, name: str
) -> None:
    """Pause, resume or delete a schedule."""
    server, filed = _server(project, target, overrides, experiment)
    schedule = schedules.named(server, name, filed)
    if verb == "delete":
        schedules.delete(server, schedule, filed)
    else:
        {"pause": schedules.pause, "resume": schedules.resume}[verb](server, schedule)
    done = {"pause": "paused", "resume": "resumed", "delete": "deleted"}[verb]
    terminal.console().print(f"{done} {name}", highlight=False)


def _server(project: Path, target: str, overrides: Sequence[str], experiment: str | None) -> tuple[Server, str]:
    place, chosen = state.open_cluster(project, target, overrides)
    return Server(chosen), experiment or chosen.experiment or project_file.read(place.project_file).name
