"""``perennial incidents``: what monitoring found and somebody has to deal with."""

import csv
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.table import Table

from components.shared.documents.monitoring import LoggedRow
from components.shared.incidents import store
from components.shared.incidents.incident import Incident
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.verbs import notifying


def show_all(options: TargetOptions, *, resolved: bool) -> None:
    """List the incidents that are not resolved, or all."""
    backend = options.open()
    notifying.deliver(backend.project, backend.state, terminal.console())
    incidents = [i for i in store.opened(_folder(options)) if resolved or i.state != "resolved"]
    if not incidents:
        click.echo("no incident" if resolved else "no open incident")
        return
    table = Table("incident", "cause", "state", "advice", "first seen", "last seen", "times", box=None)
    for incident in incidents:
        first, last = incident.sightings[0], incident.sightings[-1]
        seen = (f"{datetime.fromisoformat(sighting.at):%Y-%m-%d %H:%M}" for sighting in (first, last))
        times = str(len(incident.sightings))
        table.add_row(str(incident.number), incident.cause, incident.state, incident.action, *seen, times)
    terminal.console().print(table)


def show(options: TargetOptions, number: int) -> None:
    """Print an incident: its evidence, what to do, and how the last one of its kind ended."""
    folder = _folder(options)
    incident = store.get(folder, number)
    by = f" by {incident.acknowledged_by}" if incident.acknowledged_by else ""
    click.echo(f"incident {number}: {incident.cause}, {incident.state}{by}, advice: {incident.action}")
    click.echo(f"what to do: {store.WHAT_TO_DO[incident.cause]}")
    for sighting in incident.sightings:
        click.echo(f"{datetime.fromisoformat(sighting.at):%Y-%m-%d %H:%M} UTC, run {sighting.run}: {sighting.action}")
        for reason in sighting.reasons:
            click.echo(f"  - {reason}")
        if sighting.effect:
            click.echo(f"  effect: {sighting.effect}")
    if incident.to_label and incident.state != "resolved":
        click.echo(f"{len(incident.to_label)} rows to label first: 'perennial incidents to-label {number}'")
    if incident.resolution:
        click.echo(f"resolved {incident.resolved_at}: {incident.resolution}")
    if incident.previous is not None:
        former = store.get(folder, incident.previous)
        click.echo(f"the last one of this kind was incident {former.number}: {former.resolution}")


def to_label(options: TargetOptions, number: int) -> None:
    """Print the rows to label as CSV, in the columns that ``perennial labels add`` reads."""
    rows = store.get(_folder(options), number).to_label
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(LoggedRow.model_fields)
    writer.writerows((row.request_id, row.row) for row in rows)


def acknowledge(options: TargetOptions, number: int, who: str) -> None:
    """Note who deals with an incident."""
    _say(store.acknowledge(_folder(options), number, who))


def resolve(options: TargetOptions, number: int, resolution: str) -> None:
    """Close an incident."""
    backend, now = options.open(), datetime.now(UTC)
    incident = store.resolved(_folder(options), number, resolution, now)
    notifying.record(backend.project, backend.state, incident, now)
    _say(incident)
    notifying.deliver(backend.project, backend.state, terminal.console())


def _folder(options: TargetOptions) -> Path:
    backend = options.open()
    backend.check_machine()
    return backend.state.incidents


def _say(incident: Incident) -> None:
    click.echo(f"incident {incident.number} ({incident.cause}) is {incident.state}")
