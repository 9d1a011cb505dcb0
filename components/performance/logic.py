"""Measure a release on the rows whose labels are due, and test day by day whether its losses have risen.

A loss is a wrong answer; of a regression, an error beyond the 90 % quantile of the errors on the test rows. The test is
an e-detector (``components/shared/sequential``), which may be looked at after every day: while the loss stays at what
is tolerated, the average number of days between false alarms is at least the promised run length.
"""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import stats

from components.shared.documents.champion import ChampionRecord
from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.measurements import Metric
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.monitoring import LogWindow, PerformanceReport, Period
from components.shared.measures import bootstrap
from components.shared.measures.metrics import scorecard
from components.shared.project import Project
from components.shared.sequential import reference as reference_rates
from components.shared.sequential.budget import AlertBudget
from components.shared.sequential.e_detector import BetaBinomialRise, BoundedMeanRise, EDetector

_log = logging.getLogger(__name__)

LABELED_MIN = 30
"""With fewer labeled rows than this, no metric is given."""
_CONFIDENCE = 0.9
"""Of the upper bound of the reference's loss, where its days are too few to bound their spread."""
_QUANTILE = 0.9
_EVALUATION = "evaluation"
_SEED = 7
# Half of the budget is the loss's.
_WEIGHTS = {"loss": 1.0, "everything else": 1.0}


class _Losses(NamedTuple):
    """Days (text) and losses (0 or 1) of labeled rows."""

    days: NDArray[np.str_]
    losses: NDArray[np.float64]

    def by_day(self) -> tuple[list[str], list[float], list[int]]:
        """Return the days in order, with the number of losses and of rows."""
        days, codes, rows = np.unique(self.days, return_inverse=True, return_counts=True)
        return days.tolist(), np.bincount(codes, self.losses).tolist(), rows.tolist()


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
    reason = _why_nothing(described, ChampionRecord.read(model), file)
    if reason is not None:
        return PerformanceReport(mode="inputs only", release=described.release, loss="", reason=reason)
    facts, reference = ModelFacts.read(model / "package"), pq.read_table(file)
    labeled = history.filter(pc.is_valid(history["label"]))
    limit = _error_limit(reference) if facts.task == "regression" else None
    before, now = _losses(reference, limit), _losses(labeled, limit)
    e_values, guarantee = _e_values(before, project.monitoring.loss_increase)
    budget = AlertBudget(project.monitoring.alerts.false_alarms, project.monitoring.alerts.days)
    run_length = budget.run_lengths(_WEIGHTS)["loss"]
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
        run_length_days=run_length,
        guarantee=guarantee,
        periods=_periods(history, now, EDetector(e_values, run_length)),
    )
    _log.info("loss %.4f against %.4f, alarm %s", report.rate, report.reference_rate, report.alarm)
    return report


def _why_nothing(window: LogWindow, champion: ChampionRecord, reference: Path) -> str | None:
    """Say why performance can't be known; None if it can."""
    if champion.version is None or not reference.exists():
        return (
            "the champion has no reference rows, because nothing was released or it was registered by an older version "
            "of Perennial; run the training pipeline"
        )
    if window.release is None:
        return "nothing was logged"
    if window.release != champion.version:
        return f"release {window.release} answered last, and version {champion.version} is the champion"
    if window.due_labeled < LABELED_MIN:
        young = f"; {window.young_labeled} labels belong to rows that are not due" if window.young_labeled else ""
        return (
            f"{window.due_labeled} of the release's {window.due} rows that are older than {window.delay_days} days "
            f"have a label, and {LABELED_MIN} are needed{young}"
        )
    return None


def _losses(table: pa.Table, limit: float | None) -> _Losses:
    """Return the losses of labeled rows."""
    days = np.array(pc.strftime(table["event_time"], "%Y-%m-%d").to_pylist(), dtype=np.str_)
    if limit is not None:
        return _Losses(days, (_errors(table) > limit).astype(float))
    wrong = pc.not_equal(table["decision"], table["label"])
    return _Losses(days, wrong.to_numpy(zero_copy_only=False).astype(float))


def _errors(table: pa.Table) -> NDArray[np.float64]:
    label = table["label"].cast(pa.float64()).to_numpy(zero_copy_only=False)
    score = table["score"].cast(pa.float64()).to_numpy(zero_copy_only=False)
    errors: NDArray[np.float64] = np.abs(score - label)
    return errors


def _error_limit(reference: pa.Table) -> float:
    return float(np.quantile(_errors(reference), _QUANTILE))


def _e_values(before: _Losses, increase: float) -> tuple[BetaBinomialRise | BoundedMeanRise, str]:
    """Return the e-values of a day's losses, and what they promise.

    Args:
        before: The losses of the reference.
        increase: How much the loss may rise before it counts as worse.
    """
    _, losses, rows = before.by_day()
    if len(rows) >= reference_rates.FEWEST_DAYS:
        rates = reference_rates.estimate(losses, rows)
        rise = rates.rise(increase)
        return rise, (
            f"holds while days differ by a standard deviation of at most {rise.spread:.3f}, the upper bound from "
            f"{rates.days} days of test rows"
        )
    total, wrong = len(before.losses), float(before.losses.sum())
    upper = float(stats.beta.ppf(_CONFIDENCE, wrong + 1, max(total - wrong, 1)))
    return BoundedMeanRise(min(upper + increase, 0.99)), (
        f"holds while the expected loss of a day is at most what is tolerated; {len(rows)} days of test rows are too "
        "few to know how much days differ"
    )


def _periods(history: pa.Table, now: _Losses, detector: EDetector) -> tuple[Period, ...]:
    """Hand the days to the detector one by one."""
    all_days = pc.strftime(history["event_time"], "%Y-%m-%d").to_pylist()
    rows_of_day = dict(zip(*np.unique(all_days, return_counts=True), strict=True))
    periods = []
    for day, losses, labeled in zip(*now.by_day(), strict=True):
        alarm = detector.observe(losses, labeled)
        evidence = 1.0 if alarm else min(detector.fraction, 1.0)
        periods.append(
            Period(day=day, rows=int(rows_of_day[day]), labeled=labeled, losses=losses, evidence=evidence, alarm=alarm)
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
