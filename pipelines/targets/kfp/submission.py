"""Bring a compiled pipeline to a Kubeflow Pipelines server as a version, and start a run of that version."""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from components.shared.errors import InputError
from components.shared.project import Project
from pipelines.definitions.catalog import PipelineEntry
from pipelines.project import project_file
from pipelines.targets.kfp import placement
from pipelines.targets.kfp.connection import Server
from pipelines.targets.model import Kfp
from pipelines.targets.protocol import RunRequest, Version
from pipelines.targets.remote import submission
from pipelines.targets.remote.submission import PreparedSubmission
from pipelines.targets.state import State


def prepare(state: State, target: Kfp, request: RunRequest) -> PreparedSubmission:
    """Read a project and compile a pipeline for a cluster; see ``remote.submission.prepare``."""

    def place(
        entry: PipelineEntry, project: Project, references: Mapping[str, str], always_run: tuple[str, ...]
    ) -> list[dict[str, Any]]:
        return placement.compile_(entry.definition, target, project, references, always_run)

    return submission.prepare(state, target, request, place)


def compiled(state: State, target: Kfp, entry: PipelineEntry) -> str:
    """Compile a pipeline for a cluster, without a request; see ``Backend.compile``."""
    project = project_file.read(state.project_file)
    references = submission.references_of(entry.steps, target, project)
    return placement.as_text(placement.compile_(entry.definition, target, project, references))


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
