"""Train on this machine: prepare what a run needs, run the compiled pipeline, keep the record and the report."""

import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from components.shared import bundle, sources
from components.shared.errors import StepFailed
from components.shared.project import Project
from pipelines import runs
from pipelines.definitions import compilation
from pipelines.images import lineage
from pipelines.project import project_file
from pipelines.targets.local import execution, seam
from pipelines.targets.local.place import Place, open_place
from pipelines.targets.model import Docker, Laptop
from pipelines.targets.state import State

# Below this, a run is refused before it starts: a step that fills the disk half-way leaves a poorer message.
MIN_FREE_MIB = 500


@dataclass(frozen=True)
class Prepared:
    """A project that was read, with its compiled pipeline and the place where its steps run."""

    state: State
    project: Project
    place: Place
    steps: list[str]
    """In the order in which they run."""
    ir: dict[str, Any]
    source_hash: str
    """Content of the sources; what can't be hashed (a database) is never answered from the cache."""


def prepare(state: State, target: Laptop | Docker, announce: Callable[[str], None]) -> Prepared:
    """Read the project file, compile the pipeline, make the virtualenvs or images that are missing.

    Raises:
        InputError: If the project file, the target or the platform won't do, or the disk is nearly full.
        StepFailed: If a virtualenv or an image can't be made, or there is no engine for containers.
    """
    project = project_file.read(state.project_file)
    _check_disk(state.folder if state.folder.exists() else state.root)
    source_hash = sources.source_hash(project, state.root, state.folder / "hashes.json")
    symbolic = compilation.symbolic("training")
    used = compilation.images_of(symbolic)
    steps = [step for step in runs.ORDER if step in used]
    place = open_place(target, project, state, [*steps, "serving"], announce)
    ir = compilation.with_references(symbolic, {step: place.references[step] for step in steps})
    return Prepared(state, project, place, steps, ir, source_hash or f"unknown-{uuid.uuid4().hex}")


def train(
    prepared: Prepared,
    run: runs.Run,
    changed: Callable[[runs.Step], None],
    tasks: seam.Tasks,
    seed: int,
    use_cache: bool,
) -> None:
    """Run the training pipeline; the record says how it went.

    Raises:
        KeyboardInterrupt: After Ctrl-C or SIGTERM, when every task has ended.
    """
    state = prepared.state
    bundled = str(bundle.write(prepared.project, state.project_file, state.bundles))
    run.outputs["bundle"] = bundled
    arguments = {
        "project_uri": bundled,
        "source_root": str(state.root),
        "source_hash": prepared.source_hash,
        "registry_uri": state.registry_uri,
        "study_storage": state.study_storage,
        "endpoint": str(state.endpoint),
        "code": lineage.code(prepared.place.references),
        "seed": seed,
    }
    references = {step: prepared.place.references[step] for step in prepared.steps}
    recorder = runs.Recorder(run, changed)
    cache = state.cache if use_cache else None
    try:
        execution.execute(prepared.ir, arguments, references, tasks, recorder, run.folder, cache)
    except KeyboardInterrupt:
        runs.end(run, runs.INTERRUPTED, "interrupted; run again to go on, finished steps come from the cache.")
        raise
    runs.end(run, *runs.verdict(run))


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
