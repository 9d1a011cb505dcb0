"""``perennial rollback``: make a former version the champion again."""

from pipelines import runs
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.view import View


def rollback(options: TargetOptions, version: str | None) -> int:
    """Release a former version by the machine that releases every version, and print which one answers now."""
    console = terminal.console()
    backend = options.open()
    answering = backend.roll_back(version, View(console))
    console.print(f"rolled back: release {answering} of {backend.project.name} answers", highlight=False)
    return runs.OK
