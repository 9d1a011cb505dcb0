"""``perennial status``: what answers, what is registered, what ran."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.table import Column, Table

from components.shared import registry
from components.shared.documents.monitoring import LogWindow, MonitoringDecision
from components.shared.errors import InputError, StepFailed
from components.shared.measures.metric_names import PRIMARY
from components.shared.release import routing
from components.shared.wording import significant
from pipelines import runs as runs_of_project
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.verbs import runs
from pipelines.targets import history
from pipelines.targets.state import State

if TYPE_CHECKING:
    from mlflow import MlflowClient


def status(options: TargetOptions, *, last: int = 10) -> None:
    """Print the state of a project."""
    backend = options.open()
    console = terminal.console()
    console.print(f"endpoint  {backend.endpoint_state()}", highlight=False)
    try:
        client = backend.open_registry()
    except StepFailed as unreachable:
        console.print(f"registry  {unreachable}", highlight=False)
    else:
        if client is not None:
            console.print(_versions(client, backend.project.name))
    answering = None if backend.is_remote else routing.answering(backend.state.endpoint)
    if (decided := _decision(backend.state, answering)) is not None:
        console.print(decided, highlight=False)
    if backend.is_remote:
        console.print(runs.table(backend, None, last))
    else:
        console.print(_runs(backend.state, last))


def _decision(folders: State, answering: str | None) -> str | None:
    """Return what monitoring said last, and about which release if another one answers; None if it never looked."""
    record = runs_of_project.latest_with(folders.runs, "decision.outcome")
    if record is None:
        return None
    decision = MonitoringDecision.read(record.artifacts["decision.outcome"])
    window = record.artifacts.get("log_window.window")
    release = None if window is None else LogWindow.read(window).release
    of = f" about release {release}" if release is not None and answering not in (None, release) else ""
    when = f"{datetime.fromisoformat(record.started):%Y-%m-%d %H:%M} UTC"
    return f"monitoring says {decision.action}{of} ({when}): {'; '.join(decision.reasons)}"


def _runs(folders: State, last: int) -> Table:
    # A path that is cut cannot be copied; a reason is whole in the report.
    reason, path = Column("reason", no_wrap=True, max_width=48), Column("report", no_wrap=True, overflow="fold")
    table = Table("run", "pipeline", "state", reason, path, box=None, title="last runs", title_justify="left")
    unreadable: list[InputError] = []
    newest = [run for run, _ in zip(history.records(folders, unreadable.append), range(last), strict=False)]
    for run in reversed(newest):
        report = run.folder / "report.html"
        shown = str(report.relative_to(folders.root)) if report.exists() else ""
        table.add_row(run.id, run.pipeline, run.state, run.reason or "", shown)
    for error in unreadable:
        table.add_row("", "", "unreadable", str(error), "")
    return table


def _versions(client: "MlflowClient", name: str) -> Table:
    headings = ("version", "aliases", "registered", "metric", "snapshot", "run")
    table = Table(*headings, box=None, title="registered", title_justify="left")
    versions = registry.versions(client, name)
    # MLflow lists versions without their aliases.
    held = client.get_registered_model(name).aliases if versions else {}
    for version in versions:
        aliases = sorted(alias for alias, holder in held.items() if str(holder) == str(version.version))
        table.add_row(
            str(version.version),
            ", ".join(aliases),
            f"{datetime.fromtimestamp(version.creation_timestamp / 1000, UTC):%Y-%m-%d %H:%M}",
            _main_metric(client, str(version.run_id)),
            version.tags.get(registry.SNAPSHOT, "")[:12],
            version.run_id,
        )
    return table


def _main_metric(client: "MlflowClient", run_id: str) -> str:
    """Return the metric that models are compared by, as it was on the test rows; empty where nobody knows."""
    data = client.get_run(run_id).data
    name = data.params.get("evaluation.primary") or PRIMARY.get(data.params.get("task", ""), "")
    value = data.metrics.get(f"test.{name}")
    return "" if value is None else f"{name} {significant(value)}"
