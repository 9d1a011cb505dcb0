"""The types of the project file, which describes a use case and not where it runs.

``pipelines.project.project_file`` parses the file and reports mistakes; the steps read the project from a bundle.
This module is the only place that defines the defaults.
"""

import codecs
import math
from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from components.shared.blank import clean

# A DNS label, short enough for the suffixes that KServe appends: the name is used for Kubernetes resources.
ResourceName = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
ColumnName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^/\\\x00-\x1f]+$")]
# A value of a table, in the form that ingestion copies it.
Text = Annotated[str, AfterValidator(clean)]
Share = Annotated[float, Field(gt=0, lt=1)]
Reaction = Literal["block", "warn", "ignore"]
# A Kubernetes quantity: 500m, 2, 256Mi.
_QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi)?$"
# KFP accepts a narrower syntax for the resources of a pipeline's steps.
_CPU = r"^([0-9]+(\.[0-9]+)?|[0-9]+m)$"
_MEMORY = r"^[0-9]+(Ki|M|Mi|G|Gi|T|Ti)?$"


class Section(BaseModel):
    """A section of the project file: immutable; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(Section):
    """One source table: a CSV or parquet file, or the result of a database query."""

    path: str | None = Field(
        None, description="CSV file, parquet file or folder of parquet files, relative to the project file."
    )
    database: str | None = Field(None, description="SQLAlchemy URL without credentials, or duckdb:///file.duckdb.")
    query: str | None = Field(None, description="SQL query whose result is the table.")
    credentials_env: str | None = Field(
        None,
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="Name of the environment variable that holds 'user:password' for the database.",
    )
    time: ColumnName | None = Field(None, description="Column that holds the time of each row (UTC).")
    constant_time: AwareDatetime | None = Field(
        None, description="For a table without a time: ingestion adds the column 'time' with this value in every row."
    )
    time_step_s: int | None = Field(
        None,
        ge=1,
        description="For rows in the order of time but without one: seconds from row to row, the first being at "
        "'constant_time'.",
    )
    row_number: ColumnName | None = Field(
        None,
        description="For a table without an entity: ingestion adds a column of this name with the row number, from 1.",
    )
    encoding: str | None = Field(
        None,
        description="Encoding of a CSV file, such as windows-1252; default: UTF-8, or UTF-16 if the file shows it.",
    )
    null_values: tuple[Text, ...] = Field((), description="Texts that mean 'missing', in addition to blank ones.")
    convert: dict[ColumnName, str] = Field(
        {},
        description="Column to the SQL (DuckDB) that computes its value from the columns as they are read, such as "
        "try_strptime(sold_on, '%d.%m.%Y').",
    )
    rows_min: int = Field(1, ge=0, description="Smallest plausible number of rows; validation reports fewer.")
    rows_max: int | None = Field(None, ge=1, description="Largest plausible number of rows; validation reports more.")

    @model_validator(mode="after")
    def _one_kind(self) -> "Source":
        if (self.path is None) == (self.database is None):
            raise ValueError("a source needs exactly one of 'path' and 'database'")
        if (self.database is None) != (self.query is None):
            raise ValueError("'database' and 'query' must be set together")
        try:
            codecs.lookup(self.encoding or "utf-8")
        except LookupError:
            raise ValueError(f"'encoding' {self.encoding!r} is not the name of an encoding") from None
        if self.constant_time is not None and self.time is None:
            raise ValueError("'constant_time' requires 'time', the name of the column to add")
        if self.time_step_s is not None and self.constant_time is None:
            raise ValueError("'time_step_s' requires 'constant_time', the time of the first row")
        if self.time_step_s is not None and self.database is not None:
            raise ValueError("'time_step_s' needs rows in an order, which those of a query don't have; select the time")
        return self

    @property
    def has_one_time(self) -> bool:
        """Whether all rows have the same time, so that there is nothing to compare over time."""
        return self.constant_time is not None and self.time_step_s is None


class Label(Section):
    """The value to predict, and when it becomes known."""

    source: Name = Field(
        description="Source whose rows are the examples; it has the entity, the event time and the label."
    )
    column: ColumnName = Field(description="Column of the source that holds the label.")
    positive: Text | int | float | bool | None = Field(
        None, description="Label value that calls for action (binary only); default: the last value in sorted order."
    )
    delay_days: int = Field(
        0, ge=0, description="Days after the event time until the label is known; younger rows are left out."
    )
    missing: Literal["refuse", "drop"] = Field(
        "refuse",
        description="What to do when a label is still missing after the delay: refuse the table or drop the row.",
    )
    hidden_after: tuple[Text | int | float | bool, ...] = Field(
        (), description="Decisions after which the label never becomes known, such as a loan that is refused."
    )
    changed_after: tuple[Text | int | float | bool, ...] = Field(
        (), description="Decisions whose action changes the label, such as a call after which a customer stays."
    )

    @property
    def selective(self) -> tuple[str, ...]:
        """Return the decisions after which a label says nothing about the model, as texts."""
        return tuple(dict.fromkeys(str(decision) for decision in (*self.hidden_after, *self.changed_after)))


class FeatureSpec(Section):
    """One input of the model and the values that a request may hold for it."""

    type: Literal["numeric", "categorical", "boolean"] = Field(description="Type of the feature's values.")
    missing: bool = Field(True, description="Whether a request may omit the value (null).")
    monotone: Literal["increasing", "decreasing"] | None = Field(
        None,
        description="Direction in which the score must follow a number, all else being equal; only trees keep to it.",
    )

    @model_validator(mode="after")
    def _only_numbers_have_a_direction(self) -> "FeatureSpec":
        if self.monotone is not None and self.type != "numeric":
            raise ValueError(f"'monotone' is for numeric features, and this one is {self.type}; remove it")
        return self


class Features(Section):
    """The model's inputs, delivered by a Feast feature service."""

    service: Name = Field(description="Name of the Feast feature service in feature_repo/features.py.")
    columns: dict[ColumnName, FeatureSpec] = Field(
        min_length=1, description="Features that the model uses, by name; the service may deliver more."
    )

    @property
    def monotone(self) -> dict[str, int]:
        """Return the direction of each feature that has one: 1 is increasing, -1 decreasing."""
        signs = {"increasing": 1, "decreasing": -1}
        return {name: signs[spec.monotone] for name, spec in self.columns.items() if spec.monotone is not None}


class Split(Section):
    """How the labelled rows are split into training, validation and test rows."""

    method: Literal["time", "hash", "random"] = Field(
        "time", description="time: the newest rows are the test rows; hash: by entity; random: stratified by class."
    )
    validation: Share = Field(0.15, description="Share of the rows that choose hyperparameters and the threshold.")
    test: Share = Field(0.2, description="Share of the rows that measure the model.")
    gap_days: int | None = Field(
        None, ge=0, description="Days to leave out before each cut (method time); default: label.delay_days."
    )
    newest_days: float | None = Field(
        None,
        gt=0,
        description="Use only the rows of the newest days, for a world that changes; default: all. The cuts are made "
        "among them.",
    )
    since: AwareDatetime | None = Field(
        None,
        description="Use only the rows from this time on, where there are at least 'since_rows' of them; default: all. "
        "They are split by entity as long as the gaps of a split by time would take too much of them.",
    )
    since_rows: int = Field(1000, ge=1, description="Fewest rows for which 'since' counts.")


class Range(Section):
    """A numeric hyperparameter that is searched between two inclusive bounds."""

    low: float = Field(description="Lowest value, inclusive.")
    high: float = Field(description="Highest value, inclusive.")
    log: bool = Field(False, description="Whether to sample on a logarithmic scale.")
    integer: bool = Field(False, description="Whether to sample integers only.")
    step: float | None = Field(None, gt=0, description="Distance between values; required by the grid sampler.")


class Choice(Section):
    """A hyperparameter that is searched in a list of values."""

    choices: tuple[int | float | str | bool, ...] = Field(min_length=1, description="Values to choose from.")


def _default_trees_space() -> dict[str, Range | Choice]:
    return {
        "leaves": Choice(choices=(4, 8, 16, 31, 63)),
        "min_rows": Choice(choices=(5, 20, 60)),
        "feature_share": Choice(choices=(0.4, 0.7, 1.0)),
        "row_share": Choice(choices=(0.8, 1.0)),
        "l2": Choice(choices=(0.1, 1.0, 10.0)),
    }


def _default_space() -> dict[str, Range | Choice]:
    return {
        "learning_rate": Range(low=5e-4, high=1e-2, log=True),
        "l2": Range(low=1e-4, high=1e-2, log=True),
        "dropout": Range(low=0.0, high=0.5),
        "hidden": Choice(choices=("none", "32", "64,32")),
        "bins": Choice(choices=(8, 16, 32)),
    }


class Tuning(Section):
    """The search for hyperparameters."""

    sampler: Literal["tpe", "random", "grid", "gp"] = Field(
        "tpe", description="Optuna sampler; gp requires PyTorch, which the tuning step's lock does not have."
    )
    pruner: Literal["median", "hyperband", "none"] = Field("median", description="Optuna pruner.")
    trials: int = Field(
        8,
        ge=0,
        description="Number of trials of each family that is searched, network and trees; 0 skips the search and uses "
        "the values of 'training'.",
    )
    timeout_s: float | None = Field(None, gt=0, description="Seconds after which no new trial of a family starts.")
    workers: int = Field(1, ge=1, le=64, description="Worker processes; the search is reproducible with one only.")
    startup_trials: int = Field(3, ge=0, description="Number of first trials that are never pruned.")
    warmup_epochs: int = Field(
        3,
        ge=0,
        description="Number of first epochs in which a trial is never pruned; trees count 100 rounds as one.",
    )
    max_rows: int | None = Field(200_000, ge=100, description="Largest number of training rows of a trial.")
    space: dict[str, Range | Choice] = Field(
        default_factory=_default_space, description="Hyperparameters of the network to search, by name."
    )
    trees_space: dict[str, Range | Choice] = Field(
        default_factory=_default_trees_space, description="Hyperparameters of the trees to search, by name."
    )

    def space_of(self, family: str) -> dict[str, Range | Choice]:
        """Return the space of a family; empty if nothing of it is searched."""
        return {"network": self.space, "trees": self.trees_space}.get(family, {})


ModelFamily = Literal["plain", "network", "trees", "blend"]


class Trees(Section):
    """Boosted trees: hyperparameters that the search leaves fixed, and the rule for early stopping."""

    leaves: int = Field(31, ge=2, le=4096, description="Most leaves of a tree.")
    learning_rate: float = Field(0.05, gt=0, le=1, description="Share of each tree's correction that is taken.")
    min_rows: int = Field(20, ge=1, description="Fewest training rows of a leaf.")
    feature_share: float = Field(0.7, gt=0, le=1, description="Share of the features that each tree may use.")
    row_share: float = Field(0.8, gt=0, le=1, description="Share of the training rows that each tree is fitted to.")
    l2: float = Field(1.0, ge=0, description="Weight of the L2 penalty on the values of leaves.")
    rounds: int = Field(2000, ge=1, description="Largest number of rounds; each adds one tree (one per class).")
    patience: int = Field(50, ge=1, description="Rounds without a lower validation loss after which training stops.")


class Training(Section):
    """The families of models to try, hyperparameters that the search leaves fixed, and the rule for early stopping."""

    families: tuple[ModelFamily, ...] = Field(
        ("plain", "network", "trees", "blend"),
        min_length=1,
        description="Families of models to fit; the one with the lowest validation loss is the candidate, or a simpler "
        "one that the rows cannot tell from it. The blend mixes the other families named here, or all if it is alone. "
        "The plain model is always fitted, as a comparison.",
    )
    trees: Trees = Field(Trees(), description="The boosted trees.")
    learning_rate: float = Field(0.003, gt=0, description="Learning rate of Adam at the start of training.")
    l2: float = Field(1e-3, ge=0, description="Weight of the L2 penalty.")
    dropout: float = Field(0.3, ge=0, lt=1, description="Dropout rate of the hidden layers.")
    hidden: str = Field(
        "32", pattern=r"^(none|\d+(,\d+)*)$", description="Widths of the hidden layers, or 'none' for a linear model."
    )
    bins: int = Field(16, ge=2, le=256, description="Largest number of quantile buckets of a numeric feature.")
    embedding: int = Field(4, ge=1, le=64, description="Width of the embedding of a category.")
    max_vocabulary: int = Field(
        1000, ge=2, description="Most categories kept per feature; rarer ones are treated as unknown."
    )
    batch_size: int = Field(256, ge=1, description="Rows per step; small tables use smaller batches.")
    epochs: int = Field(60, ge=1, description="Largest number of epochs.")
    patience: int = Field(5, ge=1, description="Epochs without a lower validation loss after which training stops.")
    class_weight: Literal["none", "balanced"] = Field(
        "none", description="balanced: give every class the same total weight."
    )

    def of(self, family: str) -> "Training | Trees":
        """Return the section that holds the hyperparameters of a family."""
        return self.trees if family == "trees" else self

    def tuned(self, family: str, values: dict[str, Any]) -> "Training":
        """Return this section with other hyperparameters of a family.

        Raises:
            pydantic.ValidationError: If a value is not allowed.
        """
        if family == "trees":
            return self.model_copy(update={"trees": Trees.model_validate(self.trees.model_dump() | values)})
        return Training.model_validate(self.model_dump() | values)


TUNABLE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "network": ("learning_rate", "l2", "dropout", "hidden", "bins", "embedding", "batch_size"),
        "trees": ("leaves", "learning_rate", "min_rows", "feature_share", "row_share", "l2"),
    }
)
"""Family to what a trial may set; other settings are the project's decision or change what the loss means."""


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
    latency_ms: float | None = Field(None, gt=0, description="Highest median latency of one row, in milliseconds.")
    size_mib: float | None = Field(None, gt=0, description="Largest size of the exported model, in MiB.")
    min_test_rows: int = Field(50, ge=1, description="Smallest number of test rows.")
    min_class_rows: int = Field(
        25, ge=1, description="Smallest number of test rows of the rarer class; of several, the rarest that is judged."
    )


class Validation(Section):
    """How a run reacts to anomalies in the data: block, warn or ignore."""

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


_PUBLIC_KEY = r"^-----BEGIN PUBLIC KEY-----\n[A-Za-z0-9+/=\n]+-----END PUBLIC KEY-----\n?$"


class ReleaseSettings(Section):
    """How a promoted model is released."""

    strategy: Literal["basic", "shadow", "canary", "ab"] = Field(
        "basic",
        description="basic: switch all traffic at once; shadow: score copies of the requests first; canary: answer a "
        "growing share of them; ab: answer a share of the entities until outcomes show which version is better.",
    )
    tolerance: float = Field(
        1e-5, gt=0, description="Largest difference between the server's answers and those recorded in training."
    )
    shares: tuple[Annotated[int, Field(ge=1, le=99)], ...] = Field(
        (5, 25, 50), description="canary: percentage of the requests in each step, before all of them.", min_length=1
    )
    soak_s: float = Field(600.0, ge=0, description="Seconds that each step lasts at least.")
    min_requests: int = Field(500, ge=1, description="Requests that the candidate must get in each step.")
    deadline_s: float = Field(
        86400.0, gt=0, description="Seconds after which a step with too few requests is inconclusive."
    )
    inconclusive: Literal["abort", "hold"] = Field(
        "abort", description="abort: take an inconclusive candidate back; hold: wait for somebody to decide."
    )
    false_rollbacks: float = Field(
        0.01, gt=0, lt=1, description="Probability of taking back a candidate that does no harm."
    )
    slow_odds: float = Field(
        4.0, ge=1, description="How many times as high as the champion's the odds of a slow request may be."
    )
    score_odds: float = Field(
        3.0, ge=1, description="How many times as high or low as the champion's the odds of a range of scores may be."
    )
    labels: Literal["none", "better", "not worse"] = Field(
        "none",
        description="shadow: what labels must show before the candidate takes over: that it is right more often than "
        "the champion, or less often by at most 'labels_margin'.",
    )
    labels_margin: float = Field(
        0.01, ge=0, lt=1, description="By how much less often a candidate may be right that is 'not worse'."
    )
    labels_error: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Probability of promoting a candidate that does not meet 'labels'; ab: of finding a difference, in "
        "either direction, where there is none.",
    )
    ab_share: int = Field(50, ge=1, le=99, description="ab: percentage of the entities that the candidate answers.")
    ab_metric: Literal["labels", "outcomes"] = Field(
        "labels",
        description="ab: labels: the share of right decisions (of a regression, the absolute error); outcomes: the "
        "mean of the figures of 'perennial outcomes add'.",
    )
    smallest_effect: float | None = Field(
        None, gt=0, description="ab: the difference of the means that would be worth a release, in the metric's unit."
    )
    power: float = Field(0.8, gt=0, lt=1, description="ab: probability of finding a difference of that size.")
    look_every_s: float = Field(86400.0, gt=0, description="ab: seconds between two looks at the outcomes.")
    approvers: tuple[str, ...] = Field(
        (), description="Accounts one of which must approve a candidate before it takes over; none is needed if empty."
    )
    signed_by: tuple[Annotated[str, Field(pattern=_PUBLIC_KEY)], ...] = Field(
        (),
        description="Public keys in PEM: a version is signed when it is registered, and served only if one of these "
        "keys has signed it; versions are not signed if empty.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> "ReleaseSettings":
        if any(later <= earlier for earlier, later in pairwise(self.shares)):
            raise ValueError(f"'shares' {list(self.shares)} do not grow; each step needs a larger share")
        if self.strategy == "ab" and self.smallest_effect is None:
            raise ValueError(
                "the strategy 'ab' needs 'smallest_effect': the difference of the means that would be worth a release"
            )
        if self.labels != "none" and self.strategy != "shadow":
            raise ValueError(
                f"'labels' is {self.labels!r}, but only the strategy 'shadow' answers the same requests with both "
                f"versions; 'strategy' is {self.strategy!r}"
            )
        if self.deadline_s < self.soak_s:
            raise ValueError(f"'deadline_s' {self.deadline_s:g} is before the end of 'soak_s' {self.soak_s:g}")
        return self


class AlertBudget(Section):
    """How many false alarms all tests of the model together may raise."""

    false_alarms: float = Field(1.0, gt=0, description="Average number of false alarms in that time.")
    days: float = Field(365.0, ge=2, description="The time, in days.")


class ServiceObjectives(Section):
    """What the endpoint promises over 30 days; alerts fire when the allowed failures are used up too fast."""

    availability: Share = Field(0.999, description="Share of the requests that do not fail through the server.")
    latency_ms: Literal[1, 2, 5, 10, 20, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000] = Field(
        100, description="Time within which a request is scored; an edge of the server's histogram."
    )
    latency: Share = Field(0.99, description="Share of the answered requests that take no longer.")
    quality: Share | None = Field(
        None, description="Share of the labeled rows that are answered rightly; not monitored by default."
    )


_SEASON_DAYS = 364
_VARIABLE = r"^[A-Z][A-Z0-9_]*$"


class FileSink(Section):
    """A file that gets one line of JSON per message."""

    kind: Literal["file"] = Field(description="Type of the sink.")
    path: str = Field(description="The file, relative to the project file.")


class WebhookSink(Section):
    """A URL that gets each message as JSON by POST."""

    kind: Literal["webhook"] = Field(description="Type of the sink.")
    url: str | None = Field(None, pattern="^https?://", description="Where to send; without a secret in it.")
    url_env: str | None = Field(None, pattern=_VARIABLE, description="Environment variable that holds the URL.")

    @model_validator(mode="after")
    def _one_url(self) -> "WebhookSink":
        if (self.url is None) == (self.url_env is None):
            raise ValueError("a webhook needs either 'url' or 'url_env'")
        return self


class EmailSink(Section):
    """A mail server."""

    kind: Literal["email"] = Field(description="Type of the sink.")
    host: str = Field(description="The SMTP server.")
    port: int = Field(587, ge=1, le=65535, description="Its port.")
    security: Literal["starttls", "tls", "none"] = Field("starttls", description="How the connection is encrypted.")
    credentials_env: str | None = Field(
        None, pattern=_VARIABLE, description="Environment variable that holds 'user:password'."
    )
    sender: str = Field(description="Address of the sender.")
    to: tuple[str, ...] = Field(min_length=1, description="Addresses of the readers.")


class AlertmanagerSink(Section):
    """Prometheus's Alertmanager, which groups, silences and routes."""

    kind: Literal["alertmanager"] = Field(description="Type of the sink.")
    url: str = Field(pattern="^https?://", description="Its address, such as http://alertmanager:9093.")
    credentials_env: str | None = Field(
        None, pattern=_VARIABLE, description="Environment variable that holds 'user:password', if it asks for one."
    )


Sink = Annotated[FileSink | WebhookSink | EmailSink | AlertmanagerSink, Field(discriminator="kind")]


# What a model server does for monitoring; the other settings of the section are read by whoever watches it.
_MONITORING_OF_THE_SERVER = {"log", "log_sample", "redact", "access_log", "exploration"}


class Monitoring(Section):
    """What is logged of the requests, and when monitoring raises an alarm."""

    log: bool = Field(True, description="Whether the server logs every answered request.")
    log_sample: float = Field(1.0, gt=0, le=1, description="Share of the requests to log.")
    redact: tuple[ColumnName, ...] = Field((), description="Features that are never logged.")
    access_log: bool = Field(
        False, description="Whether the server writes a line per request, also of refused ones, without features."
    )
    retention_days: int = Field(180, ge=1, description="Days after which logged requests are deleted.")
    window_days: float = Field(7.0, gt=0, description="Length of the window that is compared with the reference.")
    reference: Literal["test rows", "previous window", "same season"] = Field(
        "test rows",
        description="What a window is compared with: the champion's test rows, the window before, or that of a year "
        "before; the test rows where the log has too few.",
    )
    loss_increase: float = Field(
        0.0, ge=0, lt=1, description="How much the share of wrong answers may rise before it counts as worse."
    )
    exploration: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Share of the decisions that hide or change their label that is answered with the other class at "
        "random, so that performance stays known; 0.02 to 0.05 is enough to notice.",
    )
    rollback_days: float = Field(
        7.0, ge=0, description="Days after a release in which a risen loss rolls it back instead of retraining."
    )
    drift: Literal["open", "alibi"] = Field(
        "open", description="Library of the drift tests; alibi: Alibi Detect, under the Business Source License."
    )
    joint: Literal["classifier", "mmd", "autoencoder", "kmeans"] = Field(
        "classifier", description="Test of all inputs together; other ones than the classifier need alibi."
    )
    alerts: AlertBudget = Field(AlertBudget(), description="How many false alarms are acceptable.")
    slo: ServiceObjectives = Field(ServiceObjectives(), description="What the endpoint promises.")
    owner: str | None = Field(None, description="Who deals with incidents; named in every message.")
    notify: dict[Name, Sink] = Field(
        default_factory=dict, description="Where incidents are told, by name: file, webhook, email or alertmanager."
    )

    @model_validator(mode="after")
    def _available(self) -> "Monitoring":
        if self.drift == "open" and self.joint != "classifier":
            raise ValueError(f"'joint: {self.joint}' needs 'drift: alibi'; the open tests have the classifier")
        needed = _SEASON_DAYS + math.ceil(self.window_days)
        if self.reference == "same season" and self.retention_days < needed:
            raise ValueError(
                f"'reference: same season' needs a log that reaches back for {_SEASON_DAYS} days and a window; "
                f"'retention_days' is {self.retention_days}, expected {needed} or more"
            )
        return self


class Retraining(Section):
    """How a model is trained, when it is trained although no loss has risen, and when vain trainings are an incident.

    A loss that has risen always retrains.
    """

    method: Literal["scratch", "warm start"] = Field(
        "scratch",
        description="How every run trains: from scratch, or by continuing the champion's trees and network where the "
        "project still asks the same question of the same features.",
    )
    every_days: float | None = Field(
        None, gt=0, description="Days for which a release has answered, after which the model is retrained."
    )
    new_labels: int | None = Field(
        None,
        ge=1,
        description="Labels that have become known since a release first answered, after which the model is retrained.",
    )
    cost: float = Field(
        0.0,
        ge=0,
        description="What a training costs (computing, review, risk), in the currency of 'value', or in wrong answers; "
        "perennial cadence compares it with what an aging model loses.",
    )
    attempts: int = Field(
        3, ge=1, description="Trainings in a row that the loop begins without a new release, before an incident opens."
    )


class ServingSettings(Section):
    """How the model server runs: the first three keys everywhere, the others on a cluster only."""

    online_features: bool = Field(
        False, description="Look up the features that a request leaves out, by its entity, in Feast's online store."
    )
    request_features: tuple[ColumnName, ...] = Field(
        (), description="Features that only clients know: every request has them, and they are never looked up."
    )
    lookup_timeout_s: float = Field(
        1.0, gt=0, le=60, description="Seconds to wait for the feature server before a request is refused."
    )
    feature_server: str = Field(
        "http://feature-server.perennial.svc.cluster.local:6566",
        pattern=r"^https?://.+",
        description="Address of Feast's feature server on a cluster; 'perennial serve' starts one of its own.",
    )
    cpu: str = Field("100m", pattern=_QUANTITY, description="CPU request of a pod.")
    memory: str = Field("256Mi", pattern=_QUANTITY, description="Memory request of a pod.")
    memory_limit: str = Field("1Gi", pattern=_QUANTITY, description="Memory limit of a pod.")
    replicas_min: int = Field(1, ge=1, description="Smallest number of pods.")
    replicas_max: int = Field(3, ge=1, description="Largest number of pods.")
    scale_metric: Literal["cpu", "memory"] = Field("cpu", description="Resource whose usage scales the pods.")
    scale_target: int = Field(80, ge=1, description="Usage above which pods are added, in percent of the request.")
    log_url: str | None = Field(None, description="HTTP sink for KServe's request log; no log without it.")
    log_mode: Literal["all", "request", "response"] = Field("all", description="What KServe logs of each exchange.")
    collector: str | None = Field(
        None,
        pattern=r"^https?://.+",
        description="Address of the collector that keeps the inference log, such as "
        "http://collector.perennial.svc.cluster.local:8090; nothing is logged for monitoring without it.",
    )
    start_s: int = Field(300, ge=10, description="Seconds in which a pod must become ready.")
    drain_s: int = Field(10, ge=0, description="Seconds for which a terminating pod still answers requests.")

    @model_validator(mode="after")
    def _in_order(self) -> "ServingSettings":
        if self.replicas_min > self.replicas_max:
            raise ValueError(f"'replicas_min' {self.replicas_min} exceeds 'replicas_max' {self.replicas_max}")
        return self


class Toleration(Section):
    """A node taint that a step's pod tolerates."""

    key: str | None = Field(None, description="Key of the taint; null matches every key.")
    operator: Literal["Equal", "Exists"] = Field("Equal", description="How the taint's value is compared.")
    value: str | None = Field(None, description="Value of the taint, for the operator Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Effect of the taint; null matches every effect."
    )


# The keys of a step and of 'default' are the same; a subclass that sets a default must repeat the description.
_STEP = {
    "cpu": "CPU request of the step's pod.",
    "cpu_limit": "CPU limit of the step.",
    "memory": "Memory request of the step's pod.",
    "memory_limit": "Memory limit of the step.",
    "gpu": "Number of accelerators.",
    "gpu_type": "Resource name of the accelerator on the nodes.",
    "node_selector": "Labels that a node must have.",
    "tolerations": "Node taints that the step's pod tolerates.",
    "timeout_s": "Seconds after which the step is stopped and the run fails.",
    "retries": "How often a failed step is retried.",
    "retry_wait_s": "Seconds before the first retry.",
    "retry_factor": "Factor by which the wait grows with each retry.",
    "retry_wait_max_s": "Longest wait between retries, in seconds.",
}


class StepResources(Section):
    """Resources, placement and retries of one step; null means the value of 'default'."""

    cpu: str | None = Field(None, pattern=_CPU, description=_STEP["cpu"])
    cpu_limit: str | None = Field(None, pattern=_CPU, description=_STEP["cpu_limit"])
    memory: str | None = Field(None, pattern=_MEMORY, description=_STEP["memory"])
    memory_limit: str | None = Field(None, pattern=_MEMORY, description=_STEP["memory_limit"])
    gpu: int | None = Field(None, ge=0, description=_STEP["gpu"])
    gpu_type: str | None = Field(None, min_length=1, description=_STEP["gpu_type"])
    node_selector: dict[str, str] | None = Field(None, description=_STEP["node_selector"])
    tolerations: tuple[Toleration, ...] | None = Field(None, description=_STEP["tolerations"])
    timeout_s: int | None = Field(None, ge=1, description=_STEP["timeout_s"])
    retries: int | None = Field(None, ge=0, le=10, description=_STEP["retries"])
    retry_wait_s: int | None = Field(None, ge=0, description=_STEP["retry_wait_s"])
    retry_factor: float | None = Field(None, ge=1, description=_STEP["retry_factor"])
    retry_wait_max_s: int | None = Field(None, ge=0, description=_STEP["retry_wait_max_s"])


class DefaultResources(StepResources):
    """Resources, placement and retries of every step that does not set its own."""

    gpu: int = Field(0, ge=0, description=_STEP["gpu"])
    gpu_type: str = Field("nvidia.com/gpu", min_length=1, description=_STEP["gpu_type"])
    node_selector: dict[str, str] = Field(default_factory=dict, description=_STEP["node_selector"])
    tolerations: tuple[Toleration, ...] = Field((), description=_STEP["tolerations"])
    retries: int = Field(0, ge=0, le=10, description=_STEP["retries"])
    retry_wait_s: int = Field(30, ge=0, description=_STEP["retry_wait_s"])
    retry_factor: float = Field(2.0, ge=1, description=_STEP["retry_factor"])
    retry_wait_max_s: int = Field(600, ge=0, description=_STEP["retry_wait_max_s"])


class Resources(Section):
    """Resources of the steps: a default, and exceptions by step."""

    default: DefaultResources = Field(DefaultResources(), description="Resources of every step.")
    steps: dict[Name, StepResources] = Field(
        default_factory=dict, description="Resources that differ from 'default', by step."
    )

    def of(self, step: str) -> DefaultResources:
        """Return the resources of a step: its own values, and the defaults for the others.

        >>> resources = Resources(default={"memory": "2Gi", "retries": 1}, steps={"tuning": {"retries": 0}})
        >>> resources.of("tuning").memory, resources.of("tuning").retries, resources.of("training").retries
        ('2Gi', 0, 1)
        """
        own = self.steps[step].model_dump(exclude_none=True) if step in self.steps else {}
        return DefaultResources.model_validate(self.default.model_dump() | own)


class SizeLimits(Section):
    """Sizes above which a table or a request is rejected."""

    columns: int = Field(500, ge=1, description="Largest number of columns of a source.")
    request_rows: int = Field(10_000, ge=1, description="Largest number of rows in a request.")
    request_mib: float = Field(8.0, gt=0, le=32, description="Largest size of a request body, in MiB.")


class Project(Section):
    """The complete description of a use case."""

    name: ResourceName = Field(description="Name of the model, its endpoint and its Kubernetes resources.")
    task: Literal["binary", "multiclass", "regression"] = Field(description="Type of the prediction.")
    entity: ColumnName = Field(description="Column that identifies what an example is about.")
    event_time: ColumnName = Field(
        description="Column with the time of the prediction; features that became known later are not used."
    )
    sources: dict[Name, Source] = Field(min_length=1, description="Source tables, by name.")
    label: Label = Field(description="The value to predict.")
    features: Features = Field(description="The model's inputs.")
    split: Split = Field(Split(), description="How rows are split for training, validation and testing.")
    tuning: Tuning = Field(Tuning(), description="The hyperparameter search.")
    training: Training = Field(Training(), description="Model families, fixed hyperparameters and early stopping.")
    value: Value | None = Field(
        None, description="What a decision is worth; without it, a false and a missed alarm cost the same."
    )
    evaluation: Evaluation = Field(Evaluation(), description="How a model is evaluated.")
    gate: Gate = Field(Gate(), description="Rules that a candidate must pass.")
    validation: Validation = Field(Validation(), description="How a run reacts to anomalies in the data.")
    release: ReleaseSettings = Field(ReleaseSettings(), description="How a promoted model is released.")
    monitoring: Monitoring = Field(Monitoring(), description="What is logged, and when an alarm is raised.")
    retraining: Retraining = Field(Retraining(), description="How a model is trained, and when without an alarm.")
    serving: ServingSettings = Field(ServingSettings(), description="How the model server runs.")
    resources: Resources = Field(Resources(), description="Resources of the pipeline's steps.")
    limits: SizeLimits = Field(SizeLimits(), description="Sizes above which a table or a request is rejected.")

    @model_validator(mode="after")
    def _log_reaches_back(self) -> "Project":
        every_days, kept_days = self.retraining.every_days, self.monitoring.retention_days
        if every_days is not None and every_days >= kept_days:
            raise ValueError(
                f"'retraining: every_days' is {every_days:g}, but the log, from which the age of a release is read, "
                f"reaches back for 'monitoring: retention_days' {kept_days}; lower the one or raise the other"
            )
        return self

    @model_validator(mode="after")
    def _labels_can_decide(self) -> "Project":
        release, delay_s = self.release, self.label.delay_days * 86400
        by_labels = release.labels != "none" or (release.strategy == "ab" and release.ab_metric == "labels")
        by_log = by_labels or release.strategy == "ab"
        if by_log and not self.monitoring.log:
            raise ValueError(
                "the release waits for labels or outcomes of logged requests, but 'monitoring: log' is false"
            )
        if by_labels and release.strategy == "ab" and self.task != "regression" and (release.smallest_effect or 0) >= 1:
            raise ValueError(
                f"'smallest_effect' is {release.smallest_effect:g}, but a share of right decisions differs by less "
                "than 1; write 2 points as 0.02"
            )
        if by_labels and release.deadline_s <= delay_s:
            raise ValueError(
                f"the release waits for labels, which come {self.label.delay_days} days after a request, but its "
                f"'deadline_s' {release.deadline_s:g} ends before the first of them ({delay_s} s); raise it"
            )
        needed_s = (delay_s if by_labels else 0) + 2 * release.look_every_s
        if release.strategy == "ab" and release.deadline_s < needed_s:
            raise ValueError(
                f"the A/B test ends after 'deadline_s' {release.deadline_s:g}, before a second look at its outcomes: "
                f"with 'look_every_s' {release.look_every_s:g} it needs at least {needed_s:g}; raise it"
            )
        return self

    @model_validator(mode="after")
    def _directions_can_be_kept(self) -> "Project":
        if not self.features.monotone:
            return self
        if self.task == "multiclass":
            raise ValueError(
                f"'monotone' of {sorted(self.features.monotone)} needs one score per row, and several classes have "
                "several; remove it"
            )
        if "trees" not in self.training.families:
            raise ValueError(
                f"only trees keep to 'monotone' of {sorted(self.features.monotone)}, and 'training: families' is "
                f"{list(self.training.families)}; add trees"
            )
        return self

    def lookups(self, feature_server: str) -> list[str]:
        """Return the arguments with which a model server looks features up at an address; none where that is off."""
        serving = self.serving
        if not serving.online_features:
            return []
        sent = [f"--request-feature={name}" for name in serving.request_features]
        return [f"--feature-server={feature_server}", f"--lookup-timeout-s={serving.lookup_timeout_s:g}", *sent]

    @property
    def of_the_model(self) -> dict[str, Any]:
        """Return the settings that a model or its server depends on, without those that equal their default.

        How a model is watched, when it is retrained and what a step may use is not among them.
        """
        watched = set(Monitoring.model_fields) - _MONITORING_OF_THE_SERVER
        excluded: dict[str, Any] = {"retraining": True, "resources": True, "monitoring": watched}
        settings = self.model_dump(mode="json", exclude=excluded, exclude_defaults=True)
        return {name: value for name, value in settings.items() if value != {}}

    @property
    def explored(self) -> dict[str, float]:
        """Return the decisions that are explored, and the share of each that is reversed."""
        share = self.monitoring.exploration
        return dict.fromkeys(self.label.selective, share) if share and self.task == "binary" else {}
