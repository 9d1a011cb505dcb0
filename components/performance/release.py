"""The release that is measured, what its losses are compared with, and which tests it gets."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.performance import budget, losses, positives, selection_gaps, value
from components.performance.losses import Losses
from components.performance.segments import Segments
from components.performance.selection_gaps import ComparedGroups
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.monitoring import LogWindow
from components.shared.project import Project


@dataclass(frozen=True)
class Release:
    """A release, and what its losses are compared with.

    Attributes:
        project: Says how much the loss may rise, and which decisions hide or change labels.
        facts: The model's task, classes and threshold.
        reference: The test rows with their labels.
        limit: The error from which on a regression loses; None for classes.
        before: The losses of the test rows.
        parts: The parts of the rows that the project declares.
        groups: The groups that the project compares.
        run_lengths: Average number of days between false alarms that each kind of test promises; what is not tested is
            absent.
    """

    project: Project
    facts: ModelFacts
    reference: pa.Table
    limit: float | None
    before: Losses
    parts: Segments
    groups: tuple[ComparedGroups, ...]
    run_lengths: Mapping[str, float]

    @classmethod
    def read(cls, project: Project, package: Path, file: Path, window: LogWindow) -> "Release":
        """Read what the champion left.

        Args:
            project: The project.
            package: The model package.
            file: The test rows.
            window: Says whether latencies were logged.
        """
        facts, reference = ModelFacts.read(package), pq.read_table(file)
        limit = losses.error_limit(reference) if facts.task == "regression" else None
        parts = Segments(reference, project.evaluation.parts)
        groups = tuple(selection_gaps.compared(reference, project.evaluation.fairness))
        tested = set(_tested(project, facts, reference, parts, groups))
        if window.latency:
            tested.add(budget.LATENCY)
        run_lengths = budget.run_lengths(project.monitoring.alerts, tested)
        return cls(project, facts, reference, limit, losses.losses(reference, limit), parts, groups, run_lengths)

    @property
    def increase(self) -> float:
        """How much the loss may rise before it counts as worse."""
        return self.project.monitoring.loss_increase


def _tested(
    project: Project, facts: ModelFacts, reference: pa.Table, parts: Segments, groups: Collection[ComparedGroups]
) -> Iterator[str]:
    """Name what is tested besides the loss."""
    if facts.task != "regression":
        yield budget.ESTIMATE
    # Where decisions hide or change labels, a part may have none that counts.
    if project.label.selective:
        return
    if len(parts):
        yield budget.SEGMENTS
    if facts.positive is None:
        return
    if positives.are_enough(reference, facts.positive):
        yield budget.POSITIVES
    if value.is_testable(project.value):
        yield budget.VALUE
    if groups:
        yield budget.FAIRNESS
