"""One bootstrap of everything that gets an interval, so that all differences are paired on the same resamples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from components.evaluation import aspects
from components.evaluation.judged import Judged
from components.shared.measures import bootstrap, fairness, value_report
from components.shared.measures.bootstrap import Distribution
from components.shared.measures.metrics import Binary
from components.shared.measures.ranking import Floats
from components.shared.measures.slices import Slice

VALUE = "value_per_1000"
"""The gain of a thousand decisions over acting on nobody: a metric where the project file values a decision."""


class _Quantity(NamedTuple):
    """What one distribution is about.

    Kinds: a metric of the candidate by name; the primary metric, probabilities or decisions of a model; the primary
    metric on a slice; or a gap or a group's rate (the part) of a fairness column.
    """

    kind: Literal["metric", "model", "probabilities", "decisions", "slice", "fairness"]
    name: str
    part: str = ""


@dataclass(frozen=True)
class Resampled:
    """Distributions over the same resamples; slices in the order in which they were given."""

    metrics: dict[str, Distribution]
    """Every metric of the candidate."""
    models: dict[str, Distribution]
    """The primary metric of every model, the candidate included."""
    probabilities: dict[str, Distribution]
    """The quality of every model's probabilities (of a regression, its error)."""
    decisions: dict[str, Distribution]
    """The quality of every model's decisions; empty for a regression."""
    slices: list[Distribution]
    """The candidate's primary metric on each slice."""
    fairness: dict[str, dict[str, Distribution]]
    """Fairness column to what ``fairness.rates`` measures of it."""


def resample(judged: Judged, parts: Sequence[Slice]) -> Resampled:
    """Draw the clusters of the test rows and take every statistic on each draw.

    Args:
        judged: The models' answers.
        parts: Slices of the test rows, each with enough rows.
    """
    candidate, models = judged.scorecards.candidate, judged.scorecards.present
    inside = [candidate.subset(part.rows) for part in parts]
    earned = None
    if judged.project.value is not None and isinstance(candidate, Binary):
        earned = value_report.per_row(judged.project.value, candidate)

    probabilities = {name: aspects.probabilities(scorecard)[1] for name, scorecard in models.items()}
    decisions = {
        name: measured[1]
        for name, scorecard in models.items()
        if (measured := aspects.decisions(scorecard, judged.project.value)) is not None
    }

    groups = judged.groups()
    fair = {
        column: fairness.rates(groups.of(column).texts(), candidate, judged.classes, judged.settings.min_support)
        for column in judged.settings.fairness
    }

    def statistics(weights: Floats) -> dict[_Quantity, Floats]:
        metrics = candidate.measure(weights)
        if earned is not None:
            metrics[VALUE] = 1000 * (weights @ earned) / weights.sum(axis=1)
        primary = {
            name: metrics[judged.primary] if name == "candidate" else scorecard.primary(weights)
            for name, scorecard in models.items()
        }
        on_slices = {str(i): inside[i].primary(weights[:, part.rows]) for i, part in enumerate(parts)}
        return {
            **{_Quantity("metric", name): values for name, values in metrics.items()},
            **{_Quantity("model", name): values for name, values in primary.items()},
            **{_Quantity("probabilities", name): measure(weights) for name, measure in probabilities.items()},
            **{_Quantity("decisions", name): measure(weights) for name, measure in decisions.items()},
            **{_Quantity("slice", name): values for name, values in on_slices.items()},
            **{
                _Quantity("fairness", column, part): values
                for column, measure in fair.items()
                for part, values in measure(weights).items()
            },
        }

    drawn = bootstrap.distributions(statistics, judged.clusters, resamples=judged.settings.resamples, seed=judged.seed)
    return Resampled(
        metrics={quantity.name: values for quantity, values in drawn.items() if quantity.kind == "metric"},
        models={quantity.name: values for quantity, values in drawn.items() if quantity.kind == "model"},
        probabilities={quantity.name: values for quantity, values in drawn.items() if quantity.kind == "probabilities"},
        decisions={quantity.name: values for quantity, values in drawn.items() if quantity.kind == "decisions"},
        slices=[drawn[_Quantity("slice", str(i))] for i in range(len(parts))],
        fairness={
            column: {q.part: values for q, values in drawn.items() if q.kind == "fairness" and q.name == column}
            for column in fair
        },
    )
