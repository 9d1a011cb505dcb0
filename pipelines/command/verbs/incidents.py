"""``perennial incidents``: what monitoring found and somebody has to deal with."""

import csv
import sys
from datetime import UTC, datetime

import click
from rich.table import Table

from components.shared.documents.monitoring import LoggedRow
from components.shared.incidents import announcing, store
from components.shared.incidents.incident import Incident
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.verbs import notifying


def show_all(options: TargetOptions, *, resolved: bool) -> None:
    """List the incidents that are not resolved, or all."""
    backend = options.open()
    with backend.incidents() as folders:
        # A cluster's own runs send what waits there, with the credentials that only they have.
        if not backend.is_remote:
            notifying.deliver(backend.project, folders, terminal.console())
        incidents = [i for i in store.opened(folders.incidents) if resolved or i.state != "resolved"]
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
    with options.open().incidents() as folders:
        incident = store.get(folders.incidents, number)
        former = None if incident.previous is None else store.get(folders.incidents, incident.previous)
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
    if former is not None:
        click.echo(f"the last one of this kind was incident {former.number}: {former.resolution}")


def to_label(options: TargetOptions, number: int) -> None:
    """Print the rows to label as CSV, in the columns that ``perennial labels add`` reads."""
    with options.open().incidents() as folders:
        rows = store.get(folders.incidents, number).to_label
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(LoggedRow.model_fields)
    writer.writerows((row.request_id, row.row) for row in rows)


def acknowledge(options: TargetOptions, number: int, who: str) -> None:
    """Note who deals with an incident."""
    with options.open().incidents() as folders:
        _say(store.acknowledge(folders.incidents, number, who))


def resolve(options: TargetOptions, number: int, resolution: str) -> None:
    """Close an incident."""
    backend, now = options.open(), datetime.now(UTC)
    with backend.incidents() as folders:
        incident = store.resolved(folders.incidents, number, resolution, now)
        announcing.record(backend.project, folders, incident, now)
        _say(incident)
        if not backend.is_remote:
            notifying.deliver(backend.project, folders, terminal.console())
        elif backend.project.monitoring.notify:
            click.echo("the next run of monitoring tells the sinks")


def _say(incident: Incident) -> None:
    click.echo(f"incident {incident.number} ({incident.cause}) is {incident.state}")
