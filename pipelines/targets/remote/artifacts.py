"""Bring what a run at a server left to this machine: what its steps wrote of it, and the model package."""

from collections.abc import Callable, Mapping
from pathlib import Path

from pipelines.runs import Run
from pipelines.runs.report import documents
from pipelines.targets.remote.storage import Bucket

MODEL = "training.model"


def bring_documents(record: Run, uris: Callable[[], Mapping[str, str]], bucket: Bucket) -> None:
    """Copy what says how a run went, unless it was copied before.

    Raises:
        InputError, StepFailed: If the bucket refuses, or does not answer.
    """
    if not record.artifacts:
        record.artifacts |= bring(uris(), bucket, record.folder / "artifacts")


def bring(uris: Mapping[str, str], bucket: Bucket, folder: Path) -> dict[str, str]:
    """Copy what says how the run went, and the model package; large tables stay where they are.

    Args:
        uris: ``step.output`` -> URI in the bucket.
        bucket: The server that holds them.
        folder: Takes ``<step>/<output>``.

    Returns:
        ``step.output`` -> path on this machine.

    Raises:
        InputError: If the bucket refuses.
    """
    brought = {}
    for name, file in sorted({*documents.places(), (MODEL, "")}):
        if name in uris:
            target = folder.joinpath(*name.split("."))
            if bucket.get(f"{uris[name]}/{file}".rstrip("/"), target / file if file else target):
                brought[name] = str(target)
    return brought
