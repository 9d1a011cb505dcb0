"""``perennial labels add``: labels that have become known since the prediction."""

from datetime import UTC, datetime
from pathlib import Path

import click

from pipelines.command.options import TargetOptions
from pipelines.scoring import late_labels


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
