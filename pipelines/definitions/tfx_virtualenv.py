"""Run a module of ours in the virtualenv of the step that trains with TFX."""

import os
import subprocess
from collections.abc import Callable, Sequence

from components.shared import telemetry
from components.shared.errors import ExitCode, InputError, StepFailed
from pipelines.images import environments

STEP = "tfx_training"


def call(module: str, arguments: Sequence[str], what: str, announce: Callable[[str], None]) -> None:
    """Run a module and wait for its end.

    Args:
        module: Its name.
        arguments: Of its command line.
        what: It is to do; completes "TFX could not ...".
        announce: Receives the step's name before its virtualenv is installed.

    Raises:
        InputError: If it refuses its input; the sentence is its last line.
        StepFailed: If it fails otherwise.
    """
    python = environments.virtualenv(environments.lock_of(STEP), announce=announce, name=STEP)
    # As kfp's executor: TFX brings protos that are older than those of kfp's compiler.
    variables = os.environ | telemetry.OFF | {"PYTHONPATH": str(environments.ROOT), "_KFP_RUNTIME": "true"}
    done = subprocess.run([str(python), "-m", module, *arguments], env=variables, capture_output=True, text=True)
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    if done.returncode == ExitCode.BAD_INPUT:
        raise InputError(last)
    if done.returncode:
        raise StepFailed(f"TFX could not {what}: {last.rstrip('.')}.")
