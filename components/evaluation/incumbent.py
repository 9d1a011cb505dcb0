"""The champion on the candidate's test rows, or one sentence on why it cannot be compared."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from components.evaluation import exclusion
from components.shared.documents.champion import ChampionRecord
from components.shared.errors import InputError
from components.shared.package.table_model import TableModel
from components.shared.project import Project


@dataclass(frozen=True)
class Incumbent:
    """The champion's version (None before the first release), its model where it can be asked, else the reason."""

    version: str | None
    package: TableModel | None = None
    reason: str | None = None
    seen: exclusion.SeenRows | None = None
    """The rows that it has learned from, where it can be asked."""
    oldest_trained: str | None = None
    """The earliest event time of those, ISO 8601, UTC."""


def incumbent(project: Project, folder: Path, test: pa.Table, classes: list[str]) -> Incumbent:
    """Open the champion's package if it answers the same question about rows like these.

    Args:
        project: The project as it is now; the champion may come from an earlier one.
        folder: The champion step's output.
        test: The test rows with all their columns.
        classes: The candidate's classes.
    """
    version = ChampionRecord.read(folder).version
    if version is None:
        return Incumbent(None)
    package = TableModel.open(folder / "package")
    reason = _difference(project, package, test, classes)
    if reason is not None:
        return Incumbent(version, reason=f"champion version {version} cannot be compared: {reason}")
    seen = exclusion.seen(package.folder)
    return Incumbent(version, package, seen=seen, oldest_trained=exclusion.oldest(seen))


def _difference(project: Project, package: TableModel, test: pa.Table, classes: list[str]) -> str | None:
    """Say what keeps the champion from being judged on these rows."""
    facts = package.facts
    if facts.task != project.task:
        return f"its task is {facts.task}, the project's is {project.task}"
    for word, own, now in (
        ("label", facts.label, project.label.column),
        ("entity", facts.entity, project.entity),
        ("event time", facts.event_time, project.event_time),
    ):
        if own != now:
            return f"its {word} is '{own}', the project's is '{now}'"
    own_classes = list(facts.classes or ())
    if own_classes != classes:
        return f"its classes are {own_classes}, the candidate's are {classes}"
    absent = sorted({*facts.numeric, *facts.categorical} - set(test.column_names))
    if absent:
        return f"it needs the features {absent}, which the test rows no longer hold"
    try:
        package.inputs(test.slice(0, 1))
    except InputError as changed:
        return str(changed)
    return None
