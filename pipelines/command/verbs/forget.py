"""``perennial forget``: remove what log and labels hold about somebody."""

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from components.shared import label_store
from components.shared.inference_log import compaction
from pipelines.command.options import TargetOptions


def forget(options: TargetOptions, entities: Sequence[str]) -> None:
    """Remove all rows and labels of some entities, and say how many."""
    backend = options.open()
    backend.check_machine()
    removed = compaction.forget(backend.state.inference_log, entities, datetime.now(UTC))
    labels = label_store.forget(backend.state.labels, entities, removed)
    labels += label_store.forget(backend.state.outcomes, entities, removed)
    click.echo(f"removed {len(removed):,} logged rows and {labels:,} labels")
    click.echo("rows that a running server has not handed over yet are removed by the next 'perennial monitor'")
