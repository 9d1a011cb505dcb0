"""The parts of the evaluation report, each taken from the same judged rows."""

import numpy as np
import pyarrow as pa

from components.evaluation import aspects, robustness
from components.evaluation.judged import Judged
from components.evaluation.resampled import VALUE, Resampled, resample
from components.shared.documents.evaluation import Baselines, Comparisons
from components.shared.documents.measurements import (
    Calibration,
    Comparison,
    Confusion,
    FairnessColumn,
    Metric,
    PerturbationLoss,
    RankingCurve,
    RegressionFit,
    RocCurve,
    ScoreHistogram,
    SliceMeasure,
    ValueReport,
    WorstSlice,
)
from components.shared.inputs.rows import Inputs
from components.shared.measures import fairness, labels, shapes, slices, value_report
from components.shared.measures.bootstrap import Distribution
from components.shared.measures.calibration import calibration
from components.shared.measures.metric_names import HIGHER_IS_BETTER
from components.shared.measures.metrics import Binary, Multiclass, Regression, Scorecard, scorecard
from components.shared.measures.slices import Slice

# A confusion matrix beyond this many classes is read by nobody; the rarest share one row.
_LARGEST_MATRIX = 30
_OTHERS = "(others)"


class Resamples:
    """Everything that has an interval: metrics, comparisons and declared slices, on the same resamples."""

    def __init__(self, judged: Judged) -> None:
        """Draw the resamples once."""
        self._judged = judged
        self._parts = _supported_slices(judged)
        self._drawn: Resampled = resample(judged, self._parts)

    def metrics(self) -> dict[str, Metric]:
        """Return every metric of the candidate with its interval."""
        confidence = self._judged.settings.confidence
        return {name: drawn.interval(confidence).metric for name, drawn in self._drawn.metrics.items()}

    def directions(self) -> dict[str, bool | None]:
        """Tell of every metric, those of comparisons included, whether higher is better."""
        compared = [c.rule.metric for c in (self.probabilities(), self.decisions()) if c is not None]
        return {name: HIGHER_IS_BETTER[name] for name in [*self._drawn.metrics, *compared]}

    def comparisons(self) -> Comparisons:
        """Compare the candidate with every other model in the primary metric."""
        return self._compared(self._judged.primary, self._drawn.models)

    def probabilities(self) -> Comparisons:
        """Compare the candidate with every other model in its probabilities, or in a regression's error."""
        metric, _ = aspects.probabilities(self._judged.scorecards.candidate)
        return self._compared(metric, self._drawn.probabilities)

    def decisions(self) -> Comparisons | None:
        """Compare the candidate with every other model in its decisions; None for a regression."""
        measured = aspects.decisions(self._judged.scorecards.candidate, self._judged.project.value)
        return None if measured is None else self._compared(measured[0], self._drawn.decisions)

    def fairness(self) -> tuple[FairnessColumn, ...]:
        """Compare the groups of each declared column, with intervals of the gaps and of the shares acted on."""
        judged, confidence = self._judged, self._judged.settings.confidence
        groups = judged.groups()
        return tuple(
            fairness.with_intervals(
                fairness.compare(
                    column,
                    groups.of(column).texts(),
                    judged.scorecards.candidate,
                    judged.classes,
                    judged.settings.min_support,
                ),
                {key: drawn.interval(confidence) for key, drawn in self._drawn.fairness[column].items()},
            )
            for column in judged.settings.fairness
        )

    def _compared(self, metric: str, models: dict[str, Distribution]) -> Comparisons:
        """Take the paired difference of the candidate to every other model."""
        differences = {
            name: (models["candidate"] - model).interval(self._judged.settings.confidence)
            for name, model in models.items()
            if name != "candidate"
        }
        by_model = {
            name: Comparison(metric=metric, difference=interval.value, low=interval.low, high=interval.high)
            for name, interval in differences.items()
        }
        return Comparisons(champion=by_model.get("champion"), plain=by_model["plain"], rule=by_model["rule"])

    def slices(self) -> tuple[SliceMeasure, ...]:
        """Measure every declared slice that has enough rows."""
        everyone, plain = self._drawn.models["candidate"], self._judged.scorecards.plain
        return tuple(
            slices.measure(part, drawn, everyone, plain, self._judged.settings.confidence)
            for part, drawn in zip(self._parts, self._drawn.slices, strict=True)
        )


def _supported_slices(judged: Judged) -> list[Slice]:
    settings, groups = judged.settings, judged.groups()
    declared = [(columns,) if isinstance(columns, str) else columns for columns in settings.slices]
    return [
        part
        for columns in declared
        for part in groups.slices(columns)
        if slices.supported(part, judged.scorecards.candidate, settings.min_support)
    ]


def baselines(judged: Judged) -> Baselines:
    """Measure the other models, without intervals."""
    models = judged.scorecards
    return Baselines(
        champion=None if models.champion is None else _plain_values(judged, models.champion),
        plain=_plain_values(judged, models.plain),
        rule=_plain_values(judged, models.rule),
    )


def _plain_values(judged: Judged, model: Scorecard) -> dict[str, float | None]:
    ones = np.ones((1, len(judged.truth)))
    values: dict[str, float | None] = {name: float(measured[0]) for name, measured in model.measure(ones).items()}
    if judged.project.value is not None and isinstance(model, Binary):
        values[VALUE] = 1000 * float(value_report.per_row(judged.project.value, model).mean())
    return values


def worst(judged: Judged) -> WorstSlice | None:
    """Search all features for the worst slice; None where the project file says not to, or no slice has enough rows."""
    settings = judged.settings
    if not settings.find_worst:
        return None
    return slices.worst(
        judged.groups(),
        [name for name in judged.project.features.columns if name in judged.test.column_names],
        judged.scorecards.candidate,
        judged.scorecards.plain,
        judged.clusters,
        min_support=settings.min_support,
        confidence=settings.confidence,
        higher_is_better=judged.higher_is_better,
        seed=judged.seed,
    )


def calibration_of(judged: Judged) -> Calibration | None:
    """Compare scores with shares of hits; None for a regression."""
    candidate = judged.scorecards.candidate
    if isinstance(candidate, Binary):
        brier = float(((candidate.score - candidate.truth) ** 2).mean())
        return calibration(candidate.score, candidate.truth, brier)
    if isinstance(candidate, Multiclass):
        brier = float(((candidate.score - np.eye(candidate.score.shape[1])[candidate.truth]) ** 2).sum(axis=1).mean())
        return calibration(candidate.score.max(axis=1), candidate.answer == candidate.truth, brier)
    return None


def confusion(judged: Judged) -> Confusion | None:
    """Count rows by true and answered class, the rarest beyond thirty classes together; None for a regression."""
    candidate, classes = judged.scorecards.candidate, judged.classes
    if isinstance(candidate, Binary):
        truth, answer = candidate.truth.astype(int), candidate.acted.astype(int)
    elif isinstance(candidate, Multiclass):
        truth, answer = candidate.truth, candidate.answer
    else:
        return None
    number, names = np.arange(len(classes)), classes
    if len(classes) > _LARGEST_MATRIX:
        rows_per_class = np.bincount(truth, minlength=len(classes))
        frequent = np.sort(np.argsort(-rows_per_class, kind="stable")[: _LARGEST_MATRIX - 1])
        number = np.full(len(classes), _LARGEST_MATRIX - 1)
        number[frequent] = np.arange(len(frequent))
        names = [*(classes[i] for i in frequent), _OTHERS]
    matrix = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(matrix, (number[truth], number[answer]), 1)
    return Confusion(labels=tuple(names), matrix=matrix.tolist())


def roc(judged: Judged) -> RocCurve | None:
    """Return the ROC curve of a binary model."""
    candidate = judged.scorecards.candidate
    return candidate.roc() if isinstance(candidate, Binary) else None


def ranking(judged: Judged) -> RankingCurve | None:
    """Return precision and recall of a binary model by the share of rows acted on."""
    candidate = judged.scorecards.candidate
    return shapes.ranking_curve(candidate) if isinstance(candidate, Binary) else None


def scores(judged: Judged) -> ScoreHistogram | None:
    """Return the scores of a binary model by class."""
    candidate = judged.scorecards.candidate
    return shapes.score_histogram(candidate, judged.classes) if isinstance(candidate, Binary) else None


def fit(judged: Judged) -> RegressionFit | None:
    """Return where a regression errs."""
    candidate = judged.scorecards.candidate
    return shapes.regression_fit(candidate, judged.seed) if isinstance(candidate, Regression) else None


def perturbation_losses(judged: Judged) -> tuple[PerturbationLoss, ...]:
    """Score perturbed copies of a sample of the test rows."""
    facts = judged.package.facts
    sample = robustness.sample(len(judged.truth), len(facts.features), judged.seed)
    inside = judged.scorecards.candidate.subset(sample)
    base = float(inside.primary(np.ones((1, len(sample))))[0])
    std = robustness.standard_deviations(judged.train_inputs.numeric)

    def answered(inputs: Inputs) -> Scorecard:
        score = labels.widen(judged.package.score(inputs), len(judged.classes))
        return scorecard(judged.project.task, judged.truth[sample], score, facts.threshold, judged.primary)

    perturbed = robustness.perturbations(judged.inputs.take(sample), std, facts, judged.seed)
    return robustness.losses(
        perturbed, rows=len(sample), answered=answered, base=base, higher_is_better=judged.higher_is_better
    )


def value(judged: Judged) -> ValueReport | None:
    """Return the gain over acting on nobody; None without a value in the project file, or without a decision."""
    candidate, champion = judged.scorecards.candidate, judged.scorecards.champion
    if judged.project.value is None or not isinstance(candidate, Binary):
        return None
    return value_report.report(judged.project.value, candidate, champion if isinstance(champion, Binary) else None)


def predictions(judged: Judged) -> pa.Table:
    """Return entity, event time, label and each model's score of every test row."""
    test, project = judged.test, judged.project
    columns = {
        "entity": test.column(project.entity),
        "event_time": test.column(project.event_time),
        "label": test.column(project.label.column),
    }
    scores = {
        name: pa.array(model.score if model.score.ndim == 1 else list(model.score))
        for name, model in judged.scorecards.present.items()
    }
    return pa.table(columns | scores)
