"""``perennial import``: a SavedModel that TFX exported as a model package, which our server answers from."""

import shutil
import tempfile
from pathlib import Path

import click

from components.shared.errors import InputError
from pipelines import runs
from pipelines.command.options import TargetOptions
from pipelines.definitions import tfx_virtualenv

_SPLITS = "split.splits"


def import_model(options: TargetOptions, saved_model: Path, folder: Path, signature: str, output: str | None) -> None:
    """Write the package, on whose rows it was held to the SavedModel, and say how to serve it.

    Raises:
        InputError: If the folder exists, no run has left a split, or the SavedModel does not suit the project.
        StepFailed: If the package answers differently from the SavedModel.
    """
    backend = options.open()
    if folder.exists():
        raise InputError(f"{folder} already exists; name a folder that does not.")
    record = runs.latest_with(backend.state.runs, _SPLITS)
    if record is None:
        raise InputError(
            "no run has left rows on which the two could be compared; call 'perennial run --pipeline tfx-training', or "
            "'perennial run', first."
        )
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project.json"
        project.write_text(backend.project.model_dump_json(), encoding="utf-8")
        package = Path(scratch) / "package"
        tfx_virtualenv.call(
            "pipelines.definitions.tfx_import",
            [str(project), str(saved_model), record.artifacts[_SPLITS], str(package), signature, output or ""],
            "make a package of the SavedModel",
            lambda name: click.echo(f"installing the virtualenv of {name}"),
        )
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(package, folder)
    click.echo(f"{folder}: answers as the SavedModel does on the rows of run {record.id}")
