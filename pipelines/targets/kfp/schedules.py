"""Schedules at a server: a version of the pipeline that runs again and again, by the clock."""

from collections.abc import Mapping
from typing import Any

from components.shared.errors import InputError
from pipelines.targets.kfp.connection import Server
from pipelines.targets.kfp.following import ENDED
from pipelines.targets.kfp.submission import experiment_of
from pipelines.targets.protocol import Schedule, Version
from pipelines.targets.remote.schedules import check_new

_FIELDS = ("second", "minute", "hour", "day of month", "month", "day of week")


def check_cron(expression: str) -> str:
    """Return a cron expression of six fields; the server validates their content.

    Raises:
        InputError: If there are not six.

    >>> check_cron("0 30 6 * * 1-5")
    '0 30 6 * * 1-5'
    """
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        advice = (
            f"write '0 {' '.join(fields)}'" if len(fields) == 5 else "for example '0 30 6 * * *', each day at 6:30 UTC"
        )
        raise InputError(
            f"the schedule {expression!r} has {len(fields)} fields, expected six ({', '.join(_FIELDS)}); {advice}."
        )
    return " ".join(fields)


def create(
    server: Server, name: str, cron: str, version: Version, parameters: Mapping[str, Any], experiment: str
) -> Schedule:
    """Create a schedule: one run at a time, and none for a moment that was missed.

    Raises:
        InputError: If there is one of that name, or the server refuses.
    """
    import kfp_server_api as api

    check_new(listing(server, experiment), name)
    target = server.target
    body = api.V2beta1RecurringRun(
        display_name=name,
        experiment_id=experiment_of(server, experiment),
        mode=api.RecurringRunMode.ENABLE,
        max_concurrency="1",
        no_catchup=True,
        trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=check_cron(cron))),
        pipeline_version_reference=api.V2beta1PipelineVersionReference(version.pipeline_id, version.id),
        runtime_config=api.V2beta1RuntimeConfig(parameters=dict(parameters), pipeline_root=target.pipeline_root),
        service_account=target.service_account,
    )
    with server.asked(f"take the schedule {cron!r}") as client:
        return _schedule(client._recurring_run_api.recurring_run_service_create_recurring_run(recurring_run=body))


def listing(server: Server, experiment: str) -> list[Schedule]:
    """List the schedules of an experiment, the newest first."""
    experiment_id, schedules, page = experiment_of(server, experiment), [], ""
    while True:
        with server.asked("list its schedules") as client:
            answer = client.list_recurring_runs(
                page_token=page,
                page_size=100,
                sort_by="created_at desc",
                namespace=server.target.namespace,
                experiment_id=experiment_id,
            )
        schedules += [_schedule(run) for run in answer.recurring_runs or []]
        page = answer.next_page_token or ""
        if not page:
            return schedules


def pause(server: Server, schedule: Schedule) -> None:
    """Let a schedule start nothing until it is resumed."""
    with server.asked("pause a schedule") as client:
        client.disable_recurring_run(schedule.id)


def resume(server: Server, schedule: Schedule) -> None:
    """Let a schedule start runs again, from now on."""
    with server.asked("resume a schedule") as client:
        client.enable_recurring_run(schedule.id)


def delete(server: Server, schedule: Schedule, experiment: str) -> None:
    """Delete a schedule; the runs that it started and that have ended stay.

    Raises:
        InputError: If one of its runs goes on: the server would leave it neither running nor ended.
    """
    pause(server, schedule)
    with server.asked("list its runs") as client:
        answer = client.list_runs(
            page_size=100,
            sort_by="created_at desc",
            experiment_id=experiment_of(server, experiment),
            namespace=server.target.namespace,
        )
    going = [
        run.run_id
        for run in answer.runs or []
        if run.recurring_run_id == schedule.id and run.state not in {*ENDED, "CANCELING"}
    ]
    if going:
        raise InputError(
            f"the schedule {schedule.name!r} is paused, its run {going[0]} goes on; wait for it or end it with "
            f"'perennial runs --target kfp --end {going[0]}', then delete the schedule."
        )
    with server.asked("delete a schedule") as client:
        client.delete_recurring_run(schedule.id)


def _schedule(answer: Any) -> Schedule:
    reference = answer.pipeline_version_reference
    cron = answer.trigger.cron_schedule.cron if answer.trigger and answer.trigger.cron_schedule else ""
    return Schedule(
        id=answer.recurring_run_id,
        name=answer.display_name,
        cron=cron,
        enabled=answer.status == "ENABLED" or answer.mode == "ENABLE",
        version_id=reference.pipeline_version_id if reference else None,
        created=answer.created_at,
    )
