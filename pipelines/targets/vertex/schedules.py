"""Schedules at Vertex AI, which has a service of its own for them: a run again and again, by the clock."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.shared.errors import InputError, StepFailed
from components.shared.vertex import TIMEOUT_S
from pipelines.targets.protocol import Schedule
from pipelines.targets.remote.schedules import check_new
from pipelines.targets.vertex.connection import Server
from pipelines.targets.vertex.jobs import EXPERIMENT

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import PipelineJob

_FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_OPERATION_S = 120.0
"""Longest wait for an operation of the service."""


def check_cron(expression: str) -> str:
    """Return a cron expression of five fields in UTC; six, as for Kubeflow Pipelines, must begin with second 0.

    Raises:
        InputError: If there are not as many, or it runs at another second.

    >>> check_cron("30 6 * * 1-5"), check_cron("0 30 6 * * 1-5")
    ('TZ=UTC 30 6 * * 1-5', 'TZ=UTC 30 6 * * 1-5')
    """
    fields = expression.split()
    if len(fields) == 6 and fields[0] == "0":
        fields = fields[1:]
    if len(fields) != len(_FIELDS):
        raise InputError(
            f"the schedule {expression!r} has {len(fields)} fields, expected five ({', '.join(_FIELDS)}), or six with "
            "second 0 before them; for example '30 6 * * *', each day at 6:30 UTC."
        )
    return " ".join(["TZ=UTC", *fields])


def create(server: Server, name: str, cron: str, described: "PipelineJob", experiment: str) -> Schedule:
    """Create a schedule: one run at a time, and none for a moment that was missed.

    Raises:
        InputError: If there is one of that name, or Vertex AI refuses.
    """
    from google.cloud import aiplatform_v1 as api

    check_new(listing(server, experiment), name)
    schedule = api.Schedule(
        display_name=name,
        cron=check_cron(cron),
        max_concurrent_run_count=1,
        allow_queueing=False,
        create_pipeline_job_request=api.CreatePipelineJobRequest(parent=server.parent, pipeline_job=described),
    )
    with server.asked(f"take the schedule {cron!r}"):
        return _schedule(server.schedules.create_schedule(parent=server.parent, schedule=schedule, timeout=TIMEOUT_S))


def listing(server: Server, experiment: str) -> Sequence[Schedule]:
    """List the schedules of an experiment, the newest first."""
    request = {"parent": server.parent, "order_by": "create_time desc", "page_size": 100}
    with server.asked("list its schedules"):
        schedules = list(server.schedules.list_schedules(request=request, retry=server.retry, timeout=TIMEOUT_S))
    # The service filters by names and states only.
    filed = [s for s in schedules if s.create_pipeline_job_request.pipeline_job.labels.get(EXPERIMENT) == experiment]
    return [_schedule(schedule) for schedule in filed]


def pause(server: Server, schedule: Schedule) -> None:
    """Let a schedule start nothing until it is resumed."""
    with server.asked("pause a schedule"):
        server.schedules.pause_schedule(name=schedule.id, timeout=TIMEOUT_S)


def resume(server: Server, schedule: Schedule) -> None:
    """Let a schedule start runs again, from now on."""
    with server.asked("resume a schedule"):
        server.schedules.resume_schedule(request={"name": schedule.id, "catch_up": False}, timeout=TIMEOUT_S)


def delete(server: Server, schedule: Schedule, operation_s: float = _OPERATION_S) -> None:
    """Delete a schedule; the runs that it started stay.

    Raises:
        StepFailed: If the operation does not end within ``operation_s``; it may still do so there.
    """
    import concurrent.futures

    with server.asked("delete a schedule"):
        operation: Any = server.schedules.delete_schedule(name=schedule.id, timeout=TIMEOUT_S)
        try:
            operation.result(timeout=operation_s)
        except concurrent.futures.TimeoutError:
            raise StepFailed(
                f"Vertex AI did not delete the schedule {schedule.name!r} within {operation_s:g} s; the operation goes "
                "on there. Look again with 'perennial schedule list'."
            ) from None


def _schedule(answer: Any) -> Schedule:
    return Schedule(
        id=answer.name,
        name=answer.display_name,
        cron=answer.cron.removeprefix("TZ=UTC "),
        enabled=answer.state.name == "ACTIVE",
        version_id=None,
        created=answer.create_time,
    )
