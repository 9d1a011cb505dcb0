"""``perennial schedule``: run a pipeline again and again, by the clock of the server."""

from rich.table import Table

from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.targets.protocol import RunRequest


def create(options: TargetOptions, request: RunRequest, *, cron: str, name: str | None) -> None:
    """Schedule a pipeline as it is now: version, bundle and images stay until it is scheduled again."""
    backend = options.open()
    backend.check_server()
    schedule, version = backend.create_schedule(request, cron, name)
    terminal.console().print(
        f"scheduled {schedule.name}: {schedule.cron} (UTC), version {version.name}", highlight=False
    )


def show(options: TargetOptions, *, experiment: str | None) -> None:
    """List the schedules of a project."""
    table = Table("schedule", "when (UTC)", "state", "created", box=None)
    for schedule in options.open().schedules(experiment):
        created = f"{schedule.created:%Y-%m-%d %H:%M}" if schedule.created else ""
        table.add_row(schedule.name, schedule.cron, "on" if schedule.enabled else "paused", created)
    terminal.console().print(table)


def change(verb: str, options: TargetOptions, *, experiment: str | None, name: str) -> None:
    """Pause, resume or delete a schedule."""
    backend = options.open()
    action = {
        "pause": backend.pause_schedule, "resume": backend.resume_schedule, "delete": backend.delete_schedule,
    }[verb]  # fmt: skip
    action(name, experiment)
    done = {"pause": "paused", "resume": "resumed", "delete": "deleted"}[verb]
    terminal.console().print(f"{done} {name}", highlight=False)
