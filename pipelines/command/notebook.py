"""Open the notebooks in Jupyter Lab, in the virtualenv of their own lock: ``python -m pipelines.command.notebook``."""

import os
from pathlib import Path

from pipelines.images import environments

FOLDER = environments.ROOT / "notebooks"


def python() -> Path:
    """Return the interpreter of the notebooks' virtualenv; build it if absent."""
    return environments.virtualenv(
        FOLDER / "requirements.txt", announce=lambda name: print(f"installing {name}", flush=True), name="Jupyter Lab"
    )


def open_lab() -> None:
    """Become Jupyter Lab; its kernels find the project wherever a notebook is."""
    interpreter = str(python())
    python_path = os.pathsep.join(filter(None, [str(environments.ROOT), os.environ.get("PYTHONPATH")]))
    os.chdir(FOLDER)
    os.execve(interpreter, [interpreter, "-m", "jupyterlab"], os.environ | {"PYTHONPATH": python_path})


if __name__ == "__main__":
    open_lab()
