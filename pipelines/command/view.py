"""The live view of a run: a table that updates itself on a terminal, plain lines elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipelines.runs import Run, Step

_SIGNS = {
    "pending": ("·", "dim"),
    "running": ("▸", "bold cyan"),
    "done": ("✓", "green"),
    "cached": ("≡", "blue"),
    "failed": ("✗", "bold red"),
    "skipped": ("–", "dim"),
}


class View:
    """Shows the steps of one run; call ``changed`` whenever one changes."""

    def __init__(self, run: Run, console: Console) -> None:
        self._run, self._console = run, console
        self._began: dict[str, float] = {}
        self._live = (
            Live(get_renderable=self._table, console=console, refresh_per_second=4) if console.is_terminal else None
        )

    def __enter__(self) -> "View":
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def changed(self, step: Step) -> None:
        """Note a step's new state; off a terminal, print one line when it has ended."""
        if step.state == "running":
            self._began[step.name] = time.monotonic()
        elif self._live is None:
            text = f"{step.name:<18} {step.state:<7} {_seconds(step.seconds)}"
            self._console.print(text + (f"  {step.error}" if step.error else ""), markup=False, highlight=False)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for step in self._run.steps:
            sign, style = _SIGNS[step.state]
            seconds = step.seconds
            if step.state == "running":
                seconds = time.monotonic() - self._began.get(step.name, time.monotonic())
            table.add_row(f"[{style}]{sign}[/]", f"[{style}]{step.name}[/]", step.state, _seconds(seconds))
        return table


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:6.1f} s"
