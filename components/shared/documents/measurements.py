"""What can be measured about a model on rows with labels: the parts of an evaluation, and of later measurements."""

from components.shared.documents.document import OptionalFloat, Part


class Metric(Part):
    """A metric with the bounds of its interval; None where it is undefined."""

    value: OptionalFloat
    low: OptionalFloat
    high: OptionalFloat


class Comparison(Part):
    """Candidate minus another model in one metric, on the same resamples of the same rows."""

    metric: str
    difference: OptionalFloat
    low: OptionalFloat
    high: OptionalFloat


class SliceMeasure(Part):
    """The primary metric on a part of the rows, and its paired difference to all rows."""

    where: dict[str, str]
    """Column to the value that all rows of the slice share."""
    rows: int
    metric: OptionalFloat
    low: OptionalFloat
    high: OptionalFloat
    difference: OptionalFloat
    """Slice minus all rows."""
    difference_low: OptionalFloat
    difference_high: OptionalFloat
    plain: OptionalFloat
    """The plain model's metric on the same slice."""

    @property
    def interval(self) -> Metric:
        """The metric with its bounds."""
        return Metric(value=self.metric, low=self.low, high=self.high)


class WorstSlice(SliceMeasure):
    """The slice with the largest loss among all that were searched."""

    searched: int
    """Number of slices."""
    p_adjusted: float
    """Probability of such a loss by chance, after Bonferroni's correction."""
    beyond_chance: bool
    remark: str


class SingleColumn(Part):
    """The column that alone predicts the test rows best, and what all columns together reach in the same metric."""

    column: str
    metric: str
    alone: OptionalFloat
    together: OptionalFloat
    remark: str | None
    """Why the column, or the model, looks as if the answer had leaked into it; None if it does not."""


class CalibrationBin(Part):
    """Rows with similar scores."""

    mean_score: float
    share_positive: float
    rows: int


class Calibration(Part):
    """Mean scores and shares of positives."""

    bins: tuple[CalibrationBin, ...]
    ece: float
    """Expected calibration error: mean distance of score and share over rows."""
    brier: float


class Confusion(Part):
    """Counts of rows by true class (row) and answered class (column)."""

    labels: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]


class RocCurve(Part):
    """The ROC curve, from acting on nobody to acting on everybody."""

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]
    thresholds: tuple[float, ...]


class RankingCurve(Part):
    """Precision and recall of acting on the rows with the highest scores, by the share of rows acted on."""

    acted: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    thresholds: tuple[float, ...]
    positives: float
    """Share of positives among all rows: the precision of acting on everybody."""


class ScoreHistogram(Part):
    """Numbers of rows by score, for each class."""

    edges: tuple[float, ...]
    counts: dict[str, tuple[int, ...]]


class SizeBin(Part):
    """The errors of a regression on the rows whose labels are in a range."""

    low: float
    high: float
    rows: int
    mean_error: float
    """Prediction minus label."""
    mae: float


class RegressionFit(Part):
    """Where a regression errs: some rows as points, all residuals (prediction minus label), errors by size."""

    labels: tuple[float, ...]
    predictions: tuple[float, ...]
    residual_edges: tuple[float, ...]
    residual_counts: tuple[int, ...]
    """The outermost bins also hold what is beyond them."""
    by_size: tuple[SizeBin, ...]


class Coverage(Part):
    """How many test rows have their label in the interval, or set, of a level."""

    level: float
    """The share of labels that the regions are made to hold."""
    held: Metric
    """The share that they held."""
    expected_low: float
    """The share that chance leaves of test rows that are like the validation rows; fewer are too few."""
    mean_size: float
    """Mean width of an interval, in the label's unit, or mean number of classes in a set."""
    single: OptionalFloat
    """Share of sets with one class; None of intervals."""
    by_part: dict[str, float]
    """The share held of each class, or of each fifth of a regression's answers."""

    @property
    def is_too_low(self) -> bool:
        """Whether fewer labels were held than chance explains."""
        return self.held.value is not None and self.held.value < self.expected_low


class ColumnDistribution(Part):
    """How the values of a feature are distributed in each part of the rows."""

    column: str
    bins: tuple[str, ...]
    """Names of the bins: lower bounds or categories, and what is missing."""
    edges: tuple[float, ...] | None
    """Bounds of the bins of a number; the outermost bins also hold what is beyond them."""
    shares: dict[str, tuple[float, ...]]
    """Part to the share of its rows in each bin."""


class GroupMeasure(Part):
    """One group of a fairness column: rates for classes, errors for a regression; None where there are no such rows."""

    rows: int
    selection_rate: OptionalFloat = None
    selection_rate_low: OptionalFloat = None
    selection_rate_high: OptionalFloat = None
    true_positive_rate: OptionalFloat = None
    false_positive_rate: OptionalFloat = None
    mean_error: OptionalFloat = None
    mae: OptionalFloat = None
    rmse: OptionalFloat = None


class FairnessColumn(Part):
    """How differently the groups of one column are treated; None where fewer than two can be compared."""

    column: str
    positive: str | None = None
    """The class that the rates are about."""
    groups: dict[str, GroupMeasure]
    small_groups: dict[str, int]
    """Group to its number of rows, too few to be judged."""
    demographic_parity_difference: OptionalFloat
    demographic_parity_low: OptionalFloat = None
    demographic_parity_high: OptionalFloat = None
    equalized_odds_difference: OptionalFloat
    equalized_odds_low: OptionalFloat = None
    equalized_odds_high: OptionalFloat = None


class PerturbationLoss(Part):
    """What the primary metric loses on disturbed rows; ``level`` is a size, or the name of a shuffled column."""

    perturbation: str
    level: float | str
    metric: OptionalFloat
    drop: OptionalFloat
    """Positive where the model got worse, whatever the metric's direction."""


class ValuePoint(Part):
    """What acting at a threshold gains on the rows over acting on nobody."""

    threshold: float
    value: float


class ValueReport(Part):
    """What acting on a binary model at its threshold gains over acting on nobody, in ``currency``."""

    currency: str
    total: float
    per_1000: float
    absolute: OptionalFloat = None
    """The value with the missed positives charged, and the same of acting on nobody; None in older documents."""
    nobody: OptionalFloat = None
    ceiling: float
    """What a perfect model would gain."""
    true_positives: int
    false_positives: int
    false_negatives: int
    kept: float
    """On how many of the rows acted on the action succeeds."""
    break_even_precision: OptionalFloat
    break_even_fpr: OptionalFloat
    curve: tuple[ValuePoint, ...]
    champion_total: OptionalFloat


class Cost(Part):
    """What an answer costs: milliseconds of one-row calls, size of the export and memory of its process in MiB."""

    latency_ms_p50: float
    latency_ms_p99: float
    size_mib: float
    memory_mib: float
