"""Make a project ready for a server: compile a pipeline, bring what its steps read into the bucket, keep a record."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from components.shared import bundle, sources
from components.shared.errors import InputError
from components.shared.project import FileSink, Project
from components.shared.release.vertex.address import SCHEME as VERTEX
from pipelines import runs
from pipelines.definitions.catalog import PipelineEntry, RunContext
from pipelines.images import choices, digests, lineage
from pipelines.project import project_file
from pipelines.targets.model import Remote
from pipelines.targets.protocol import RunRequest, iso
from pipelines.targets.remote import storage
from pipelines.targets.state import State

Placing = Callable[[PipelineEntry, Project, Mapping[str, str], tuple[str, ...]], list[dict[str, Any]]]
"""Compiles a pipeline for a target: entry, project, image reference of each step, steps never to be cached."""

# The step that reads the sources: its result changes with them, whatever its arguments are.
_READS_SOURCES = "ingestion"


@dataclass(frozen=True)
class PreparedSubmission:
    """A project, with one of its pipelines compiled for a server."""

    state: State
    target: Remote
    project: Project
    entry: PipelineEntry
    documents: list[dict[str, Any]]
    references: Mapping[str, str]
    """Image reference of each step, and of ``serving`` where the pipeline releases a model."""

    @property
    def pipeline(self) -> str:
        """Name the pipeline at the server, which several projects may share."""
        return pipeline_name(self.project.name, self.entry.name)


def pipeline_name(project: str, entry: str) -> str:
    """Name a pipeline of a project at a server."""
    return f"{project}-{entry}"


def prepare(state: State, target: Remote, request: RunRequest, place: Placing) -> PreparedSubmission:
    """Read a project and compile a pipeline for a server.

    Args:
        state: The project's folders.
        target: The server.
        request: The pipeline, and whether its steps may come from the cache.
        place: Compiles it for this kind of server.

    Raises:
        InputError: If the project file is not valid, or the pipeline cannot run there.
    """
    project, entry = project_file.read(state.project_file), request.entry
    serving = ["serving"] if entry.releases else []
    references = references_of((*entry.steps, *serving), target, project)
    of_steps = {step: references[step] for step in entry.steps}
    documents = place(entry, project, of_steps, _always_run(project, request))
    return PreparedSubmission(state, target, project, entry, documents, references)


def references_of(names: Iterable[str], target: Remote, project: Project) -> dict[str, str]:
    """Return the references of the images of steps, or of ``serving``, by digest where they are locked."""
    images = target.images
    chosen = choices.images_of(names, project)
    return {name: digests.pinned(chosen[name], images.base, images.registry) for name in chosen}


def revision() -> str:
    """Name what was compiled: the commit, and whether the files differ from it."""
    code = lineage.commit()
    return code["commit"][:12] + ("-dirty" if code["dirty"] == "true" else "")


def arguments(prepared: PreparedSubmission, bucket: storage.Bucket, request: RunRequest) -> dict[str, Any]:
    """Upload what the steps have to read, and return the pipeline's parameters.

    Args:
        prepared: What is to run.
        bucket: Where bundle and tables go.
        request: Its ``source_root`` of None uploads the tables next to the project file.

    Raises:
        InputError: If a table is missing or can't be reached from a step, the bucket refuses, or the pipeline reads the
            inference log and the target does not say where in a bucket it is, or the server can't release as the
            project says.
    """
    state, project, services = prepared.state, prepared.project, prepared.target.services
    if prepared.entry.reads_log:
        _check_log(project, prepared.target)
    if prepared.entry.releases:
        _check_release(project, prepared.target)
    if stranded := sorted(storage.unreachable(project)):
        raise InputError(
            f"the sources {stranded} are database files on this machine, which no step reaches; "
            "name a database server, or export them to parquet."
        )
    source_hash, source_root = None, request.source_root or ""
    if request.source_root is None and "source_root" in prepared.entry.parameters:
        # A table in a database hides no other: those that are files travel, and ingestion runs in every run.
        state.create_folder()
        source_hash = sources.source_hash(project, state.root, state.folder / "hashes.json")
        source_root = bucket.put_tables(project, state.root, source_hash or _files_hash(prepared))
    bundled = bundle.write(request.applied_to(project), state.project_file, state.bundles)
    context = RunContext(
        project_uri=bucket.put_bundle(bundled),
        source_root=source_root,
        source_hash=source_hash or f"unknown-{uuid.uuid4().hex}",
        registry_uri=services.registry,
        # A schedule repeats these arguments while the registry changes, so the steps that read it are never cached.
        registry_state="",
        study_storage=services.studies,
        endpoint=services.endpoint,
        online_store=services.online_store,
        inference_log=services.inference_log,
        labels=services.labels,
        incidents=services.incidents,
        metrics=services.metrics if "://" in services.metrics else "",
        scores="",
        snapshot_uri="",
        champion_uri="",
        start_uri="",
        code=lineage.code(prepared.references, project),
        seed=request.seed,
        window_start=iso(request.start),
        window_end=iso(request.end),
        most_rows=request.most_rows,
    )
    return prepared.entry.arguments(context)


def record(prepared: PreparedSubmission, run_id: str, server: str, now: datetime) -> runs.Run:
    """Begin the local record of a run at a server, see ``RunRecord.server``."""
    prepared.state.create_folder()
    prepared.state.runs.mkdir(exist_ok=True)
    run = runs.new(prepared.project.name, prepared.entry.name, prepared.entry.steps, prepared.state.runs, now)
    run.remote, run.server = run_id, server
    run.save()
    return run


def _always_run(project: Project, request: RunRequest) -> tuple[str, ...]:
    """Name the steps that must run even where nothing that the server can see has changed."""
    if not request.use_cache:
        return request.entry.steps
    hashed = request.source_root is None and all(source.path is not None for source in project.sources.values())
    # Tables in a bucket or a database can change without a change of any argument.
    return () if hashed else (_READS_SOURCES,)


def _check_log(project: Project, target: Remote) -> None:
    """Refuse places that no step reaches."""
    services = target.services
    if project.monitoring.notify and not sources.is_remote(services.incidents):
        raise InputError(
            f"monitoring.notify names the sinks {sorted(project.monitoring.notify)}, but services.incidents of the "
            f"target is {services.incidents!r}; expected a folder in a bucket, as in s3://bucket/prefix, where "
            "incidents and messages that wait are kept."
        )
    for name, sink in sorted(project.monitoring.notify.items()):
        path = PurePosixPath(sink.path if isinstance(sink, FileSink) else "")
        if path.is_absolute() or ".." in path.parts:
            raise InputError(
                f"the sink {name!r} of 'monitoring: notify' is the file {str(path)!r}, which a pod would lose; "
                "expected a path without '..' that is relative to services.incidents of the target."
            )
    for name, uri in (("inference_log", services.inference_log), ("labels", services.labels)):
        if not sources.is_remote(uri):
            raise InputError(
                f"services.{name} of the target is {uri!r}, which no step reaches; expected a folder in a bucket, as "
                "in s3://bucket/prefix, where the collector of infra/ keeps it."
            )


def _files_hash(prepared: PreparedSubmission) -> str:
    """Hash the sources that are files, where some are not."""
    files = {name: source for name, source in prepared.project.sources.items() if source.path is not None}
    source_hash = sources.source_hash(prepared.project.model_copy(update={"sources": files}), prepared.state.root)
    return source_hash or uuid.uuid4().hex


def _check_release(project: Project, target: Remote) -> None:
    """Refuse a release that the target's endpoint cannot carry out."""
    strategy, approvers = project.release.strategy, list(project.release.approvers)
    is_simple = strategy in ("basic", "canary")
    if target.services.endpoint.startswith(VERTEX):
        if is_simple:
            return
        raise InputError(
            f"the project's release has the strategy {strategy!r}; an endpoint of Vertex AI copies no requests and "
            "splits them by chance, not by entity. Use the strategy 'canary' or 'basic' there."
        )
    if target.kind == "kfp":
        if not is_simple:
            raise InputError(
                f"the project's release has the strategy {strategy!r}; a gateway splits requests by chance, not by "
                "entity, and pairs no answers. Use the strategy 'canary' or 'basic' on a cluster."
            )
    elif strategy != "basic" or approvers:
        raise InputError(
            f"the project's release (strategy {strategy!r}, approvers {approvers}) needs somebody who watches it, as "
            f"on this machine or on a cluster; a target of kind {target.kind!r} whose endpoint is elsewhere releases "
            "with the strategy 'basic' and without approvers."
        )
