"""Prepare a run on this machine: read the project, compile the pipeline, build what the steps run in."""

import dataclasses
import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from components.shared import bundle, sources
from components.shared.errors import StepFailed
from components.shared.project import Project
from components.shared.registry_state import RegistryState
from pipelines import runs
from pipelines.definitions import compilation
from pipelines.definitions.catalog import PipelineEntry, RunContext
from pipelines.images import choices, lineage
from pipelines.images.recipes import recipe
from pipelines.project import project_file
from pipelines.targets.local import execution, registry_reading, unchanged
from pipelines.targets.local.runtime import Runtime
from pipelines.targets.local.seam import Tasks
from pipelines.targets.protocol import RunRequest, iso
from pipelines.targets.state import State

# With less than this a run is refused before it starts: a step that fills the disk leaves a worse message.
MIN_FREE_MIB = 500


@dataclass(frozen=True)
class RunPlan:
    """What a run is called with, and what it finds."""

    arguments: dict[str, Any]
    registry: RegistryState | None
    """What the registry holds before the run; None where the pipeline does not depend on it, or it can't be read."""
    key: str | None
    """See ``unchanged.key``; None where ``registry`` is."""
    cache: Path | None
    """kfp's cache; None to run every step."""


@dataclass(frozen=True)
class PreparedRun:
    """A project that was read, with its compiled pipeline and what its steps run in."""

    state: State
    project: Project
    entry: PipelineEntry
    runtime: Runtime
    ir: dict[str, Any]
    source_hash: str
    """Content of the sources; what cannot be hashed (a database) is never answered from the cache."""

    def record(self, now: datetime) -> runs.Run:
        """Begin the record of a run."""
        return runs.new(self.project.name, self.entry.name, self.entry.steps, self.state.runs, now)

    def plan(self, request: RunRequest) -> RunPlan:
        """Decide what the run is called with, and read what the registry holds; the caller holds the project's lock."""
        registry = registry_reading.read(self.state, self.project.name) if self.entry.reads_registry else None
        project = request.applied_to(self.project)
        bundled = str(bundle.write(project, self.state.project_file, self.state.bundles))
        context = self._context(bundled, registry.digest if registry else "", request)
        if request.recorded is not None:
            context = dataclasses.replace(context, **vars(request.recorded))
        arguments = self.entry.arguments(context)
        key = unchanged.key(self.ir, arguments, self.state.root) if registry else None
        return RunPlan(arguments, registry, key, self.state.cache if request.use_cache else None)

    def execute(self, run: runs.Run, tasks: Tasks, changed: Callable[[runs.Step], None], plan: RunPlan) -> None:
        """Run the pipeline to its end; the record says how it went.

        Raises:
            KeyboardInterrupt: After Ctrl-C or SIGTERM, when every task has ended.
        """
        run.outputs["bundle"] = plan.arguments["project_uri"]
        run.run_key = plan.key
        run.seed = plan.arguments.get("seed")
        chosen = choices.images_of(self.entry.steps, self.project)
        run.contents = {step: recipe(name).tag(None) for step, name in chosen.items()}
        run.commit = lineage.commit()["commit"]
        ir = compilation.started_as(self.ir, self.project)
        if plan.registry:
            ir = compilation.cached_by(ir, "registry_state")
        references = {step: self.runtime.references[step] for step in self.entry.steps}
        recorder = runs.Recorder(run, changed)
        try:
            execution.execute(ir, plan.arguments, references, tasks, recorder, run.folder, plan.cache)
        except KeyboardInterrupt:
            runs.end(run, runs.INTERRUPTED, "interrupted; run again to continue, finished steps come from the cache.")
            raise
        code, reason = self._outcome(run)
        if plan.registry and code in (runs.OK, runs.REJECTED):
            after = registry_reading.read(self.state, self.project.name)
            run.registry_state = after.digest if after else None
        runs.end(run, code, reason)

    def _context(self, bundled: str, registry_state: str, request: RunRequest) -> RunContext:
        return RunContext(
            project_uri=bundled,
            source_root=str(self.state.root),
            source_hash=self.source_hash,
            registry_uri=self.state.registry_uri,
            registry_state=registry_state,
            study_storage=self.state.study_storage,
            endpoint=str(self.state.endpoint),
            online_store=self.state.online_store,
            inference_log=str(self.state.inference_log),
            labels=str(self.state.labels),
            incidents="",
            metrics="",
            scores=str(self.state.scores),
            snapshot_uri="",
            champion_uri="",
            start_uri="",
            code=lineage.code(self.runtime.references, self.project),
            seed=request.seed,
            window_start=iso(request.start),
            window_end=iso(request.end),
            most_rows=request.most_rows,
        )

    def _outcome(self, run: runs.Run) -> tuple[int, str | None]:
        """Return the exit code of a run in which no task is left, and the reason."""
        if run.exit_code is not None:
            return run.exit_code, run.reason
        code = self.entry.exit_code({step.name: step.state for step in run.steps}, run.outputs)
        if code is not None:
            return code, None
        return runs.FAILED, f"the orchestrator stopped early; see {run.folder / 'logs' / 'kfp.log'}."


def prepare(
    state: State,
    entry: PipelineEntry,
    build: Callable[[Iterable[str], Callable[[str], None]], Runtime],
    announce: Callable[[str], None],
) -> PreparedRun:
    """Read the project file, compile the pipeline, build the virtualenvs or images that are missing.

    Args:
        state: The project's folders.
        entry: The pipeline.
        build: See ``LocalBackend.runtime``.
        announce: Receives a sentence for whatever takes a while.

    Raises:
        InputError: If the project file, the target or the platform is not valid, the disk is nearly full, or releases
            are signed and this process has no key for that.
        StepFailed: If a virtualenv or an image cannot be built, or there is no engine for containers.
    """
    project = project_file.read(state.project_file)
    _check_disk(state.folder if state.folder.exists() else state.root)
    if entry.releases and project.release.signed_by:
        from components.shared.package import signing

        signing.private_key(os.environ, project.release.signed_by)
    source_hash = None
    if "source_hash" in entry.parameters:
        state.create_folder()
        source_hash = sources.source_hash(project, state.root, state.folder / "hashes.json")
    runtime = build([*entry.steps, *(["serving"] if entry.releases else [])], announce)
    references = {step: runtime.references[step] for step in entry.steps}
    ir = compilation.with_references(compilation.kept_symbolic(entry), references)
    return PreparedRun(state, project, entry, runtime, ir, source_hash or f"unknown-{uuid.uuid4().hex}")


def _check_disk(folder: Path) -> None:
    free_mib = shutil.disk_usage(folder).free / 2**20
    if free_mib < MIN_FREE_MIB:
        raise StepFailed(
            f"the disk has {free_mib:.0f} MiB free, a run needs {MIN_FREE_MIB}; free some space "
            "('perennial gc' removes old runs)."
        )
