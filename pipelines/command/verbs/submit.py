"""``perennial submit``: one run at a server, followed to its end."""

from rich.console import Console
from rich.markup import escape

from pipelines import runs
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.verbs import summary
from pipelines.command.view import View
from pipelines.targets.protocol import RunRequest


def submit(options: TargetOptions, request: RunRequest, *, wait: bool) -> int:
    """Submit a run and, with ``wait``, follow it to its end.

    Returns:
        The command's exit code (see ``pipelines.runs``).
    """
    console, backend = terminal.console(), options.open()
    backend.check_server()
    with backend.start(request, View(console)) as started:
        record = started.record
        if not wait:
            console.print(
                f"follow it with 'perennial logs --target {options.target} {record.remote}', "
                f"all with 'perennial runs --target {options.target}'"
            )
            return runs.OK
        page = started.follow()
    if record.exit_code in (runs.OK, runs.REJECTED) and record.artifacts:
        summary.show(record, page, backend.state.root, console)
    else:
        show_end(record, console, options.target)
    assert record.exit_code is not None
    return record.exit_code


def show_end(record: runs.Run, console: Console, target: str) -> None:
    """Say how a run ended, why, and which command shows more."""
    logs = f"perennial logs --target {target} {record.remote or record.id}"
    if record.exit_code == runs.OK:
        console.print("[bold green]finished[/]; what it measured and released is in the registry")
        return
    if record.exit_code == runs.REJECTED:
        console.print("[bold]rejected by the gate[/]; nothing is released.")
        console.print(f"more    {logs} gate", highlight=False, markup=False)
        return
    failed = next((step for step in record.steps if step.error and step.error == record.reason), None)
    where = f"{failed.name}: " if failed else ""
    console.print(f"[bold red]{record.state}[/]: {escape(where + (record.reason or 'unknown'))}")
    # Of a pod that never started there is no log, and its reason has been said.
    step = f" {failed.name}" if failed and failed.log else ""
    console.print(f"more    {logs}{step}", highlight=False, markup=False)
