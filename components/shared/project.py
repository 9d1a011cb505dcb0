"""The project file as types: what a use case is, and nothing about where it runs.

The parser with its helpful messages is ``pipelines.project.project_file``; steps only read a bundle that it wrote.
Each default stands here and nowhere else.
"""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

# A DNS label with room for what KServe appends, as the project names its model, endpoint and Kubernetes resources.
ResourceName = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Column = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^/\\\x00-\x1f]+$")]
Share = Annotated[float, Field(gt=0, lt=1)]
Reaction = Literal["block", "warn", "ignore"]
# An amount as Kubernetes writes it: 500m, 2, 256Mi.
_QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi)?$"
# The same as KFP takes them from a pipeline.
_CPU = r"^([0-9]+(\.[0-9]+)?|[0-9]+m)$"
_MEMORY = r"^[0-9]+(Ki|M|Mi|G|Gi|T|Ti)?$"


class Section(BaseModel):
    """A part of the project file: immutable, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(Section):
    """One table: a CSV or parquet file beside the project file, or a query to a database."""

    path: str | None = Field(
        None, description="CSV or parquet file (or folder of parquet), relative to the project file."
    )
    database: str | None = Field(None, description="SQLAlchemy URL without credentials, or duckdb:///file.")
    query: str | None = Field(None, description="SQL that the database answers with this table.")
    credentials_env: str | None = Field(
        None,
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="Environment variable that holds 'user:password' for the database.",
    )
    time: Column | None = Field(None, description="Column with the time of a row, UTC.")
    constant_time: AwareDatetime | None = Field(
        None, description="The table has no time: ingestion adds the column named by 'time' with this one value."
    )
    row_number: Column | None = Field(
        None, description="The table has no entity: ingestion adds a column of this name that counts its rows from 1."
    )
    null_values: tuple[str, ...] = Field(("",), description="Texts of a CSV that mean 'missing'; blanks always do.")
    rows_min: int = Field(1, ge=0, description="Smallest batch that is plausible.")
    rows_max: int | None = Field(None, ge=1, description="Largest batch that is plausible.")

    @model_validator(mode="after")
    def _one_kind(self) -> "Source":
        if (self.path is None) == (self.database is None):
            raise ValueError("a source has either a 'path' or a 'database'")
        if (self.database is None) != (self.query is None):
            raise ValueError("'database' and 'query' go together")
        if self.constant_time is not None and self.time is None:
            raise ValueError("'constant_time' needs 'time', the name of the column to add")
        return self


class Label(Section):
    """What is predicted, and when it becomes known."""

    source: Name = Field(description="The source whose rows are the examples: entity, event time and label.")
    column: Column
    positive: str | int | float | bool | None = Field(None, description="The answer that is acted on (binary only).")
    delay_days: int = Field(0, ge=0, description="How long after the event time the label may be missing.")
    missing: Literal["refuse", "drop"] = Field(
        "refuse", description="What to do with a missing label older than the delay."
    )


class Feature(Section):
    """One input of the model, and what a request may hold for it."""

    type: Literal["numeric", "categorical", "boolean"]
    missing: bool = Field(True, description="May a request leave this feature empty (null)?")


class Features(Section):
    """The model's inputs, as the Feast feature service delivers them."""

    service: Name
    columns: dict[Column, Feature] = Field(min_length=1)


class Split(Section):
    """Which rows train, which choose, which judge. Shares are of all labelled rows."""

    method: Literal["time", "hash", "random"] = "time"
    validation: Share = 0.15
    test: Share = 0.2
    gap_days: int | None = Field(None, ge=0, description="Days left out before each cut; default: the label's delay.")


class Range(Section):
    """A numeric hyperparameter between two bounds, both inclusive."""

    low: float
    high: float
    log: bool = False
    integer: bool = False
    step: float | None = Field(None, gt=0, description="Grid of values; needed by the grid sampler.")


class Choice(Section):
    """A hyperparameter with a list of values."""

    choices: tuple[int | float | str | bool, ...] = Field(min_length=1)


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

    sampler: Literal["tpe", "random", "grid", "gp"] = "tpe"
    pruner: Literal["median", "hyperband", "none"] = "median"
    trials: int = Field(8, ge=0, description="0 takes the fixed hyperparameters of 'training' as they are.")
    timeout_s: float | None = Field(None, gt=0)
    workers: int = Field(1, ge=1, le=64)
    startup_trials: int = Field(3, ge=0, description="Trials that are never pruned.")
    warmup_epochs: int = Field(3, ge=0, description="Epochs of a trial before which it is not pruned.")
    max_rows: int | None = Field(200_000, ge=100, description="Train a trial on at most this many rows.")
    space: dict[str, Range | Choice] = Field(default_factory=_default_space)


class Training(Section):
    """Fixed hyperparameters (where tuning does not set them) and the stopping rule."""

    learning_rate: float = Field(0.003, gt=0)
    l2: float = Field(1e-3, ge=0)
    dropout: float = Field(0.3, ge=0, lt=1)
    hidden: str = Field(
        "32", pattern=r"^(none|\d+(,\d+)*)$", description="Widths of the deep part, 'none' for a wide model."
    )
    bins: int = Field(16, ge=2, le=256, description="Buckets of each numeric feature (quantiles).")
    embedding: int = Field(4, ge=1, le=64, description="Width of a category's embedding in the deep part.")
    max_vocabulary: int = Field(
        1000, ge=2, description="Most frequent categories kept; the others are out-of-vocabulary."
    )
    batch_size: int = Field(256, ge=1)
    epochs: int = Field(60, ge=1)
    patience: int = Field(5, ge=1, description="Epochs without a better validation loss before training stops.")
    class_weight: Literal["none", "balanced"] = "none"


class Value(Section):
    """Money of one decision (binary): act on a predicted positive, leave the others alone."""

    currency: str = "USD"
    benefit: float = Field(1.0, ge=0, description="Gained when acting on a true positive succeeds.")
    success_rate: float = Field(1.0, ge=0, le=1, description="How often acting on a true positive succeeds.")
    false_positive_cost: float = Field(1.0, ge=0)
    action_cost: float = Field(0.0, ge=0, description="Spent on each acted-on row, right or wrong.")
    false_negative_cost: float = Field(0.0, ge=0)


class Evaluation(Section):
    """How a model is measured."""

    confidence: Share = 0.95
    resamples: int = Field(500, ge=50, description="Bootstrap resamples.")
    slices: tuple[Column | tuple[Column, ...], ...] = Field((), description="Features, or tuples of them, to slice by.")
    fairness: tuple[Column, ...] = Field((), description="Columns that hold the groups to compare.")
    min_support: int = Field(50, ge=1, description="Rows below which a slice is not judged.")
    find_worst: bool = Field(True, description="Also search all features for the worst slice.")


class Gate(Section):
    """What a candidate must show. A rule set to null is off."""

    beat_rule: bool = Field(True, description="First release: better than the rule, by the bootstrap's bound.")
    plain_margin: float | None = Field(0.01, ge=0, description="First release: tolerated loss against the plain model.")
    champion_margin: float | None = Field(0.01, ge=0, description="Later: tolerated loss against the champion.")
    floors: dict[str, float] = Field(default_factory=dict, description="Metric -> lowest value (higher is better).")
    ceilings: dict[str, float] = Field(default_factory=dict, description="Metric -> highest value (lower is better).")
    slice_gap: float | None = Field(None, ge=0, description="Largest loss of a supported slice against all rows.")
    fairness_gap: float | None = Field(None, ge=0, le=1, description="Largest gap in selection rate between groups.")
    value_positive: bool = Field(False, description="Acting on the model must earn money on the test rows.")
    latency_ms: float | None = Field(None, gt=0, description="Highest median latency of one row.")
    size_mib: float | None = Field(None, gt=0, description="Largest exported model.")
    min_test_rows: int = Field(50, ge=1)


class Validation(Section):
    """Which anomalies stop a run."""

    schema_anomalies: Reaction = "block"
    drift: Reaction = "warn"
    duplicates: Reaction = "warn"
    constant_columns: Reaction = "warn"
    batch_size: Reaction = "block"
    segments: Reaction = "block"
    drift_threshold: float = Field(
        0.1, gt=0, le=1, description="Jensen-Shannon divergence (numbers) or L-infinity norm (texts)."
    )
    segment_columns: dict[str, tuple[Column, ...]] = Field(
        default_factory=dict, description="Source -> columns whose values are checked one by one."
    )
    segment_missing_max: float = Field(
        0.1, gt=0, le=1, description="Largest rise of a segment's missing share above that of the other rows."
    )


class Release(Section):
    """How a promoted model takes over."""

    strategy: Literal["basic"] = "basic"
    tolerance: float = Field(
        1e-5, gt=0, description="Largest difference between the sample's answer and what training said."
    )


class Serving(Section):
    """How the model server stands on a cluster; a local endpoint needs none of it."""

    cpu: str = Field("100m", pattern=_QUANTITY, description="CPU that a pod asks for.")
    memory: str = Field("256Mi", pattern=_QUANTITY, description="Memory that a pod asks for.")
    memory_limit: str = Field("1Gi", pattern=_QUANTITY, description="Memory above which a pod is killed.")
    replicas_min: int = Field(1, ge=1, description="Pods that always run.")
    replicas_max: int = Field(3, ge=1, description="Pods that load may make it.")
    scale_metric: Literal["cpu", "memory"] = Field("cpu", description="What makes it more pods ...")
    scale_target: int = Field(80, ge=1, description="... above this share of what they asked for, in percent.")
    log_url: str | None = Field(None, description="HTTP sink for KServe's request log, none without it.")
    log_mode: Literal["all", "request", "response"] = "all"
    start_s: int = Field(300, ge=10, description="Longest time that a pod may take until it answers.")
    drain_s: int = Field(10, ge=0, description="Time that a pod still answers after it was told to end.")

    @model_validator(mode="after")
    def _in_order(self) -> "Serving":
        if self.replicas_min > self.replicas_max:
            raise ValueError(f"'replicas_min' {self.replicas_min} exceeds 'replicas_max' {self.replicas_max}")
        return self


class Toleration(Section):
    """A taint of a node that a step's pod bears."""

    key: str | None = Field(None, description="Of the taint; none means every taint.")
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class StepResources(Section):
    """What one step may take, where it may run and how often it is tried; None is as 'default' says."""

    cpu: str | None = Field(None, pattern=_CPU, description="CPU that a pod asks for.")
    cpu_limit: str | None = Field(None, pattern=_CPU, description="CPU that it gets at most.")
    memory: str | None = Field(None, pattern=_MEMORY, description="Memory that a pod asks for.")
    memory_limit: str | None = Field(None, pattern=_MEMORY, description="Memory above which a step is killed.")
    gpu: int | None = Field(None, ge=0, description="Accelerators.")
    gpu_type: str | None = Field(None, min_length=1, description="Name of the accelerator's resource on a node.")
    node_selector: dict[str, str] | None = Field(None, description="Labels of the nodes that are fit.")
    tolerations: tuple[Toleration, ...] | None = None
    timeout_s: int | None = Field(None, ge=1, description="A step that takes longer is ended.")
    retries: int | None = Field(None, ge=0, le=10, description="Times that a step is tried again.")
    retry_wait_s: int | None = Field(None, ge=0, description="Wait before the first retry ...")
    retry_factor: float | None = Field(None, ge=1, description="... which grows by this factor ...")
    retry_wait_max_s: int | None = Field(None, ge=0, description="... up to this.")


class DefaultResources(StepResources):
    """The same with the defaults filled in."""

    gpu: int = Field(0, ge=0)
    gpu_type: str = Field("nvidia.com/gpu", min_length=1)
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    retries: int = Field(0, ge=0, le=10)
    retry_wait_s: int = Field(30, ge=0)
    retry_factor: float = Field(2.0, ge=1)
    retry_wait_max_s: int = Field(600, ge=0)


class Resources(Section):
    """What the steps may take, for all and for each by its name."""

    default: DefaultResources = DefaultResources()
    steps: dict[Name, StepResources] = Field(default_factory=dict, description="Step -> what differs from 'default'.")

    def of(self, step: str) -> DefaultResources:
        """Return what holds for a step.

        >>> resources = Resources(default={"memory": "2Gi", "retries": 1}, steps={"tuning": {"retries": 0}})
        >>> resources.of("tuning").memory, resources.of("tuning").retries, resources.of("training").retries
        ('2Gi', 0, 1)
        """
        own = self.steps[step].model_dump(exclude_none=True) if step in self.steps else {}
        return DefaultResources.model_validate(self.default.model_dump() | own)


class Limits(Section):
    """What is refused before it costs anything."""

    columns: int = Field(500, ge=1)
    request_rows: int = Field(10_000, ge=1)
    request_mib: float = Field(8.0, gt=0)


class Project(Section):
    """Everything about one use case."""

    name: ResourceName
    task: Literal["binary", "multiclass", "regression"]
    entity: Column
    event_time: Column
    sources: dict[Name, Source] = Field(min_length=1)
    label: Label
    features: Features
    split: Split = Split()
    tuning: Tuning = Tuning()
    training: Training = Training()
    value: Value | None = None
    evaluation: Evaluation = Evaluation()
    gate: Gate = Gate()
    validation: Validation = Validation()
    release: Release = Release()
    serving: Serving = Serving()
    resources: Resources = Resources()
    limits: Limits = Limits()
