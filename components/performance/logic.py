"""Measure a release on the rows whose labels are due, test day by day whether its losses have risen, and estimate.

A loss is a wrong answer; of a regression, an error beyond the 90 % quantile of the errors on the test rows. The test is
an e-detector (``components/shared/sequential``), which may be looked at after every day: while the loss stays at what
is tolerated, the average number of days between false alarms is at least the promised run length. What the newest rows
will turn out to be is estimated from their scores (``components/performance/estimation.py``).
"""

import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.performance import estimation, losses, segments
from components.performance.losses import Losses
from components.shared.documents.champion import ChampionRecord
from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.measurements import Metric
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.monitoring import LoggedRow, LogWindow, PerformanceReport, Period
from components.shared.measures import bootstrap
from components.shared.measures.metrics import scorecard
from components.shared.project import Project
from components.shared.sequential.budget import AlertBudget
from components.shared.sequential.e_detector import EDetector
from components.shared.window_drift import matrix

_log = logging.getLogger(__name__)

TO_LABEL_MAX = 200
LABELED_MIN = 30
"""With fewer labeled rows than this, no metric is given."""
_EVALUATION = "evaluation"
_SEED = 7
_ALPHA_MAX = 0.05
"""Of the estimate, whatever the budget of false alarms allows."""
Mode = Literal["estimated", "inputs only"]
_LOSS, _ESTIMATE, _SEGMENTS = "loss", "estimated loss", "segments"
# Half of the budget is the loss's.
_WEIGHTS = {_LOSS: 2.0, _ESTIMATE: 1.0, _SEGMENTS: 1.0}


def measure(project: Project, window: Path, model: Path, measured: Path) -> PerformanceReport:
    """Measure the release that answers, from its first logged row to the end of the window.

    Args:
        project: Says how much the loss may rise, and how many false alarms are acceptable.
        window: The output of the step log_window.
        model: The champion, from the step champion.
        measured: The champion's evaluation, from the same step.
    """
    described = LogWindow.read(window)
    history = pq.read_table(window / "history.parquet")
    file = measured / _EVALUATION / "reference.parquet"
    reason = _why_unknown(described, ChampionRecord.read(model), file)
    if reason is not None:
        return PerformanceReport(mode="inputs only", release=described.release, loss="", reason=reason)
    facts, reference = ModelFacts.read(model / "package"), pq.read_table(file)
    limit = losses.error_limit(reference) if facts.task == "regression" else None
    before, increase = losses.losses(reference, limit), project.monitoring.loss_increase
    e_values, guarantee = losses.e_values(before, increase)
    budget = AlertBudget(project.monitoring.alerts.false_alarms, project.monitoring.alerts.days)
    run_lengths = budget.run_lengths(_WEIGHTS)
    rows = pq.read_table(window / "rows.parquet")
    rows = rows.filter(pc.equal(rows["release"], described.release))
    to_label = _to_label(rows)
    estimate = None
    if facts.task != "regression":
        alpha = min(_days(described) / run_lengths[_ESTIMATE], _ALPHA_MAX)
        estimate = estimation.estimate(facts, reference, rows, tolerated=e_values.tolerated, alpha=alpha, seed=_SEED)
    reason = _why_not_measured(described)
    if reason is not None:
        mode: Mode = "estimated" if estimate and estimate.loss else "inputs only"
        return PerformanceReport(
            mode=mode,
            release=described.release,
            loss="",
            reference_rate=float(before.losses.mean()),
            tolerated=e_values.tolerated,
            estimate=estimate,
            to_label=to_label,
            reason=reason,
        )
    labeled = history.filter(pc.is_valid(history["label"]))
    now = losses.losses(labeled, limit)
    parts = segments.Segments(reference, project.evaluation.parts)
    evaluation = EvaluationReport.read(measured / _EVALUATION)
    metrics = _metrics(project, facts, labeled)
    report = PerformanceReport(
        mode="direct",
        release=described.release,
        loss="wrong answers" if limit is None else f"errors above {limit:.4g}, the 90 % quantile of the test rows",
        metrics=metrics,
        reference={name: metric.value for name, metric in evaluation.metrics.items() if name in metrics},
        rate=float(now.losses.mean()),
        reference_rate=float(before.losses.mean()),
        tolerated=e_values.tolerated,
        run_length_days=run_lengths[_LOSS],
        guarantee=guarantee,
        periods=_periods(history, now, EDetector(e_values, run_lengths[_LOSS])),
        segments=parts.measure(
            labeled, before, now, increase=increase, run_length=run_lengths[_SEGMENTS] * max(len(parts), 1)
        ),
        estimate=estimate,
        to_label=to_label,
    )
    _log.info("loss %.4f against %.4f, alarm %s", report.rate, report.reference_rate, report.alarm)
    return report


def _to_label(rows: pa.Table) -> tuple[LoggedRow, ...]:
    """Draw rows without a label.

    At random, although uncertain ones would teach a model more: the loss is measured on what is labeled, and a day on
    which only difficult rows have a label would look worse than it was.
    """
    unlabeled = rows.filter(pc.is_null(rows["label"])).select(["request_id", "row"])
    chosen = matrix.sample(unlabeled, TO_LABEL_MAX, np.random.default_rng(_SEED))
    return tuple(LoggedRow(**row) for row in chosen.to_pylist())


def _days(window: LogWindow) -> float:
    """Return the length of the window."""
    assert window.start is not None and window.end is not None
    return (datetime.fromisoformat(window.end) - datetime.fromisoformat(window.start)) / timedelta(days=1)


def _why_unknown(window: LogWindow, champion: ChampionRecord, reference: Path) -> str | None:
    """Say why nothing can be known of how the champion performs; None if something can."""
    if champion.version is None or not reference.exists():
        return (
            "the champion has no reference rows, because nothing was released or it was registered by an older version "
            "of Perennial; run the training pipeline"
        )
    if window.release is None:
        return "nothing was logged"
    if window.release != champion.version:
        return f"release {window.release} answered last, and version {champion.version} is the champion"
    return None


def _why_not_measured(window: LogWindow) -> str | None:
    """Say why there are too few labels to measure the release on them; None if there are enough."""
    if window.due_labeled < LABELED_MIN:
        young = f"; {window.young_labeled} labels belong to rows that are not due" if window.young_labeled else ""
        return (
            f"{window.due_labeled} of the release's {window.due} rows that are older than {window.delay_days} days "
            f"have a label, and {LABELED_MIN} are needed{young}"
        )
    return None


def _periods(history: pa.Table, now: Losses, detector: EDetector) -> tuple[Period, ...]:
    """Hand the days to the detector one by one."""
    all_days = pc.strftime(history["event_time"], "%Y-%m-%d").to_pylist()
    rows_of_day = dict(zip(*np.unique(all_days, return_counts=True), strict=True))
    periods = []
    for day, lost, labeled in zip(*now.by_day(), strict=True):
        alarm = detector.observe(lost, labeled)
        evidence = 1.0 if alarm else min(detector.fraction, 1.0)
        periods.append(
            Period(day=day, rows=int(rows_of_day[day]), labeled=labeled, losses=lost, evidence=evidence, alarm=alarm)
        )
    return tuple(periods)


def _metrics(project: Project, facts: ModelFacts, labeled: pa.Table) -> dict[str, Metric]:
    """Return the metrics of the task with intervals; rows whose label is no class of the model are left out."""
    name = "scores" if facts.task == "multiclass" else "score"
    if facts.task == "regression":
        truth: NDArray[Any] = labeled["label"].cast(pa.float64()).to_numpy(zero_copy_only=False)
    else:
        labeled = labeled.filter(pc.is_in(labeled["label"], pa.array(facts.classes)))
        truth = pc.index_in(labeled["label"], pa.array(facts.classes)).to_numpy(zero_copy_only=False)
    if labeled.num_rows < LABELED_MIN:
        return {}
    score = np.array(labeled[name].to_pylist(), dtype=float)
    card = scorecard(facts.task, truth, score, facts.threshold, project.evaluation.primary)
    drawn = bootstrap.distributions(
        card.measure, np.arange(len(truth)), resamples=project.evaluation.resamples, seed=_SEED
    )
    return {name: one.interval(project.evaluation.confidence).metric for name, one in drawn.items()}
