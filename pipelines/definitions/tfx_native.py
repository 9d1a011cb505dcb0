"""TFX's own pipeline of a project, compiled by TFX in the virtualenv of its step."""

from collections.abc import Callable
from pathlib import Path

from pipelines.definitions import tfx_virtualenv

INPUTS = f"{tfx_virtualenv.STEP}.pipeline_root"
"""The artifact of a run whose folder ``inputs`` the pipeline is made from."""


def write(root: Path, bucket: str, image: str, out: Path, announce: Callable[[str], None]) -> None:
    """Write the pipeline that TFX's KubeflowV2DagRunner makes, as KFP's IR.

    Args:
        root: The artifact ``INPUTS`` of a run.
        bucket: ``gs://bucket/prefix``: ``inputs`` below it has to be a copy of the folder of that name in the artifact.
        image: Reference of the step's image.
        out: The file to write.
        announce: Receives a name before its virtualenv is installed.

    Raises:
        StepFailed: If TFX could not.
    """
    arguments = [str(root / "inputs"), bucket, image, str(out)]
    tfx_virtualenv.call("pipelines.definitions.tfx_compile", arguments, "compile its pipeline", announce)
