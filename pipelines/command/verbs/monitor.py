"""``perennial monitor``: look at what the endpoint answered since, and say what to do."""

from datetime import datetime

from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.verbs import summary
from pipelines.command.view import View
from pipelines.definitions import catalog
from pipelines.targets.protocol import RunRequest


def monitor(options: TargetOptions, start: datetime | None, end: datetime | None, *, wait: bool) -> int:
    """Run the monitoring pipeline on this machine, and print its decision with the reasons.

    Returns:
        The command's exit code (see ``pipelines.runs``).
    """
    console, backend = terminal.console(), options.open()
    backend.check_machine()
    pipeline = catalog.MONITORING[backend.project.monitoring.drift]
    request = RunRequest(pipeline, start=start, end=end, wait_for_lock=wait)
    with backend.start(request, View(console)) as started:
        page = started.follow()
        summary.show(started.record, page, backend.state.root, console)
    assert started.record.exit_code is not None
    return started.record.exit_code
