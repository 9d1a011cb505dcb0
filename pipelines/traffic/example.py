"""Customers of the shipped example in months after those that the model has seen, with their features."""

import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from components.shared.errors import InputError, StepFailed
from pipelines import simulator
from pipelines.simulator.switches import Switch
from pipelines.targets.opening import open_backend
from pipelines.targets.protocol import Backend, RunObserver, RunRequest

ROWS, LABELS = "rows.parquet", "labels.parquet"
_FEATURES = "feature_retrieval.training_set"


def is_example(backend: Backend) -> bool:
    """Return whether a project reads the tables of the simulator."""
    paths = [Path(source.path).name for source in backend.project.sources.values() if source.path]
    return sorted(paths) == sorted(f"{table}.parquet" for table in simulator.TABLES)


def write(backend: Backend, months: int, switches: Sequence[Switch], seed: int = 7) -> Path:
    """Simulate the months that follow those of the project's tables, and retrieve the features of their customers.

    Args:
        backend: A project with the tables of the simulator.
        months: How many months.
        switches: What goes wrong in them.
        seed: That of the simulated business.

    Returns:
        A folder with ``rows.parquet`` (customer, time, features and label) and ``labels.parquet``.

    Raises:
        InputError: If it is another project.
        StepFailed: If the features cannot be retrieved.
    """
    if not is_example(backend):
        raise InputError(
            "this project has tables of its own, which nothing here simulates; name a table: 'perennial traffic TABLE'."
        )
    folder = backend.state.folder / "traffic"
    shutil.rmtree(folder, ignore_errors=True)
    first = _month_after(backend)
    for switch in switches:
        if switch.since is not None and switch.since >= _later(first, months):
            raise InputError(
                f"the switch {switch.name} begins in {switch.since:%Y-%m}, after the months that are sent "
                f"({first:%Y-%m} to {_later(first, months - 1):%Y-%m}); name a month of these, or send more (--months)."
            )
    scratch = folder / "project"
    shutil.copytree(backend.state.root / "feature_repo", scratch / "feature_repo")
    content = yaml.safe_load(backend.state.project_file.read_text(encoding="utf-8"))
    for name, source in content["sources"].items():
        source["path"] = f"data/{name}.parquet"
    # What is served has no label yet, however young it is.
    content["label"] |= {"delay_days": 0, "missing": "drop"}
    (scratch / "project.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    # Features look back, so the months before are simulated, too; labels are known a month later.
    start = date(2024, 1, 1)
    ahead = (first.year - start.year) * 12 + first.month - start.month
    simulator.write(scratch / "data", start=start, months=ahead + months + 1, switches=switches, seed=seed)
    with open_backend(project=scratch).start(RunRequest("retrieval"), RunObserver()) as started:
        started.follow()
        record = started.record
    if _FEATURES not in record.artifacts:
        raise StepFailed(f"the features of the simulated customers could not be retrieved: {record.reason}")
    examples = pq.read_table(Path(record.artifacts[_FEATURES]) / "rows.parquet")
    last = _later(first, months)
    project = backend.project
    times = examples[project.event_time].to_pylist()
    chosen = examples.filter([first <= moment.date() < last for moment in times])
    pq.write_table(chosen, folder / ROWS)
    pq.write_table(chosen.select([project.entity, project.event_time, project.label.column]), folder / LABELS)
    return folder


def _month_after(backend: Backend) -> date:
    """Return the first day of the month after the newest label of the project's tables."""
    project = backend.project
    source = project.sources[project.label.source]
    assert source.path is not None
    if not (backend.state.root / source.path).exists():
        raise InputError(f"the table {source.path} does not exist; create it with 'perennial run --simulate'.")
    newest = max(pq.read_table(backend.state.root / source.path, columns=[project.event_time])[0].to_pylist())
    return _later(date(newest.year, newest.month, 1), 1)


def _later(month: date, months: int) -> date:
    number = month.year * 12 + month.month - 1 + months
    return date(number // 12, number % 12 + 1, 1)
