"""``perennial export``: a released model as a folder that scores without this project."""

import tempfile
from pathlib import Path

import click

from pipelines.command.options import TargetOptions
from pipelines.edge import export as edge


def export(options: TargetOptions, target: Path, version: str | None) -> None:
    """Write the folder, and say how to use it."""
    backend = options.open()
    with tempfile.TemporaryDirectory(prefix="perennial-export-") as scratch:
        found, package = backend.model_package(version, Path(scratch))
        edge.export(package, found, target)
    click.echo(f"version {found} of {backend.project.name}: python {target / 'score.py'} {target / 'sample.csv'}")
