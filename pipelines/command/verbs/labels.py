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
    outcomes = late_labels.read(backend.project, table, columns, as_numbers=True)
    backend.state.create_folder()
    added = label_store.add(backend.state.outcomes, outcomes, datetime.now(UTC))
    if added.is_new:
        click.echo(f"added {added.rows:,} outcomes; the release that is tested takes them into account")
    else:
        click.echo(f"nothing to do: these {added.rows:,} outcomes were added before")


def add(options: TargetOptions, table: Path, columns: late_labels.LabelColumns) -> None:
    """Add the labels of a table to the project's, and say how many."""
    backend = options.open()
    labels = late_labels.read(backend.project, table, columns)
    added = backend.add_labels(labels, datetime.now(UTC))
    names = {"request_id": "request", "event_time": "entity and time", "entity": "entity"}
    by = next(name for column, name in names.items() if labels[column].null_count == 0)
    if added.is_new:
        click.echo(f"added {added.rows:,} labels by {by}; 'perennial monitor' takes them into account")
    else:
        click.echo(f"nothing to do: these {added.rows:,} labels were added before")
