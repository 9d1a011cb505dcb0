"""What the steps of the monitoring pipeline hand on: the window, what drifted, how the model performs, what to do."""

from typing import Literal

from pydantic import Field

from components.shared.documents.document import Document, OptionalFloat, Part, Task
from components.shared.documents.measurements import ColumnDistribution, Metric

Action = Literal["nothing", "watch", "retrain", "roll back"]
Cause = Literal["service", "data pipeline", "upstream", "label shift", "drift", "concept drift", "release", "training"]
"""Where to look first; in this order, because two thirds of the incidents of a large ML pipeline were not about ML
(Papasian and Underwood, "How ML Breaks", OpML 2020)."""


_BROKEN_NUMBERS, _BROKEN_CATEGORIES, _BROKEN_MISSING = 3.0, 0.6, 0.3
"""Normed Wasserstein and Jensen-Shannon distance, and change of the missing share, from which a column is broken."""
_CONSTANT, _VARIED = 0.99, 0.9
"""Share of one value from which on a column is constant, and down to which it no longer is."""


class LabelJoin(Part):
    """What became of the labels that were added."""

    known: int
    """Labels of the project, counting the latest of each key."""
    joined: int
    """Labels that belong to a logged row."""
    revised: int
    """Labels that were added more than once with different values; the latest counts."""
    early: int
    """Labels of an entity that lie before its first logged row, so that they belong to none."""


class LatencyDay(Part):
    """What the release answered on one day, by the server's clock."""

    day: str
    requests: int
    slow: int
    """Requests that took longer than the project promises."""


class LogWindow(Document):
    """``window.json``: which logged rows are looked at, and which of them have a label that is due."""

    FILE = "window.json"

    model: str
    task: Task
    start: str | None
    """Exclusive, ISO 8601, UTC; None is no limit."""
    end: str | None
    """Inclusive; None if nothing was logged."""
    rows: int
    requests: int
    releases: dict[str, int]
    """Release to its number of rows in the window."""
    release: str | None
    """The release of the newest row."""
    answering_since: str | None = None
    """When that release first answered, by the log; unknown in older documents."""
    new_labels: int = 0
    """Labels of logged rows, of any release, that have become known since then."""
    delay_days: int
    due_until: str | None
    """Rows with an event time up to here are old enough for their label to be known."""
    due: int
    """Rows of the release up to the end of the window that are due, labeled or not."""
    due_labeled: int
    """Those of them with a label."""
    young_labeled: int
    """Rows that have a label already although they are not due; they are not measured."""
    from_the_future: int
    """Rows whose event time is later than their request by more than a day; they are left out."""
    labels: LabelJoin
    damaged: tuple[str, ...]
    """Why each damaged segment of the log was set aside."""
    latency: tuple[LatencyDay, ...] = ()
    """Days on which the release answered, up to the end of the window; none in older documents."""


class ColumnDrift(Part):
    """The comparison of one column of the window with the reference."""

    column: str
    statistic: str
    value: OptionalFloat
    threshold: OptionalFloat
    effect: OptionalFloat
    """Normed Wasserstein (numbers) or Jensen-Shannon distance (categories), whichever test was used."""
    missing_reference: float
    """Share of missing values, 0 to 1."""
    missing: float
    is_drift: bool
    usual: OptionalFloat = None
    """Share that the most frequent value of the reference has there, missing ones included."""
    usual_now: OptionalFloat = None
    """Share that the same value has in the window."""
    importance: OptionalFloat = None
    """What the main metric lost on the test rows when this column was shuffled; None if that was not measured."""
    reason: str | None = None
    """Why nothing was compared."""

    @property
    def is_broken(self) -> bool:
        """Return whether a column changed as no population does.

        It is gone, empty, in another unit, of other values, or had one value and now has several.
        """
        largest = _BROKEN_NUMBERS if "Wasserstein" in self.statistic else _BROKEN_CATEGORIES
        changed = (self.effect or 0.0) >= largest or abs(self.missing - self.missing_reference) >= _BROKEN_MISSING
        return self.is_drift and (self.reason is not None or changed or self.was_constant)

    @property
    def was_constant(self) -> bool:
        """Return whether the column had one value and now has several."""
        usual, now = self.usual, self.usual_now
        return usual is not None and now is not None and usual >= _CONSTANT and now <= _VARIED


class JointDrift(Part):
    """Whether the window's rows differ from the reference's when all columns are taken together."""

    method: str
    """What was done, as the end of a sentence: "by ..."."""
    statistic: str
    value: float
    threshold: float
    is_drift: bool


class DriftReport(Document):
    """``drift.json``: the four signals, each with its own name; ``reason`` says why nothing can be known."""

    FILE = "drift.json"

    reference_rows: int
    rows: int
    compared_with: str = "the champion's test rows"
    """What the reference is, in words."""
    columns: tuple[ColumnDrift, ...] = ()
    """Input drift, by effect times importance."""
    joint: JointDrift | None = None
    """Input drift that no single column shows; None if there were too few rows."""
    prediction: ColumnDrift | None = None
    label: ColumnDrift | None = None
    """Label shift; None without enough labels."""
    distributions: tuple[ColumnDistribution, ...] = ()
    """The features in the reference and in the window, in the order of ``columns``; the first 24."""
    reason: str | None = None


class Period(Part):
    """One day of rows whose labels are due."""

    day: str
    rows: int
    labeled: int
    losses: float
    """Labeled rows that went wrong."""
    evidence: float
    """The detector's value as a share of what raises an alarm."""
    alarm: bool


class SegmentLoss(Part):
    """The losses of a part of the rows since the release."""

    where: dict[str, str]
    """Column to the value that all rows of the part share; ``decision`` is the answer."""
    labeled: int
    rate: OptionalFloat
    """Share of losses among its labeled rows."""
    reference_rate: float
    tolerated: float
    alarm: str | None
    """The first day that raised an alarm."""
    changed_on: str | None = None
    """The day from which on its loss was most probably higher; None without an alarm, and in older documents."""


class WatchedMetric(Part):
    """A figure besides the loss that the project declares, with a test of its own."""

    signal: Literal["value", "fairness", "latency"]
    name: str
    """What it is, with its unit."""
    metric: Metric
    """On the rows that are due, with its interval."""
    reference: OptionalFloat
    """The same on the test rows; of the latency, the share that is promised."""
    evidence: float
    """The detector's value as a share of what raises an alarm, 0 to 1; 1 once it has."""
    alarm: str | None
    """The first day that raised an alarm."""
    run_length_days: float
    guarantee: str


class Estimate(Part):
    """What the scores of a window say about its answers, before any label is known; blind to concept drift."""

    rows: int
    outside: float
    """Share of the rows with a value that no test row had."""
    loss: Metric | None = None
    """Expected share of wrong answers with its 90 % interval."""
    metrics: dict[str, Metric] = Field(default_factory=dict)
    is_risen: bool = False
    """Whether more wrong answers are to be expected than are tolerated."""
    reason: str | None = None
    """Why nothing is estimated."""


class LoggedRow(Part):
    """One row of a logged request."""

    request_id: str
    row: int
    """Number of the row in its request, from 0."""


class PerformanceReport(Document):
    """``performance.json``: how the release performs on rows with due labels; ``reason`` says why nothing is known."""

    FILE = "performance.json"

    mode: Literal["direct", "estimated", "inputs only"]
    """Measured on labels that are due; estimated, because too few are; or neither."""
    release: str | None
    loss: str
    """What counts as a loss, in words."""
    metrics: dict[str, Metric] = Field(default_factory=dict)
    reference: dict[str, OptionalFloat] = Field(default_factory=dict)
    """The same metrics on the test rows at the time of the release."""
    rate: OptionalFloat = None
    """Share of losses among the labeled rows."""
    doubly_robust_rate: OptionalFloat = None
    """The same, steadied by what the scores let expect, where labels are selective."""
    explored: int | None = None
    """Labeled rows that were answered otherwise at random; None unless decisions hide or change labels."""
    reference_rate: OptionalFloat = None
    tolerated: OptionalFloat = None
    """The share above which the loss counts as risen."""
    run_length_days: OptionalFloat = None
    """Average number of days between false alarms that the detector promises."""
    guarantee: str = ""
    periods: tuple[Period, ...] = ()
    segments: tuple[SegmentLoss, ...] = ()
    """The rows with the positive answer, then the declared slices and groups, the largest first."""
    watched: tuple[WatchedMetric, ...] = ()
    """Value and fairness, where the project declares them, and the latency that it promises."""
    estimate: Estimate | None = None
    """Of the window's rows, of which most are not due; None without a champion or its test rows."""
    to_label: tuple[LoggedRow, ...] = ()
    """A random sample of the window's rows without a label: what to label first, if anything is."""
    reason: str | None = None
    """Why nothing was measured on labels."""

    changed_on: str | None = None
    """The day from which on the loss, or else that of the rows with the positive answer, was most probably higher; None
    while neither has raised an alarm."""

    @property
    def alarm(self) -> Period | None:
        """The first period that raised an alarm; None if none did."""
        return next((period for period in self.periods if period.alarm), None)

    @property
    def alarming_segments(self) -> tuple[SegmentLoss, ...]:
        """The parts whose loss raised an alarm, the first one first."""
        return tuple(sorted((part for part in self.segments if part.alarm), key=lambda part: part.alarm or ""))


class Signal(Part):
    """One thing that was looked at, and what it says."""

    name: str
    state: Literal["quiet", "changed", "alarm", "unknown", "due"]
    sentence: str

    @property
    def is_found(self) -> bool:
        """Return whether something was found."""
        return self.state in ("changed", "alarm")


MODEL_SIGNALS = frozenset({"loss", "segment loss"})
"""Signals whose alarm calls for another model."""


class MonitoringDecision(Document):
    """``decision.json``: what to do, and every signal that led to it."""

    FILE = "decision.json"
    IS_ARTIFACT = True

    action: Action
    cause: Cause | None = None
    """The likely cause of what changed; None if nothing did, or nothing is known."""
    reasons: tuple[str, ...]
    signals: tuple[Signal, ...]
    effect: str | None = None
    """What it costs, in words; None if nothing is known to cost anything."""
    to_label: tuple[LoggedRow, ...] = ()
    """Rows to label first; none if there is nothing to do."""
    changed_on: str | None = None
    """The day on which a risen loss most probably began to be higher; None if none has risen."""
    until: str | None = None
    """The end of the window, ISO 8601, UTC; None if nothing was logged, and in older documents."""
    new_labels: int = 0
    """Labels that have become known since the release first answered."""

    @property
    def calls_for_model(self) -> bool:
        """Return whether another model should answer: a newly trained one, or the former."""
        return self.action in ("retrain", "roll back")

    @property
    def is_costly(self) -> bool:
        """Return whether more wrong answers are proven, or to be expected because inputs or scores drifted."""
        changed = {signal.name for signal in self.signals if signal.is_found}
        is_expected = "estimated loss" in changed and bool(changed & {"input drift", "prediction drift"})
        return is_expected or any(signal.state == "alarm" for signal in self.signals)

    @property
    def is_alarm(self) -> bool:
        """Return whether the model is proven to be worse: a loss has risen, or its value has fallen."""
        return any(signal.state == "alarm" and signal.name in MODEL_SIGNALS for signal in self.signals)
