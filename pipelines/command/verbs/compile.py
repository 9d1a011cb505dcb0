"""``perennial compile``: write compiled pipelines, with symbolic images or for a target."""

from collections.abc import Iterable
from pathlib import Path

import click
import yaml

from pipelines.command.options import TargetOptions
from pipelines.definitions import catalog, compilation, counting


def rewrite_golden() -> None:
    """Rewrite the committed pipelines and component.yaml files."""
    for path in compilation.write_golden():
        click.echo(path)


def write(folder: Path, pipelines: Iterable[str], options: TargetOptions | None) -> None:
    """Write pipelines into a folder, which is created if absent; none named means all.

    Without a target images stay symbolic. Each file is printed with what a run of it takes on a cluster.
    """
    backend = options.open() if options else None
    folder.mkdir(parents=True, exist_ok=True)
    for name in pipelines or catalog.PIPELINES:
        text = backend.compile(catalog.entry(name)) if backend else compilation.as_text(compilation.symbolic(name))
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
        # Beside a platform document, the first is the pipeline.
        ir = next(yaml.safe_load_all(text))
        click.echo(f"{folder / f'{name}.yaml'}: {counting.count(ir)}")
