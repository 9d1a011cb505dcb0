"""Runs at Vertex AI (pipeline jobs): start one, list them, read how the steps of one fare."""

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from components.shared.documents.run_record import StepState
from components.shared.errors import InputError
from components.shared.vertex import TIMEOUT_S
from pipelines.definitions import catalog
from pipelines.definitions.catalog import PipelineEntry
from pipelines.targets.vertex.connection import Server
from pipelines.targets.vertex.lint import NAME

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import PipelineJob
    from google.cloud.aiplatform_v1.types import PipelineTaskDetail

EXPERIMENT, PIPELINE = "perennial-experiment", "perennial-pipeline"
"""Labels of every run."""
_PAGE = 100
_LABEL = re.compile(r"^[a-z0-9_-]{1,63}$")
# A task's state at the server -> the state of a step. What came from the cache is SKIPPED there, a branch that was not
# taken NOT_TRIGGERED.
_STEP_STATES: dict[str, StepState] = {
    "RUNNING": "running", "CANCEL_PENDING": "running", "CANCELLING": "running", "SUCCEEDED": "done",
    "SKIPPED": "cached", "FAILED": "failed", "CANCELLED": "failed",
}  # fmt: skip
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")


@dataclass(frozen=True)
class Task:
    """How one step fares."""

    state: StepState
    seconds: float | None
    """From its start to its end, by the server's clock; None while it runs."""
    error: str | None
    """What the server says of its failure."""
    jobs: tuple[str, ...]
    """Ids of the custom jobs that ran it, in the order of the attempts."""
    artifacts: Mapping[str, str]
    """Output -> URI."""


def job(
    server: Server, ir: Mapping[str, Any], parameters: Mapping[str, Any], entry: PipelineEntry, experiment: str
) -> "PipelineJob":
    """Describe a run.

    Args:
        server: Whose target says where and as whom it runs.
        ir: The compiled pipeline.
        parameters: Of the pipeline.
        entry: The pipeline's entry in the catalogue.
        experiment: What the run is filed under, a label there.

    Raises:
        InputError: If the experiment cannot be a label.
    """
    from google.cloud.aiplatform_v1 import PipelineJob
    from google.cloud.aiplatform_v1.types import EncryptionSpec, PipelineFailurePolicy

    target = server.target
    root = target.pipeline_root or f"{target.storage.uri.rstrip('/')}/runs"
    described = PipelineJob(
        display_name=str(ir["pipelineInfo"]["name"]),
        pipeline_spec=dict(ir),
        runtime_config=PipelineJob.RuntimeConfig(
            gcs_output_directory=root,
            failure_policy=PipelineFailurePolicy.PIPELINE_FAILURE_POLICY_FAIL_FAST,
            **_values(str(ir["schemaVersion"]), parameters),
        ),
        labels=dict(target.labels) | {EXPERIMENT: _label(experiment), PIPELINE: entry.name},
    )
    if target.service_account:
        described.service_account = target.service_account
    if target.network:
        described.network = target.network
    if target.encryption_key:
        described.encryption_spec = EncryptionSpec(kms_key_name=target.encryption_key)
    return described


def start(server: Server, described: "PipelineJob", pipeline: str, now: datetime) -> str:
    """Create a run and return its id.

    Raises:
        InputError: If Vertex AI refuses.
        StepFailed: If it does not answer, or has no quota left.
    """
    # An id of our own makes a repeated request an error instead of a second run.
    job_id = f"{pipeline[:100]}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    assert NAME.match(job_id), job_id
    with server.asked("create a run"):
        server.pipelines.create_pipeline_job(
            parent=server.parent, pipeline_job=described, pipeline_job_id=job_id, timeout=TIMEOUT_S
        )
    return job_id


def get(server: Server, job_id: str) -> "PipelineJob":
    """Read a run.

    Raises:
        InputError: If there is none of that id.
    """
    with server.asked(f"show the run {job_id!r}"):
        return server.pipelines.get_pipeline_job(name=_name(server, job_id), retry=server.retry, timeout=TIMEOUT_S)


def newest(server: Server, experiment: str) -> "Iterator[PipelineJob]":
    """List the runs of an experiment, the newest first; pages are asked for as they are needed."""
    request = {
        "parent": server.parent,
        "filter": f'labels.{EXPERIMENT}="{_label(experiment)}"',
        "order_by": "create_time desc",
        "page_size": _PAGE,
    }
    with server.asked("list its runs"):
        yield from server.pipelines.list_pipeline_jobs(request=request, retry=server.retry, timeout=TIMEOUT_S)


def cancel(server: Server, job_id: str) -> None:
    """End a run at the server."""
    with server.asked("end a run"):
        server.pipelines.cancel_pipeline_job(name=_name(server, job_id), timeout=TIMEOUT_S)


def id_of(run: "PipelineJob") -> str:
    """Return the last part of a run's name."""
    return str(run.name).rpartition("/")[2]


def entry_of(run: "PipelineJob") -> PipelineEntry:
    """Return which pipeline a run is of; one that the catalogue does not have is shown as the default one."""
    return catalog.PIPELINES.get(run.labels.get(PIPELINE, ""), catalog.entry(catalog.DEFAULT))


def tasks(run: "PipelineJob") -> dict[str, Task]:
    """Return how the tasks of a run fare, by the names they have in the pipeline."""
    return {str(detail.task_name): _task(detail) for detail in run.job_detail.task_details}


def link(server: Server, job_id: str) -> str:
    """Return the address of a run's page."""
    return server.link(f"vertex-ai/pipelines/locations/{server.target.region}/runs/{job_id}")


def _task(detail: "PipelineTaskDetail") -> Task:
    container = detail.executor_detail.container_detail
    names = [*container.failed_main_jobs, container.main_job]
    ids = dict.fromkeys(name.rpartition("/")[2] for name in names if name)
    outputs = {name: str(listed.artifacts[0].uri) for name, listed in detail.outputs.items() if listed.artifacts}
    seconds = (detail.end_time - detail.start_time).total_seconds() if detail.start_time and detail.end_time else None
    state = _STEP_STATES.get(detail.state.name, "pending")
    return Task(state, seconds, detail.error.message or None, tuple(ids), outputs)


def _name(server: Server, job_id: str) -> str:
    return f"{server.parent}/pipelineJobs/{job_id}"


def _values(schema_version: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Write parameters in the form of a schema version: up to 2.0.0 they have types, and objects are JSON texts."""
    if tuple(map(int, schema_version.split("."))) > (2, 0, 0):
        return {"parameter_values": dict(parameters)}
    return {"parameters": {name: _typed(value) for name, value in parameters.items()}}


def _typed(value: Any) -> dict[str, Any]:
    if isinstance(value, bool | dict | list):
        return {"string_value": json.dumps(value)}
    kind = {int: "int_value", float: "double_value"}.get(type(value), "string_value")
    return {kind: value}


def _label(experiment: str) -> str:
    if not _LABEL.match(experiment):
        raise InputError(
            f"the experiment {experiment!r} becomes a label at Vertex AI; expected at most 63 lower-case letters, "
            "digits, hyphens and underscores. Name another with --experiment, or 'experiment' in the target file."
        )
    return experiment
