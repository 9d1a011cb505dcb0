"""Write hashed locks: one per step, one for serving, the command, the notebook, and the test tools."""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from components.shared.errors import InputError, StepFailed
from pipelines.images import environments

# kfp's executor needs none of kfp's dependencies in a task, and they can't be installed beside TFDV.
_STEP_CONFIG = environments.ROOT / "components" / "uv.toml"


def lock(names: Sequence[str]) -> Iterable[Path]:
    """Re-lock what is named, or everything.

    Names are steps, ``serving``, ``command``, ``notebooks``, ``tests``, ``benchmarks`` and ``uv``.
    Versions that still fit are kept; remove a lock to take the newest.

    Raises:
        InputError: If a name is unknown.
        StepFailed: If no set of versions fits.
    """
    known = _known()
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise InputError(f"there is nothing to lock for {unknown}; known are {sorted(known)}.")
    for name in names or known:
        source, config = known[name]
        target = source.with_suffix(".txt")
        command = ["pip", "compile", "--quiet", "--python-version", "3.11", "--generate-hashes", "--no-header"]
        command += ["--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
        command += ["--config-file", str(config)] if config else []
        uv = Path(sys.executable).parent / "uv"
        done = subprocess.run(
            [str(uv), *command, str(source), "--output-file", str(target)], capture_output=True, text=True
        )
        if done.returncode:
            raise StepFailed(f"no versions fit {source.name} of {name}: {' '.join(done.stderr.split())}")
        yield target


def _known() -> dict[str, tuple[Path, Path | None]]:
    root = environments.ROOT
    known: dict[str, tuple[Path, Path | None]] = {
        step: (root / "components" / step / "requirements.in", _STEP_CONFIG) for step in environments.steps()
    }
    return known | {
        "serving": (root / "serving" / "requirements.in", None),
        "command": (root / "requirements.in", None),
        "notebooks": (root / "notebooks" / "requirements.in", None),
        "tests": (root / "tests" / "requirements.in", None),
        "benchmarks": (root / "tests" / "benchmarks" / "requirements.in", _STEP_CONFIG),
        "uv": (root / "infra" / "uv.in", None),
        **{path.parent.name: (path, None) for path in sorted((root / "infra").glob("*/requirements.in"))},
    }
