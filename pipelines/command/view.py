"""The live view of a run: a table that updates itself on a terminal, plain lines elsewhere."""

import time

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipelines.runs import Run, Step
from pipelines.targets.protocol import RunObserver

_SIGNS = {
    "pending": ("·", "dim"),
    "running": ("▸", "bold cyan"),
    "done": ("✓", "green"),
    "cached": ("≡", "blue"),
    "failed": ("✗", "bold red"),
    "skipped": ("–", "dim"),
}


class View(RunObserver):
    """Shows on a console what a backend says of a run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._began: dict[str, float] = {}

    def announced(self, sentence: str) -> None:
        """Print a sentence."""
        self._console.print(sentence, markup=False, highlight=False)

    def started(self, run: Run) -> None:
        """Show the steps of a run; off a terminal they appear as they end."""
        if self._console.is_terminal:
            self._live = Live(get_renderable=lambda: self._table(run), console=self._console, refresh_per_second=4)
            self._live.start()

    def changed(self, step: Step) -> None:
        """Note a step's new state; off a terminal, print one line when it has ended."""
        if step.state == "running":
            self._began[step.name] = time.monotonic()
        elif self._live is None:
            text = f"{step.name:<18} {step.state:<7} {_seconds(step.seconds)}"
            self._console.print(text + (f"  {step.error}" if step.error else ""), markup=False, highlight=False)

    def ended(self, run: Run) -> None:
        """Leave the table as it is now."""
        if self._live:
            self._live.stop()
            self._live = None

    def _table(self, run: Run) -> Table:
        table = Table.grid(padding=(0, 2))
        for step in run.steps:
            sign, style = _SIGNS[step.state]
            seconds = step.seconds
            if step.state == "running":
                seconds = time.monotonic() - self._began.get(step.name, time.monotonic())
            table.add_row(f"[{style}]{sign}[/]", f"[{style}]{step.name}[/]", step.state, _seconds(seconds))
        return table


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:6.1f} s"
