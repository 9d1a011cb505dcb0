"""``perennial monitor``: look at what the endpoint answered since, and say what to do."""

from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.verbs import summary
from pipelines.command.view import View
from pipelines.targets.protocol import RunRequest


def monitor(options: TargetOptions, request: RunRequest) -> int:
    """Run the monitoring pipeline on this machine, and print its decision with the reasons.

    Returns:
        The command's exit code (see ``pipelines.runs``).
    """
    console, backend = terminal.console(), options.open()
    backend.check_machine()
    with backend.start(request, View(console)) as started:
        page = started.follow()
        summary.show(started.record, page, backend.state.root, console)
    assert started.record.exit_code is not None
    return started.record.exit_code
