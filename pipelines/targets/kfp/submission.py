"""Bring a project to a cluster: its bundle and tables, its compiled pipeline as a version, a run of that version."""

import hashlib
import json
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from components.shared import bundle, sources
from components.shared.errors import InputError
from components.shared.project import Project
from pipelines import runs
from pipelines.definitions.catalog import PipelineEntry, RunContext
from pipelines.images import digests, lineage
from pipelines.project import project_file
from pipelines.targets.kfp import placement, storage
from pipelines.targets.kfp.connection import Server
from pipelines.targets.model import Kfp
from pipelines.targets.protocol import RunRequest, Version, iso
from pipelines.targets.state import State

# The step that reads the sources: its result changes with them, whatever its arguments are.
_READS_SOURCES = "ingestion"


@dataclass(frozen=True)
class PreparedSubmission:
    """A project, with one of its pipelines compiled for a cluster."""

    state: State
    target: Kfp
    project: Project
    entry: PipelineEntry
    documents: list[dict[str, Any]]
    references: Mapping[str, str]
    """Image reference of each step, and of ``serving`` where the pipeline releases a model."""

    @property
    def pipeline(self) -> str:
        """Name the pipeline at the server, which several projects may share."""
        return f"{self.project.name}-{self.entry.name}"


def prepare(state: State, target: Kfp, request: RunRequest) -> PreparedSubmission:
    """Read a project and compile a pipeline for a cluster.

    Args:
        state: The project's folders.
        target: The cluster.
        request: The pipeline, and whether its steps may come from the cache.

    Raises:
        InputError: If the project file is not valid, or the pipeline cannot run there.
    """
    project, entry = project_file.read(state.project_file), request.entry
    serving = ["serving"] if entry.releases else []
    references = {name: _reference(name, target) for name in (*entry.steps, *serving)}
    always_run = _always_run(project, request)
    documents = placement.compile_(entry.definition, target, project, _of_steps(entry, references), always_run)
    return PreparedSubmission(state, target, project, entry, documents, references)


def compiled(state: State, target: Kfp, entry: PipelineEntry) -> str:
    """Compile a pipeline for a cluster, without a request; see ``Backend.compile``."""
    references = {name: _reference(name, target) for name in entry.steps}
    project = project_file.read(state.project_file)
    return placement.as_text(placement.compile_(entry.definition, target, project, references))


def _reference(name: str, target: Kfp) -> str:
    return digests.pinned(name, target.images.base, target.images.registry)


def _of_steps(entry: PipelineEntry, references: Mapping[str, str]) -> dict[str, str]:
    return {step: references[step] for step in entry.steps}


def _always_run(project: Project, request: RunRequest) -> tuple[str, ...]:
    """Name the steps that must run even where nothing that the server can see has changed."""
    if not request.use_cache:
        return request.entry.steps
    hashed = request.source_root is None and all(source.path is not None for source in project.sources.values())
    # Tables in a bucket or a database can change without a change of any argument.
    return () if hashed else (_READS_SOURCES,)


def upload(server: Server, pipeline: str, documents: list[dict[str, Any]], revision: str) -> Version:
    """Upload a pipeline's version unless the server has it; two at a time do no harm.

    Args:
        server: The server.
        pipeline: Name of the pipeline; made if absent.
        documents: What was compiled.
        revision: Names the version; the same revision compiled for another target or project file becomes a version of
            its own, named with the hash of its content, too.

    Raises:
        InputError: If the server refuses.
    """
    text = placement.as_text(documents)
    content = hashlib.sha256(text.encode()).hexdigest()
    pipeline_id = _pipeline(server, pipeline)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{pipeline}.yaml"
        file.write_text(text, encoding="utf-8")
        for name in (revision, f"{revision}-{content[:8]}"):
            uploaded = _version(server, pipeline_id, name)
            fresh = uploaded is None and _upload(server, pipeline_id, name, content, file)
            uploaded = uploaded or _version(server, pipeline_id, name)
            if uploaded is not None and uploaded.description == content:
                return Version(pipeline_id, pipeline, uploaded.pipeline_version_id, name, fresh)
    raise InputError(
        f"the server at {server.host} holds a version {name!r} of {pipeline!r} that others uploaded; delete it there."
    )


def revision() -> str:
    """Name what was compiled: the commit, and whether the files differ from it."""
    code = lineage.code({})
    return code["commit"][:12] + ("-dirty" if code["dirty"] == "true" else "")


def arguments(prepared: PreparedSubmission, bucket: storage.Bucket, request: RunRequest) -> dict[str, Any]:
    """Upload what the pods have to read, and return the pipeline's parameters.

    Args:
        prepared: What is to run.
        bucket: Where bundle and tables go.
        request: Its ``source_root`` of None uploads the tables next to the project file.

    Raises:
        InputError: If a table is missing or can't be reached from a pod, the bucket refuses, or the pipeline reads the
            inference log and the target does not say where in a bucket it is, or the cluster can't release as the
            project says.
    """
    state, project, target = prepared.state, prepared.project, prepared.target
    if prepared.entry.reads_log:
        _check_log(target)
    if prepared.entry.releases and (project.release.strategy != "basic" or project.release.approvers):
        raise InputError(
            f"the project's release (strategy {project.release.strategy!r}, approvers "
            f"{list(project.release.approvers)}) needs a watching server, which only an endpoint on this machine has; "
            "a cluster releases with the strategy 'basic' and without approvers."
        )
    if stranded := sorted(storage.unreachable(project)):
        raise InputError(
            f"the sources {stranded} are database files on this machine, which no pod reaches; "
            "name a database server, or export them to parquet."
        )
    source_hash, source_root = None, request.source_root or ""
    if request.source_root is None and "source_root" in prepared.entry.parameters:
        # A table in a database hides no other: those that are files travel, and ingestion runs in every run.
        source_hash = sources.source_hash(project, state.root, state.folder / "hashes.json")
        source_root = bucket.put_tables(project, state.root, source_hash or _files_hash(prepared))
    bundled = bundle.write(request.applied_to(project), state.project_file, state.bundles)
    context = RunContext(
        project_uri=bucket.put_bundle(bundled),
        source_root=source_root,
        source_hash=source_hash or f"unknown-{uuid.uuid4().hex}",
        registry_uri=target.services.registry,
        # A schedule repeats these arguments while the registry changes, so the steps that read it are never cached.
        registry_state="",
        study_storage=target.services.studies,
        endpoint=target.services.endpoint,
        online_store=target.services.online_store,
        inference_log=target.services.inference_log,
        labels=target.services.labels,
        scores="",
        code=lineage.code(prepared.references),
        seed=request.seed,
        window_start=iso(request.start),
        window_end=iso(request.end),
    )
    return prepared.entry.arguments(context)


def _check_log(target: Kfp) -> None:
    """Refuse places that no pod reaches."""
    services = target.services
    for name, uri in (("inference_log", services.inference_log), ("labels", services.labels)):
        if not sources.is_remote(uri):
            raise InputError(
                f"services.{name} of the target is {uri!r}, which no pod reaches; expected s3://bucket/prefix, where "
                "the collector of infra/ keeps it."
            )


def _files_hash(prepared: PreparedSubmission) -> str:
    """Hash the sources that are files, where some are not."""
    files = {name: source for name, source in prepared.project.sources.items() if source.path is not None}
    source_hash = sources.source_hash(prepared.project.model_copy(update={"sources": files}), prepared.state.root)
    return source_hash or uuid.uuid4().hex


def start(server: Server, version: Version, parameters: Mapping[str, Any], name: str, experiment: str) -> str:
    """Create a run of a version and return its id.

    Args:
        server: The server.
        version: Of the pipeline.
        parameters: Of the pipeline.
        name: The run's, as people see it.
        experiment: It is filed under; made if absent.

    Raises:
        InputError: If the server refuses.
    """
    import kfp_server_api

    target = server.target
    experiment_id = experiment_of(server, experiment)
    with server.asked("create a run") as client:
        run = kfp_server_api.V2beta1Run(
            experiment_id=experiment_id,
            display_name=name,
            pipeline_version_reference=kfp_server_api.V2beta1PipelineVersionReference(version.pipeline_id, version.id),
            runtime_config=kfp_server_api.V2beta1RuntimeConfig(
                parameters=dict(parameters), pipeline_root=target.pipeline_root
            ),
            service_account=target.service_account,
        )
        return str(client._run_api.run_service_create_run(run=run).run_id)


def experiment_of(server: Server, name: str) -> str:
    """Return the id of an experiment in the target's namespace; make it if absent."""
    with server.asked(f"take the experiment {name!r}") as client:
        return str(client.create_experiment(name, namespace=server.target.namespace).experiment_id)


def record(prepared: PreparedSubmission, run_id: str, now: datetime) -> runs.Run:
    """Begin the local record of a run at the server."""
    run = runs.new(prepared.project.name, prepared.entry.name, prepared.entry.steps, prepared.state.runs, now)
    run.remote = run_id
    run.save()
    return run


def _pipeline(server: Server, name: str) -> str:
    """Return the id of a pipeline; make it if absent, without a version."""
    import kfp_server_api

    if existing := find_pipeline(server, name):
        return existing
    with server.asked(f"make the pipeline {name!r}") as client:
        pipeline = kfp_server_api.V2beta1Pipeline(display_name=name, namespace=server.target.namespace)
        try:
            return str(client._pipelines_api.pipeline_service_create_pipeline(pipeline=pipeline).pipeline_id)
        except kfp_server_api.ApiException as error:
            # Somebody else made it at the same time.
            if error.status != HTTPStatus.CONFLICT or not (existing := find_pipeline(server, name)):
                raise
            return existing


def find_pipeline(server: Server, name: str) -> str | None:
    """Return the id of a pipeline in the target's namespace, or None."""
    with server.asked("list its pipelines") as client:
        answer = client._pipelines_api.pipeline_service_list_pipelines(
            namespace=server.target.namespace, filter=_equals("display_name", name)
        )
    return str(answer.pipelines[0].pipeline_id) if answer.pipelines else None


def _version(server: Server, pipeline_id: str, name: str) -> Any:
    with server.asked("list a pipeline's versions") as client:
        answer = client._pipelines_api.pipeline_service_list_pipeline_versions(
            pipeline_id, filter=_equals("display_name", name)
        )
    return answer.pipeline_versions[0] if answer.pipeline_versions else None


def _upload(server: Server, pipeline_id: str, name: str, content: str, file: Path) -> bool:
    """Upload a version; return whether it is ours and not that of somebody who was faster."""
    import kfp_server_api

    with server.asked(f"take the version {name!r}") as client:
        try:
            client._upload_api.upload_pipeline_version(
                str(file), name=name, pipelineid=pipeline_id, description=content
            )
        except kfp_server_api.ApiException as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            return False
    return True


def _equals(key: str, value: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "stringValue": value}]})
