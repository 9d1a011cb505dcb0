"""``perennial status``: what answers, what is registered, what ran."""

from rich.table import Table

from components.shared import registry
from components.shared.errors import InputError
from components.shared.release import endpoint_folder, routing
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.targets import history
from pipelines.targets.state import State


def status(options: TargetOptions, *, last: int = 10) -> None:
    """Print the state of a project."""
    backend = options.open()
    backend.check_machine()
    name, folders = backend.project.name, backend.state
    console = terminal.console()
    server = endpoint_folder.server(folders.endpoint)
    active = routing.answering(folders.endpoint)
    where = f"at {server.rest_url} (process {server.pid})" if server else "not running; start it with 'perennial serve'"
    console.print(f"endpoint  {'release ' + active if active else 'no release yet'}, {where}", highlight=False)
    if folders.registry_exists:
        console.print(_versions(folders, name))
    console.print(_runs(folders, last))


def _runs(folders: State, last: int) -> Table:
    table = Table("run", "pipeline", "state", "reason", "report", box=None, title="last runs", title_justify="left")
    unreadable: list[InputError] = []
    newest = [run for run, _ in zip(history.records(folders, unreadable.append), range(last), strict=False)]
    for run in reversed(newest):
        report = run.folder / "report.html"
        shown = str(report.relative_to(folders.root)) if report.exists() else ""
        table.add_row(run.id, run.pipeline, run.state, run.reason or "", shown)
    for error in unreadable:
        table.add_row("", "", "unreadable", str(error), "")
    return table


def _versions(folders: State, name: str) -> Table:
    client = registry.open(folders.registry_uri)
    table = Table("version", "aliases", "snapshot", "run", box=None, title="registered", title_justify="left")
    versions = registry.versions(client, name)
    # MLflow lists versions without their aliases.
    held = client.get_registered_model(name).aliases if versions else {}
    for version in versions:
        aliases = sorted(alias for alias, holder in held.items() if str(holder) == str(version.version))
        table.add_row(
            str(version.version), ", ".join(aliases), version.tags.get(registry.SNAPSHOT, "")[:12], version.run_id
        )
    return table
