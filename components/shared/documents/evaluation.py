"""``evaluation.json``: everything that was measured on the test rows, read by gate, model card, report and registry."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from components.shared.documents.document import Document, OptionalFloat, Part, Task
from components.shared.documents.measurements import (
    Calibration,
    ColumnDistribution,
    Comparison,
    Confusion,
    Cost,
    Coverage,
    FairnessColumn,
    Metric,
    PerturbationLoss,
    RankingCurve,
    RegressionFit,
    RocCurve,
    ScoreHistogram,
    SingleColumn,
    SliceMeasure,
    ValueReport,
    WorstSlice,
)


class EvaluatedRows(Part):
    """How many rows judged, and how many could not because a model had been trained on them."""

    test: int
    excluded_seen: int
    excluded_by_split: int
    excluded_by_champion: int
    by_class: dict[str, int] = Field(default_factory=dict)
    """Test rows of each class; empty for a regression and in older documents."""
    parts: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Part to its rows of each class; empty for a regression and in older documents."""
    oldest_trained: str | None = None
    """Event time of the oldest training row, ISO 8601, UTC; None in older documents."""
    champion_oldest_trained: str | None = None
    """That of the champion, validation rows included; None if it is not compared, and in older documents."""


class ComparedChampion(Part):
    """The champion at the time; ``reason`` says why it could not be compared."""

    version: str | None
    compared: bool
    reason: str | None


class Baselines(Part):
    """The metrics of the other models, without intervals; the champion's only where it was compared."""

    champion: dict[str, OptionalFloat] | None
    plain: dict[str, OptionalFloat]
    rule: dict[str, OptionalFloat]

    @property
    def present(self) -> dict[str, dict[str, float | None]]:
        """Name every model that was measured with its metrics."""
        return {name: values for name, values in self if values is not None}


class Comparisons(Part):
    """The candidate against the other models in one metric; the champion only where it was compared."""

    champion: Comparison | None
    plain: Comparison
    rule: Comparison

    @property
    def present(self) -> dict[str, Comparison]:
        """Name every model that was compared with its comparison."""
        return {name: comparison for name, comparison in self if comparison is not None}


class Descriptions(Part):
    """One sentence on each baseline."""

    plain: str
    rule: str


class OldRows(Part):
    """The candidate on the fixed set of old rows, which is in the file ``OldRows.FILE`` beside the evaluation."""

    FILE: ClassVar[str] = "old_rows.parquet"

    rows: int
    content_hash: str
    """SHA-256 of the file."""
    newest: str
    """Event time of the newest of them, ISO 8601, UTC."""
    metric: str
    """log_loss, or for a regression scaled_error_p90; lower is better."""
    loss: OptionalFloat
    first_loss: OptionalFloat
    """Of the candidate among whose test rows they were chosen."""
    chosen_because: str | None
    """Why they were chosen in this evaluation; None if they are those of the champion."""


class EvaluationReport(Document):
    """Everything that was measured about a candidate, on test rows that no compared model has seen."""

    FILE = "evaluation.json"

    task: Task
    rows: EvaluatedRows
    resampled: Literal["entity", "row"]
    """The unit that the bootstrap draws."""
    resamples: int
    confidence: float
    """Of all intervals."""
    family: str = "network"
    """Family of the candidate; in older documents, a network."""
    primary: str
    """The metric that comparisons, slices and perturbations use."""
    higher_is_better: bool
    """Direction of the primary metric."""
    metrics: dict[str, Metric]
    directions: dict[str, bool | None]
    """Metric to whether higher is better; None where neither direction is."""
    baselines: Baselines
    comparisons: Comparisons
    probabilities: Comparisons | None = None
    """The same in log loss, or in the 90 % quantile of a regression's error; None in older documents."""
    decisions: Comparisons | None = None
    """The same in the share of a perfect model's value or in accuracy; None for a regression and older documents."""
    descriptions: Descriptions
    champion: ComparedChampion
    threshold: float | None
    """Scores at or above it are acted on; None where nothing is decided."""
    calibration: Calibration | None
    confusion: Confusion | None
    roc: RocCurve | None
    ranking: RankingCurve | None = None
    """Of a binary model; None in older documents, as the two below."""
    scores: ScoreHistogram | None = None
    fit: RegressionFit | None = None
    coverage: tuple[Coverage, ...] = ()
    """Of the candidate's intervals or sets at several levels; empty in older documents, and without calibration."""
    distributions: tuple[ColumnDistribution, ...] = ()
    """Of each feature, by part; empty in older documents."""
    slices: tuple[SliceMeasure, ...]
    worst: WorstSlice | None
    single_column: SingleColumn | None = None
    """None with fewer than two features, and in older documents."""
    fairness: tuple[FairnessColumn, ...]
    robustness: tuple[PerturbationLoss, ...]
    value: ValueReport | None
    old_rows: OldRows | None = None
    """None in older documents."""
    cost: Cost

    @classmethod
    def upgraded(cls, content: Any, version: int) -> Any:
        """Version 0 named the class of a fairness comparison ``class``."""
        if not isinstance(content, dict) or not isinstance(content.get("fairness"), list):
            return content
        renamed = [
            {"positive" if key == "class" else key: value for key, value in column.items()}
            for column in content["fairness"]
        ]
        return {**content, "fairness": renamed}

    @property
    def primary_metric(self) -> Metric:
        """The primary metric with its interval."""
        return self.metrics[self.primary]

    @property
    def worst_first(self) -> list[SliceMeasure]:
        """The slices, the one with the largest loss first; those without a defined loss last."""
        sign = 1 if self.higher_is_better else -1
        defined = [part for part in self.slices if part.difference is not None]
        undefined = [part for part in self.slices if part.difference is None]
        return sorted(defined, key=lambda part: sign * (part.difference or 0.0)) + undefined
