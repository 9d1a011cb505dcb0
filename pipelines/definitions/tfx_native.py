"""TFX's own pipeline of a project, compiled by TFX in the virtualenv of its step."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from components.shared import telemetry
from components.shared.errors import StepFailed
from pipelines.images import environments

STEP = "tfx_training"
INPUTS = f"{STEP}.pipeline_root"
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
    python = environments.virtualenv(environments.lock_of(STEP), announce=announce, name=STEP)
    command = [str(python), "-m", "pipelines.definitions.tfx_compile", str(root / "inputs"), bucket, image]
    # As kfp's executor: TFX brings protos that are older than those of kfp's compiler.
    variables = os.environ | telemetry.OFF | {"PYTHONPATH": str(environments.ROOT), "_KFP_RUNTIME": "true"}
    done = subprocess.run([*command, str(out)], env=variables, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise StepFailed(f"TFX could not compile its pipeline: {last[0]}.")
