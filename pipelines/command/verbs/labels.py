"""``perennial labels add`` and ``outcomes add``: what has become known since the prediction."""

from datetime import UTC, datetime
from pathlib import Path

import click

from components.shared import label_store
from pipelines.command.options import TargetOptions
from pipelines.scoring import late_labels


def add_outcomes(options: TargetOptions, table: Path, columns: late_labels.LabelColumns) -> None:
    """Add the figures of a table to the project's outcomes, and say how many."""
    backend = options.open()
    now, outcomes = datetime.now(UTC), late_labels.read(backend.project, table, columns, as_numbers=True)
    late_labels.check_times(outcomes, table, now)
    backend.state.create_folder()
    added = label_store.add(backend.state.outcomes, outcomes, now)
    if added.is_new:
        click.echo(f"added {added.rows:,} outcomes; the release that is tested takes them into account")
    else:
        click.echo(f"nothing to do: these {added.rows:,} outcomes were added before")


def add(options: TargetOptions, table: Path, columns: late_labels.LabelColumns) -> None:
    """Add the labels of a table to the project's, and say how many."""
    backend = options.open()
    now, labels = datetime.now(UTC), late_labels.read(backend.project, table, columns)
    late_labels.check_times(labels, table, now)
    added = backend.add_labels(labels, now)
    names = {"request_id": "request", "event_time": "entity and time", "entity": "entity"}
    by = next(name for column, name in names.items() if labels[column].null_count == 0)
    if added.is_new:
        click.echo(f"added {added.rows:,} labels by {by}; 'perennial monitor' takes them into account")
    else:
        click.echo(f"nothing to do: these {added.rows:,} labels were added before")
