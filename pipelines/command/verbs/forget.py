"""``perennial forget``: remove what log and labels hold about somebody."""

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from pipelines.command.options import TargetOptions


def forget(options: TargetOptions, entities: Sequence[str]) -> None:
    """Remove all rows and labels of some entities, and say how many."""
    forgotten = options.open().forget(entities, datetime.now(UTC))
    click.echo(f"removed {forgotten.rows:,} logged rows and {forgotten.labels:,} labels")
    click.echo(f"rows that a server has not handed over yet are removed by the next {forgotten.rest}")
