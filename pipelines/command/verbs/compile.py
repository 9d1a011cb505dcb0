"""``perennial compile``: write compiled pipelines, with symbolic images or for a target."""

from collections.abc import Iterable
from pathlib import Path

import click
import yaml

from components.shared.errors import InputError
from pipelines import runs
from pipelines.command.options import TargetOptions
from pipelines.definitions import catalog, compilation, counting, tfx_native, tfx_virtualenv
from pipelines.images import digests


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


def write_native(folder: Path, bucket: str, options: TargetOptions | None) -> None:
    """Write TFX's own pipeline, from what the newest run of the pipeline tfx-training left."""
    if not bucket.startswith("gs://"):
        raise InputError(f"--tfx is {bucket!r}; TFX reads gs://bucket/prefix. Name a folder of a bucket.")
    if options is None:
        raise InputError("TFX's own pipeline names the image of its steps; name its target, as in --target vertex.")
    backend = options.open()
    record = runs.latest_with(backend.state.runs, tfx_native.INPUTS)
    if record is None:
        raise InputError(
            "no run of the pipeline tfx-training has left its inputs here; call 'perennial run --pipeline "
            "tfx-training' first."
        )
    images = backend.images
    reference = digests.pinned(tfx_virtualenv.STEP, images.base, images.registry)
    folder.mkdir(parents=True, exist_ok=True)
    file, root = folder / "tfx-native.json", Path(record.artifacts[tfx_native.INPUTS])
    tfx_native.write(root, bucket, reference, file, lambda name: click.echo(f"installing the virtualenv of {name}"))
    click.echo(f"{file}: copy {root / 'inputs'} to {bucket.rstrip('/')}/inputs before a run of it")
