"""Measure a release on the rows whose labels are due, test day by day whether its losses have risen, and estimate.

A loss is a wrong answer; of a regression, an error beyond the 90 % quantile of the errors on the test rows. The test is
an e-detector (``components/shared/sequential``), which may be looked at after every day: while the loss stays at what
is tolerated, the average number of days between false alarms is at least the promised run length. What the newest rows
will turn out to be is estimated from their scores (``components/performance/estimation.py``).
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.performance import (
    budget,
    estimation,
    latency,
    losses,
    positives,
    sampling,
    selection,
    selection_gaps,
    value,
)
from components.performance.losses import Losses
from components.performance.release import Release
from components.performance.selection import Selection
from components.shared import wording
from components.shared.documents.champion import ChampionRecord
from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.measurements import Metric
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.monitoring import (
    Estimate,
    LoggedRow,
    LogWindow,
    PerformanceReport,
    Period,
    SegmentLoss,
    WatchedMetric,
)
from components.shared.measures import bootstrap
from components.shared.measures.metrics import scorecard
from components.shared.project import Project
from components.shared.sequential import change_point
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


def measure(project: Project, window: Path, model: Path, measured: Path) -> PerformanceReport:
    """Measure the release that answers, from its first logged row to the end of the window.

    Args:
        project: Says how much the loss may rise, and how many false alarms are acceptable.
        window: The output of the step log_window.
        model: The champion, from the step champion.
        measured: The champion's evaluation, from the same step.
    """
    described, file = LogWindow.read(window), measured / _EVALUATION / "reference.parquet"
    reason = _why_unknown(described, ChampionRecord.read(model), file)
    if reason is not None:
        return PerformanceReport(mode="inputs only", release=described.release, loss="", reason=reason)
    release = Release.read(project, model / "package", file, described)
    rows, history = (pq.read_table(window / f"{name}.parquet") for name in ("rows", "history"))
    rows = rows.filter(pc.equal(rows["release"], described.release))
    estimate, to_label = _estimate(release, described, rows), _to_label(rows, project.label.selective)
    chosen = selection.select(history, project.label.selective)
    reason = _why_not_measured(described) or _why_hidden(project, chosen)
    if reason is None:
        report = _measured(release, history, chosen, EvaluationReport.read(measured / _EVALUATION))
    else:
        report = PerformanceReport(
            mode="estimated" if estimate and estimate.loss else "inputs only",
            release=described.release,
            loss="",
            reference_rate=float(release.before.losses.mean()),
            tolerated=losses.e_values(release.before, release.increase)[0].tolerated,
            reason=reason,
        )
    watched = (*report.watched, *_latency(release, described))
    named = {"release": described.release, "estimate": estimate, "to_label": to_label, "watched": watched}
    return report.model_copy(update=named)


def _measured(
    release: Release, history: pa.Table, chosen: Selection, evaluation: EvaluationReport
) -> PerformanceReport:
    """Measure a release on the rows that show their label."""
    before, run_lengths, limit = release.before, release.run_lengths, release.limit
    labeled = history.take(pa.array(chosen.rows))
    now = losses.losses(labeled, limit)
    is_selective = bool(release.project.label.selective)
    e_values, guarantee = (
        losses.weighted_e_values(before, release.increase, chosen.smallest)
        if is_selective
        else losses.e_values(before, release.increase)
    )
    metrics = _metrics(release.project, release.facts, labeled, chosen.weights)
    periods = _periods(history, now, chosen, EDetector(e_values, run_lengths[budget.LOSS]))
    report = PerformanceReport(
        mode="direct",
        release=None,
        loss="wrong answers" if limit is None else f"errors above {limit:.4g}, the 90 % quantile of the test rows",
        metrics=metrics,
        reference={name: metric.value for name, metric in evaluation.metrics.items() if name in metrics},
        rate=float((chosen.weights * now.losses).sum() / chosen.weights.sum()),
        doubly_robust_rate=_doubly_robust(release, history, labeled, now, chosen) if is_selective else None,
        explored=chosen.explored if is_selective else None,
        reference_rate=float(before.losses.mean()),
        tolerated=e_values.tolerated / chosen.smallest,
        run_length_days=run_lengths[budget.LOSS],
        guarantee=guarantee,
        periods=periods,
        changed_on=_changed_on(periods, float(before.losses.mean())),
        segments=_parts(release, labeled, now),
        watched=_watched(release, history, labeled),
    )
    acted = next((part for part in report.alarming_segments if part.where == positives.where(release.facts)), None)
    # A change of one slice is none of the others: only the rows acted on date a change of the whole model.
    if report.changed_on is None and acted is not None:
        report = report.model_copy(update={"changed_on": acted.changed_on})
    _log.info("loss %.4f against %.4f, alarm %s", report.rate, report.reference_rate, report.alarm)
    return report


def _parts(release: Release, labeled: pa.Table, now: Losses) -> tuple[SegmentLoss, ...]:
    """Test each part of the rows that is tested."""
    before, run_lengths = release.before, release.run_lengths
    acted: tuple[SegmentLoss, ...] = ()
    if budget.POSITIVES in run_lengths and release.facts.positive is not None:
        acted = positives.measure(
            release.reference,
            labeled,
            before,
            now,
            release.facts.positive,
            increase=release.increase,
            run_length=run_lengths[budget.POSITIVES],
        )
    if budget.SEGMENTS not in run_lengths:
        return acted
    run_length = run_lengths[budget.SEGMENTS] * len(release.parts)
    return (*acted, *release.parts.measure(labeled, before, now, increase=release.increase, run_length=run_length))


def _watched(release: Release, history: pa.Table, labeled: pa.Table) -> tuple[WatchedMetric, ...]:
    """Measure and test what the project declares besides: what decisions are worth, and whom they are about."""
    project, facts, reference, lengths = release.project, release.facts, release.reference, release.run_lengths
    watched = []
    if budget.VALUE in lengths and project.value is not None and facts.positive is not None:
        length = lengths[budget.VALUE]
        watched.append(
            value.measure(project.value, project.evaluation, facts.positive, reference, labeled, run_length=length)
        )
    if budget.FAIRNESS in lengths and facts.positive is not None:
        tests = sum(one.tests for one in release.groups)
        watched += [
            selection_gaps.measure(
                one,
                project.evaluation,
                reference,
                history,
                facts.positive,
                allowed_gap=project.gate.fairness_gap,
                tests=tests,
                run_length=lengths[budget.FAIRNESS],
            )
            for one in release.groups
        ]
    return tuple(watched)


def _latency(release: Release, window: LogWindow) -> Iterator[WatchedMetric]:
    """Test the latency, which needs no labels."""
    if budget.LATENCY in release.run_lengths:
        run_length = release.run_lengths[budget.LATENCY]
        yield latency.measure(window.latency, release.project.monitoring, run_length=run_length)


def _changed_on(periods: Sequence[Period], before: float) -> str | None:
    if not any(period.alarm for period in periods):
        return None
    days = [period for period in periods if period.labeled]
    return days[change_point.began([day.losses for day in days], [day.labeled for day in days], before)].day


def _estimate(release: Release, window: LogWindow, rows: pa.Table) -> Estimate | None:
    """Estimate the loss of the window's rows; None for a regression, whose errors no score tells."""
    if release.facts.task == "regression":
        return None
    e_values, _ = losses.e_values(release.before, release.increase)
    alpha = min(_days(window) / release.run_lengths[budget.ESTIMATE], _ALPHA_MAX)
    return estimation.estimate(
        release.facts, release.reference, rows, tolerated=e_values.tolerated, alpha=alpha, seed=_SEED
    )


def _to_label(rows: pa.Table, selective: Sequence[str]) -> tuple[LoggedRow, ...]:
    """Draw rows without a label that could have one.

    At random, although uncertain ones would teach a model more: the loss is measured on what is labeled, and a day on
    which only difficult rows have a label would look worse than it was.
    """
    unlabeled = rows.filter(pc.and_(pc.is_null(rows["label"]), selection.shows_label(rows, selective)))
    chosen = matrix.sample(unlabeled.select(["request_id", "row"]), TO_LABEL_MAX, np.random.default_rng(_SEED))
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


def _why_hidden(project: Project, chosen: Selection) -> str | None:
    """Say why labels that the model's decisions hid or changed leave performance unknown; None if they do not."""
    decisions = project.label.selective
    if not decisions or chosen.explored >= selection.EXPLORED_MIN:
        return None
    return (
        f"cannot know: a decision for {wording.quoted(decisions)} hides or changes its label, and only "
        f"{chosen.explored} of such rows were answered otherwise at random and have a label, "
        f"{selection.EXPLORED_MIN} are needed; set monitoring.exploration"
    )


def _doubly_robust(release: Release, history: pa.Table, labeled: pa.Table, now: Losses, chosen: Selection) -> float:
    expected = estimation.expected_losses(release.facts, release.reference, labeled)
    of_all = float(estimation.expected_losses(release.facts, release.reference, history).mean())
    return selection.doubly_robust(now.losses, chosen.weights, expected, of_all)


def _periods(history: pa.Table, now: Losses, chosen: Selection, detector: EDetector) -> tuple[Period, ...]:
    """Hand the days to the detector one by one; where rows have weights, each as a share of the largest."""
    counted = pc.value_counts(pc.strftime(history["event_time"], "%Y-%m-%d")).to_pylist()
    rows_of_day = {one["values"]: one["counts"] for one in counted}
    represented = Losses(now.days, chosen.weights).by_day()
    lost_by_day = Losses(now.days, chosen.weights * now.losses).by_day()
    periods = []
    for day, lost, labeled, weight in zip(*lost_by_day, represented[1], strict=True):
        trials = round(weight)
        alarm = detector.observe(lost * chosen.smallest, trials)
        evidence = 1.0 if alarm else min(detector.fraction, 1.0)
        share = lost / weight
        periods.append(
            Period(
                day=day,
                rows=int(rows_of_day[day]),
                labeled=labeled,
                losses=share * labeled,
                evidence=evidence,
                alarm=alarm,
            )
        )
    return tuple(periods)


def _metrics(project: Project, facts: ModelFacts, labeled: pa.Table, weights: NDArray[np.float64]) -> dict[str, Metric]:
    """Return the metrics of the task with intervals; rows whose label is no class of the model are left out.

    Of many rows a random sample is measured.
    """
    chosen = sampling.metric_rows(labeled.num_rows)
    labeled, weights = labeled.take(pa.array(chosen)), weights[chosen]
    name = "scores" if facts.task == "multiclass" else "score"
    if facts.task == "regression":
        truth: NDArray[Any] = labeled["label"].cast(pa.float64()).to_numpy(zero_copy_only=False)
    else:
        is_known = pc.is_in(labeled["label"], pa.array(facts.classes))
        labeled, weights = labeled.filter(is_known), weights[is_known.to_numpy(zero_copy_only=False)]
        truth = pc.index_in(labeled["label"], pa.array(facts.classes)).to_numpy(zero_copy_only=False)
    if labeled.num_rows < LABELED_MIN:
        return {}
    score = np.array(labeled[name].to_pylist(), dtype=float)
    card = scorecard(facts.task, truth, score, facts.threshold, project.evaluation.primary)
    drawn = bootstrap.distributions(
        lambda drawn: card.measure(drawn * weights),
        np.arange(len(truth)),
        resamples=project.evaluation.resamples,
        seed=_SEED,
    )
    return {name: one.interval(project.evaluation.confidence).metric for name, one in drawn.items()}
