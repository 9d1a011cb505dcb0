"""Leave what a monitoring run measured where Prometheus reads it."""

from datetime import datetime

from rich.console import Console

from components.shared import monitoring_metrics
from components.shared.incidents import store
from components.shared.project import Project
from pipelines.runs.record import Run
from pipelines.runs.report import documents
from pipelines.targets.state import State


def leave(project: Project, state: State, run: Run, now: datetime, console: Console) -> None:
    """Write the metrics of a run to the folder of the target, or push them; a gateway that is down is said."""
    read = documents.read(run.artifacts)
    if read.window is None or read.drift is None or read.performance is None or read.decision is None:
        return
    incidents = list(store.opened(state.incidents))
    registry = monitoring_metrics.metrics(read.window, read.drift, read.performance, read.decision, incidents, now)
    where = state.metrics
    try:
        if isinstance(where, str):
            monitoring_metrics.push(registry, where, project.name)
        else:
            monitoring_metrics.write(registry, where / f"perennial-{project.name}.prom")
    except OSError as error:
        console.print(
            f"the metrics of this run are not at {where}: {error}; the next 'perennial monitor' leaves newer ones",
            style="yellow",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
