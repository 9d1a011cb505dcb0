"""How data and models are judged."""

from typing import Literal

from pydantic import Field

from components.shared.project.section import ColumnName, Reaction, Section, Share

ValidationLibrary = Literal["tfdv", "duckdb"]


class Value(Section):
    """What a decision is worth (binary): the model's user acts on predicted positives only."""

    currency: str = Field("USD", description="Currency of all amounts, for display.")
    benefit: float = Field(1.0, ge=0, description="Gain when an action on a true positive succeeds.")
    success_rate: float = Field(1.0, ge=0, le=1, description="Share of the actions on true positives that succeed.")
    false_positive_cost: float = Field(1.0, ge=0, description="Cost of an action on a false positive.")
    action_cost: float = Field(0.0, ge=0, description="Cost of every action, on true and false positives.")
    false_negative_cost: float = Field(0.0, ge=0, description="Cost of a positive that nobody acted on.")


class Evaluation(Section):
    """How a model is evaluated."""

    primary: str | None = Field(
        None, description="The metric that models are compared by; default: auc, auc_ovr (several classes) or r2."
    )
    confidence: Share = Field(0.95, description="Confidence level of all intervals.")
    resamples: int = Field(500, ge=50, description="Number of bootstrap resamples.")
    slices: tuple[ColumnName | tuple[ColumnName, ...], ...] = Field(
        (), description="Features, or combinations of features, to slice the test rows by."
    )
    fairness: tuple[ColumnName, ...] = Field((), description="Columns whose groups are compared.")
    min_support: int = Field(50, ge=1, description="Smallest number of rows of a slice that is evaluated.")
    find_worst: bool = Field(True, description="Whether to search all features for the worst slice.")

    @property
    def parts(self) -> tuple[tuple[str, ...], ...]:
        """Return the columns, or combinations of them, whose values are the declared slices and groups."""
        declared = ((one,) if isinstance(one, str) else one for one in (*self.slices, *self.fairness))
        return tuple(dict.fromkeys(declared))


class Gate(Section):
    """The rules that a candidate must pass. A rule set to null is off."""

    beat_rule: bool = Field(
        True, description="First release: the candidate must be significantly better than a rule of thumb."
    )
    plain_margin: float | None = Field(
        0.01, ge=0, description="First release: how much worse than a plain model the main metric may be."
    )
    champion_margin: float | None = Field(
        0.01, ge=0, description="Later releases: how much worse than the champion the main metric may be."
    )
    probability_margin: float | None = Field(
        0.03,
        ge=0,
        description="How much worse than the plain model (first release) or the champion (later) the probabilities "
        "may be: log loss, or for a regression the 90 % quantile of the error in standard deviations of the label.",
    )
    decision_margin: float | None = Field(
        0.03,
        ge=0,
        description="How much worse than the plain model (first release) or the champion (later) the decisions may "
        "be: the share of a perfect model's value where 'value' is declared, otherwise the accuracy.",
    )
    worse_than_plain: Literal["block", "warn"] = Field(
        "block", description="What to do if the candidate is significantly worse than the plain model."
    )
    floors: dict[str, float] = Field(default_factory=dict, description="Lowest value of each metric, by its name.")
    ceilings: dict[str, float] = Field(default_factory=dict, description="Highest value of each metric, by its name.")
    slice_gap: float | None = Field(
        None, ge=0, description="How much worse than on all rows the metric may be on a slice."
    )
    fairness_gap: float | None = Field(
        None, ge=0, le=1, description="Largest difference in selection rate between groups."
    )
    value_positive: bool = Field(
        False,
        description="Whether the model must earn money on the test rows, or at least lose no more than the champion.",
    )
    old_rows_margin: float | None = Field(
        None,
        ge=0,
        description="How much higher the loss on the fixed set of old rows may be than that of the release for which "
        "they were chosen: log loss, or for a regression the 90 % quantile of the error in standard deviations.",
    )
    latency_ms: float | None = Field(None, gt=0, description="Highest median latency of one row, in milliseconds.")
    size_mib: float | None = Field(None, gt=0, description="Largest size of the exported model, in MiB.")
    min_test_rows: int = Field(50, ge=1, description="Smallest number of test rows.")
    min_class_rows: int = Field(
        25, ge=1, description="Smallest number of test rows of the rarer class; of several, the rarest that is judged."
    )


class Validation(Section):
    """How a run reacts to anomalies in the data: block, warn or ignore."""

    backend: ValidationLibrary = Field(
        "tfdv",
        description="Library of statistics and schemas; duckdb: where TensorFlow Data Validation has no wheel.",
    )
    schema_anomalies: Reaction = Field("block", description="Data that violates feature_repo/schema.")
    drift: Reaction = Field("warn", description="Newest rows that differ from the last accepted snapshot.")
    duplicates: Reaction = Field("warn", description="Duplicate rows or columns.")
    unreadable: Reaction = Field(
        "warn", description="Values that 'convert' of a source can't read, and rows that repeat a header."
    )
    constant_columns: Reaction = Field("warn", description="Columns with the same value in every row.")
    batch_size: Reaction = Field("block", description="Fewer rows than rows_min or more than rows_max of a source.")
    segments: Reaction = Field("block", description="Values that are missing in one segment only.")
    drift_threshold: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Smallest distance of two distributions that is drift: normed Wasserstein (numbers) or "
        "Jensen-Shannon (categories); half of it for the label.",
    )
    segment_columns: dict[str, tuple[ColumnName, ...]] = Field(
        default_factory=dict, description="Columns whose values are the segments to check, by source."
    )
    segment_missing_max: float = Field(
        0.1, gt=0, le=1, description="How much the missing share of a segment may exceed that of the other rows."
    )
