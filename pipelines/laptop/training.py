"""Train on a laptop: prepare what a run needs, run the compiled pipeline, keep the record and the report."""

import shutil
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from components.shared import bundle, sources
from components.shared.errors import StepFailed
from components.shared.project import Project
from pipelines import compilation, environments, project_file, runs
from pipelines.environments import Environment
from pipelines.laptop import execution
from pipelines.laptop.processes import ProcessGroups
from pipelines.state import State

# Below this, a run is refused before it starts: a step that fills the disk half-way leaves a poorer message.
MIN_FREE_MIB = 500


@dataclass(frozen=True)
class Prepared:
    """A project that was read, with its compiled pipeline and the environments of its steps."""

    state: State
    project: Project
    ir: dict[str, Any]
    environments: dict[str, Environment]
    source_hash: str
    """Content of the sources; what can't be hashed (a database) is never answered from the cache."""

    @property
    def steps(self) -> list[str]:
        """Name the pipeline's steps in the order in which they run."""
        return list(self.environments)


def prepare(state: State, announce: Callable[[str], None]) -> Prepared:
    """Read the project file, compile the pipeline, build the virtualenvs that are missing.

    Raises:
        InputError: If the project file or the platform won't do, or the disk is nearly full.
        StepFailed: If a virtualenv can't be built.
    """
    project = project_file.read(state.project_file)
    _check_disk(state.folder if state.folder.exists() else state.root)
    source_hash = sources.source_hash(project, state.root, state.folder / "hashes.json")
    symbolic = compilation.symbolic("training")
    order = [step for step in ORDER if step in compilation.images_of(symbolic)]
    built = environments.prepare(order, announce)
    ir = compilation.with_references(symbolic, {step: env.reference for step, env in built.items()})
    return Prepared(state, project, ir, built, source_hash or f"unknown-{uuid.uuid4().hex}")


# The order of the pipeline file, for those who look at a run; kfp's own IR sorts by name.
ORDER = (
    "ingestion", "champion", "data_validation", "feature_retrieval", "split", "tuning", "training", "evaluation",
    "gate", "registration", "deployment", "rejection",
)  # fmt: skip


def train(
    prepared: Prepared,
    run: runs.Run,
    changed: Callable[[runs.Step], None],
    groups: ProcessGroups,
    seed: int,
    use_cache: bool,
) -> None:
    """Run the training pipeline; the record says how it went.

    Raises:
        KeyboardInterrupt: After Ctrl-C or SIGTERM, when every process has ended.
    """
    state = prepared.state
    bundled = str(bundle.write(prepared.project, state.project_file, state.bundles))
    run.outputs["bundle"] = bundled
    arguments = {
        "project_uri": bundled,
        "source_root": str(state.root),
        "source_hash": prepared.source_hash,
        "registry_uri": state.registry_uri,
        "study_storage": str(state.studies),
        "endpoint": str(state.endpoint),
        "code": code(prepared),
        "seed": seed,
    }
    by_reference = {env.reference: env for env in prepared.environments.values()}
    recorder = runs.Recorder(run, changed)
    try:
        execution.execute(
            prepared.ir, arguments, by_reference, recorder, groups, run.folder, state.cache if use_cache else None
        )
    except KeyboardInterrupt:
        runs.end(run, runs.INTERRUPTED, "interrupted; run again to go on, finished steps come from the cache.")
        raise
    runs.end(run, *verdict(run))


def verdict(run: runs.Run) -> tuple[int, str | None]:
    """Say with which exit code a run that came to its end ended, and why."""
    if run.exit_code is not None:
        return run.exit_code, run.reason
    if run.step("rejection").state in ("done", "cached"):
        return runs.REJECTED, None
    if run.step("deployment").state in ("done", "cached"):
        return runs.OK, None
    return runs.FAILED, f"the orchestrator stopped early; see {run.folder / 'logs' / 'kfp.log'}."


def code(prepared: Prepared) -> dict[str, str]:
    """Describe the code of a run: commit, and the image reference and lock hash of each step."""
    facts = {"commit": _git("rev-parse", "HEAD") or "unknown"}
    facts["dirty"] = "true" if _git("status", "--porcelain") else "false"
    for step, env in prepared.environments.items():
        facts[f"image:{step}"] = env.reference
        facts[f"lock:{step}"] = environments.lock_hash(step)[:16]
    return facts


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(environments.ROOT), *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _check_disk(folder: Path) -> None:
    free_mib = shutil.disk_usage(folder).free / 2**20
    if free_mib < MIN_FREE_MIB:
        raise StepFailed(
            f"the disk has {free_mib:.0f} MiB free, a run wants {MIN_FREE_MIB}; free some space "
            "('perennial gc' removes old runs)."
        )


def new_run(prepared: Prepared, now: datetime) -> runs.Run:
    """Begin the record of a training run."""
    return runs.new(prepared.project.name, prepared.steps, prepared.state.runs, now)
