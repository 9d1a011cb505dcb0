"""``perennial status``: what answers, what is registered, what ran."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from components.shared import registry
from components.shared.release import endpoint_folder, routing
from pipelines.command import terminal
from pipelines.project import project_file
from pipelines.targets import state


def status(project: Path, *, target: str = "laptop", overrides: Sequence[str] = (), last: int = 10) -> None:
    """Print the state of a project."""
    place = state.open_state(project, target, overrides)
    name = project_file.read(place.project_file).name
    console = terminal.console()
    server = endpoint_folder.server(place.endpoint)
    active = routing.answering(place.endpoint)
    where = f"at {server.rest_url} (process {server.pid})" if server else "not running; start it with 'perennial serve'"
    console.print(f"endpoint  {'release ' + active if active else 'no release yet'}, {where}", highlight=False)
    if place.registry_exists:
        console.print(_versions(place, name))
    records = sorted(place.runs.glob("*/run.json"))[-last:]
    runs = Table("run", "state", "reason", "report", box=None, title="last runs", title_justify="left")
    for path in records:
        record = json.loads(path.read_text(encoding="utf-8"))
        report = path.parent / "report.html"
        runs.add_row(
            record["id"],
            record["state"],
            record["reason"] or "",
            str(report.relative_to(place.root)) if report.exists() else "",
        )
    console.print(runs)


def _versions(place: state.State, name: str) -> Table:
    client = registry.open(place.registry_uri)
    table = Table("version", "aliases", "snapshot", "run", box=None, title="registered", title_justify="left")
    found = registry.versions(client, name)
    # MLflow lists versions without their aliases.
    held = client.get_registered_model(name).aliases if found else {}
    for version in found:
        aliases = sorted(alias for alias, holder in held.items() if str(holder) == str(version.version))
        table.add_row(
            str(version.version), ", ".join(aliases), version.tags.get(registry.SNAPSHOT, "")[:12], version.run_id
        )
    return table
