"""What the command says at the end of a finished run of each pipeline."""

import json
from pathlib import Path
from typing import Any

from pipelines.runs import Run


def finished(run: Run) -> tuple[str, ...]:
    """Say that a run finished."""
    return ("finished",)


def released(run: Run) -> tuple[str, ...]:
    """Say which version a training run released, or that the same version answers already."""
    release = _read(run, "registration.release", "release.json")
    version = f"version {release['version']}" if release else "the model"
    if run.outputs.get("deployment.Output") == "unchanged":
        return (f"nothing to do: the candidate is {version}, which answers already.",)
    return (f"released {version}",)


def _read(run: Run, artifact: str, name: str) -> Any:
    path = Path(run.artifacts.get(artifact, ""), name)
    return json.loads(path.read_text(encoding="utf-8")) if artifact in run.artifacts and path.exists() else None
