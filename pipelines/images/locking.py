"""Write hashed locks: one per step, one for serving, the command, its checks, the notebook, and the test tools."""

import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.shared.errors import InputError, StepFailed
from pipelines.images import environments, recipes

# kfp's executor needs none of kfp's dependencies in a task, and they cannot be installed together with TFDV.
_STEP_CONFIG = environments.ROOT / "components" / "uv.toml"
_COMMAND_CONFIG = environments.ROOT / "pipelines" / "uv.toml"


@dataclass(frozen=True)
class Lock:
    """A hashed lock, and the files that declare what it must satisfy.

    Args:
        path: The lock.
        sources: ``requirements.in`` files, or ``setup.cfg`` for what the package declares.
        extras: Extras of ``setup.cfg`` that are locked, too.
        config: Settings of uv; None takes its defaults.
        overrides: Requirements that replace those of other packages; None replaces none.
        constraints: Another lock, whose versions this one has to take; None leaves all versions open.
    """

    path: Path
    sources: tuple[Path, ...]
    extras: tuple[str, ...] = ()
    config: Path | None = None
    overrides: Path | None = None
    constraints: Path | None = None

    @classmethod
    def of(cls, source: Path, config: Path | None = None) -> "Lock":
        """Return the lock next to a ``requirements.in``, with an ``overrides.in`` next to it if present."""
        overrides = source.with_name("overrides.in")
        return cls(
            source.with_suffix(".txt"), (source,), config=config, overrides=overrides if overrides.exists() else None
        )

    def command(self) -> list[str]:
        """Return the arguments of uv that write the lock."""
        arguments = ["pip", "compile", "--quiet", "--python-version", "3.11", "--generate-hashes", "--no-header"]
        arguments += ["--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
        arguments += [f"--extra={extra}" for extra in self.extras]
        arguments += ["--config-file", str(self.config)] if self.config else []
        arguments += ["--override", str(self.overrides)] if self.overrides else []
        arguments += ["--constraint", str(self.constraints)] if self.constraints else []
        return [*arguments, *map(str, self.sources), "--output-file", str(self.path)]


def lock(names: Sequence[str]) -> Iterable[Path]:
    """Re-lock what is named, or everything.

    Names are steps and their variants, services of infra/, and ``serving``, ``collector``, ``command``, ``checks``,
    ``notebooks``, ``tests``, ``protocol``, ``benchmarks``, ``bench``, ``docs``, ``pip_audit`` or ``uv``.
    Versions that still fit are kept; remove a lock to take the newest ones.

    Raises:
        InputError: If a name is unknown.
        StepFailed: If no set of versions satisfies the sources.
    """
    available = locks()
    if unknown := sorted(set(names) - set(available)):
        raise InputError(f"there is nothing to lock for {unknown}; expected some of {sorted(available)}.")
    for name in names or available:
        uv = Path(sys.executable).parent / "uv"
        done = subprocess.run([str(uv), *available[name].command()], capture_output=True, text=True)
        if done.returncode:
            raise StepFailed(
                f"no set of versions satisfies the requirements of {name}: {' '.join(done.stderr.split())}"
            )
        yield available[name].path


def locks() -> Mapping[str, Lock]:
    """Return every lock by its name."""
    root = environments.ROOT
    package, command = root / "setup.cfg", root / "requirements.txt"
    notebooks = root / "notebooks" / "requirements.in"
    return {
        **{
            step: Lock.of(root / "components" / step / "requirements.in", _STEP_CONFIG) for step in environments.steps()
        },
        **{
            name: Lock.of(root / folder / "requirements.in", _STEP_CONFIG)
            for name, folder in recipes.variants(root).items()
        },
        "serving": Lock.of(root / "serving" / "requirements.in"),
        "collector": Lock.of(root / "serving" / "collector" / "requirements.in"),
        "command": Lock(command, (package,), config=_COMMAND_CONFIG),
        "checks": Lock(
            root / "requirements-checks.txt",
            (package,),
            extras=("test",),
            config=_COMMAND_CONFIG,
            constraints=command,
        ),
        "notebooks": Lock(
            notebooks.with_suffix(".txt"), (package, notebooks), extras=("test",), config=_COMMAND_CONFIG
        ),
        "tests": Lock.of(root / "tests" / "requirements.in"),
        "protocol": Lock.of(root / "tests" / "protocol" / "requirements.in"),
        "benchmarks": Lock.of(root / "tests" / "benchmarks" / "requirements.in", _STEP_CONFIG),
        "bench": Lock.of(root / "pipelines" / "bench" / "requirements.in"),
        "docs": Lock.of(root / "docs" / "site" / "requirements.in"),
        "uv": Lock.of(root / "infra" / "uv.in"),
        "pip_audit": Lock.of(root / "infra" / "pip_audit.in"),
        **{path.parent.name: Lock.of(path) for path in sorted((root / "infra").glob("*/requirements.in"))},
    }
