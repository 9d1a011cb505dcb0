"""Decide from all signals what to do: nothing, watch, retrain or roll back.

Besides, a model is retrained when its time has come, or enough labels have, if the project says so.

Drift alone never retrains: whether it costs anything shows in the loss, and until labels are due it is watched. Only
the loss raises an alarm, because only its test accumulates evidence with a stated rate of false alarms. An alarm soon
after a release rolls it back; a later one means that the world has changed, so the model is retrained. An estimate of
the loss raises no alarm, because it takes for granted that inputs mean what they did; but drift that is expected to
cost something is worth labels.
"""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from components.decision import data_quality, watched
from components.shared import wording
from components.shared.documents.data_quality import DataQuality
from components.shared.documents.monitoring import (
    MODEL_SIGNALS,
    Action,
    Cause,
    ColumnDrift,
    DriftReport,
    LogWindow,
    MonitoringDecision,
    PerformanceReport,
    Signal,
)
from components.shared.project import Project, Retraining

_log = logging.getLogger(__name__)

_DAY = timedelta(days=1)
_NEWEST_DAYS = 7
"""Days of labeled rows that say what a risen loss costs at present."""
_NAMED = 3
"""Columns that a sentence names."""


def decide(
    project: Project, window: str | Path, drift: str | Path, performance: str | Path, quality: str | Path
) -> MonitoringDecision:
    """Decide, and give every signal with its sentence.

    Args:
        project: Says how long after a release an alarm rolls it back, and when a model is due without an alarm.
        window: The output of the step log_window.
        drift: The output of the step drift.
        performance: The output of the step performance.
        quality: The output of the step data_quality.
    """
    looked_at, measured = LogWindow.read(window), PerformanceReport.read(performance)
    drifted, validated = DriftReport.read(drift), DataQuality.read(quality)
    signals = [
        *_log_signals(looked_at),
        *data_quality.signals(validated),
        *_drift_signals(drifted),
        _loss(measured),
        *_segments(measured),
        *watched.signals(measured),
        *_estimate(measured),
        *due_signals(project.retraining, looked_at),
    ]
    is_upstream = any(one.is_broken for one in drifted.columns) or any(one.is_broken for one in validated.findings)
    cause = _cause(signals, is_upstream=is_upstream)
    # Also where another cause is named first.
    is_broken = is_upstream or any(signal.is_found and signal.name in ("log", "labels") for signal in signals)
    action = _action(project, measured, signals, is_broken=is_broken)
    reasons = _reasons(action, signals)
    if action == "nothing":
        reasons = [f"{looked_at.rows:,} rows look like the reference, and the loss has not risen"]
    _log.info("%s: %s", action, "; ".join(reasons))
    return MonitoringDecision(
        action=action,
        cause=cause,
        reasons=tuple(reasons),
        signals=tuple(signals),
        effect=_effect(looked_at, measured),
        to_label=() if action == "nothing" else measured.to_label,
        changed_on=measured.changed_on,
        until=looked_at.end,
        new_labels=looked_at.new_labels,
    )


def due_signals(retraining: Retraining, window: LogWindow) -> Iterator[Signal]:
    """Say whether a model is due for training without an alarm, by its age or by new labels."""
    if window.answering_since is None or window.end is None:
        return
    if retraining.every_days is not None:
        age_days = (datetime.fromisoformat(window.end) - datetime.fromisoformat(window.answering_since)) / _DAY
        sentence = (
            f"release {window.release} has answered for {age_days:.1f} days; the model is retrained after "
            f"{retraining.every_days:g}"
        )
        yield Signal(name="age", state="due" if age_days >= retraining.every_days else "quiet", sentence=sentence)
    if retraining.new_labels is not None:
        sentence = (
            f"{window.new_labels:,} labels have become known since release {window.release} first answered; the model "
            f"is retrained after {retraining.new_labels:,}"
        )
        is_due = window.new_labels >= retraining.new_labels
        yield Signal(name="new labels", state="due" if is_due else "quiet", sentence=sentence)


def _reasons(action: Action, signals: list[Signal]) -> list[str]:
    """Return the sentences that led to an action."""
    proven = [signal.sentence for signal in signals if signal.state == "alarm" and signal.name in MODEL_SIGNALS]
    if proven:
        return proven
    states = {"retrain": ("due",), "watch": ("alarm", "changed", "unknown")}.get(action, ())
    return [signal.sentence for signal in signals if signal.state in states]


def _action(project: Project, performance: PerformanceReport, signals: list[Signal], *, is_broken: bool) -> Action:
    of_all = [performance.alarm.day] if performance.alarm else []
    alarms = [*of_all, *(part.alarm for part in performance.alarming_segments if part.alarm)]
    alarms += [one.alarm for one in performance.watched if one.alarm and one.signal in MODEL_SIGNALS]
    if alarms:
        first = datetime.fromisoformat(performance.periods[0].day)
        since_release = datetime.fromisoformat(min(alarms)) - first
        return "roll back" if since_release <= timedelta(days=project.monitoring.rollback_days) else "retrain"
    # Rows that are known to be broken teach nothing, however old the model is.
    if any(signal.state == "due" for signal in signals) and not is_broken:
        return "retrain"
    return "watch" if any(signal.state in ("alarm", "changed", "unknown") for signal in signals) else "nothing"


def _cause(signals: list[Signal], *, is_upstream: bool) -> Cause | None:
    """Name the likely cause: what is wrong before the data reach the model comes before what changed in the world."""
    changed = {signal.name for signal in signals if signal.is_found}
    if "latency" in changed:
        return "service"
    if changed & {"log", "labels"}:
        return "data pipeline"
    if is_upstream:
        return "upstream"
    if "label shift" in changed:
        return "label shift"
    # The scores follow a changed population. Where they expect no higher loss, it is not the population that costs.
    is_explained = "estimated loss" in changed or not any(signal.name == "estimated loss" for signal in signals)
    is_lost = bool(changed & MODEL_SIGNALS)
    if changed & {"input drift", "prediction drift", "estimated loss"} and (is_explained or not is_lost):
        return "drift"
    if is_lost:
        return "concept drift"
    # The same model decides differently about groups only if what it knows about them has changed.
    return "drift" if "fairness" in changed else None


def _effect(window: LogWindow, performance: PerformanceReport) -> str | None:
    """Say how many more wrong answers there are than on the test rows; None if no more are known or expected."""
    estimate = performance.estimate
    if performance.alarm is not None:
        newest = performance.periods[-_NEWEST_DAYS:]
        rate = sum(period.losses for period in newest) / sum(period.labeled for period in newest)
    elif estimate is not None and estimate.loss is not None and estimate.is_risen:
        rate = estimate.loss.value or 0.0
    else:
        return _effect_on_a_part(performance)
    more = rate - (performance.reference_rate or 0.0)
    if more <= 0 or window.start is None or window.end is None:
        return None
    length = datetime.fromisoformat(window.end) - datetime.fromisoformat(window.start)
    weekly = more * window.rows * (timedelta(weeks=1) / length)
    effect = f"{more * 100:.1f} more wrong answers per 100 rows than on the test rows"
    return f"{effect}, about {weekly:,.0f} a week" if weekly >= 1 else effect


def _effect_on_a_part(performance: PerformanceReport) -> str | None:
    """Say what the part of the rows that fails most costs; None if none fails."""
    more, part = max(
        (((part.rate or 0.0) - part.reference_rate, part) for part in performance.alarming_segments),
        key=lambda pair: pair[0] * pair[1].labeled,
        default=(0.0, None),
    )
    if part is None or more <= 0:
        return None
    return f"{more * 100:.1f} more wrong answers per 100 rows than on the test rows where {wording.where(part.where)}"


def _log_signals(window: LogWindow) -> Iterator[Signal]:
    """Say what is wrong with the log itself."""
    if window.from_the_future:
        yield Signal(
            name="log",
            state="changed",
            sentence=f"{window.from_the_future:,} rows have an event time that is later than their request by more "
            "than a day and were left out; compare the clocks of the clients",
        )
    for reason in window.damaged:
        yield Signal(name="log", state="changed", sentence=reason.rstrip("."))
    if window.labels.known and not window.labels.joined:
        yield Signal(
            name="labels",
            state="changed",
            sentence=f"none of the {window.labels.known:,} labels belongs to a logged row; compare their ids and times "
            "with those of the requests",
        )


def _drift_signals(report: DriftReport) -> Iterator[Signal]:
    """Give each kind of drift its own signal."""
    if report.reason is not None:
        yield Signal(name="input drift", state="unknown", sentence=f"drift is unknown: {report.reason}")
        return
    drifted = [column for column in report.columns if column.is_drift]
    if drifted:
        named = ", ".join(_described(column) for column in drifted[:_NAMED])
        more = f" and {len(drifted) - _NAMED} more" if len(drifted) > _NAMED else ""
        sentence = f"{len(drifted)} of {len(report.columns)} inputs differ from the reference: {named}{more}"
        yield Signal(name="input drift", state="changed", sentence=sentence)
    elif report.joint is not None and report.joint.is_drift:
        sentence = (
            f"no input differs by itself, but all together do, by {report.joint.method} ({report.joint.statistic} "
            f"{report.joint.value:.3f}, from {report.joint.threshold:.3f} on it counts): the relation between inputs "
            "has changed"
        )
        yield Signal(name="input drift", state="changed", sentence=sentence)
    else:
        yield Signal(
            name="input drift", state="quiet", sentence=f"{len(report.columns)} inputs look like the reference"
        )
    for name, compared, what in (
        ("prediction drift", report.prediction, "the scores"),
        ("label shift", report.label, "the labels"),
    ):
        if compared is not None:
            state = "changed" if compared.is_drift else "quiet"
            verb = "differ from" if compared.is_drift else "look like"
            sentence = f"{what} {verb} those of the reference ({_measured(compared)})"
            yield Signal(name=name, state=state, sentence=sentence)


def _loss(performance: PerformanceReport) -> Signal:
    """Say whether the loss has risen: the sign of a changed relation between inputs and label."""
    if performance.reason is not None:
        sentence = f"performance is unknown, and so is a change of what the inputs mean: {performance.reason}"
        return Signal(name="loss", state="unknown", sentence=sentence)
    assert performance.rate is not None and performance.reference_rate is not None
    labeled = sum(period.labeled for period in performance.periods)
    figures = (
        f"{performance.rate:.1%} {performance.loss} on {labeled:,} labeled rows, "
        f"{performance.reference_rate:.1%} on the test rows; up to {performance.tolerated:.1%} is tolerated"
    )
    if performance.alarm is not None:
        return Signal(
            name="loss", state="alarm", sentence=f"the loss has risen, proven on {performance.alarm.day}: {figures}"
        )
    return Signal(name="loss", state="quiet", sentence=f"the loss has not risen: {figures}")


def _segments(performance: PerformanceReport) -> Iterator[Signal]:
    """Say for which part of the rows the loss has risen."""
    if not performance.segments:
        return
    risen = performance.alarming_segments
    if not risen:
        sentence = f"the loss has risen in none of {len(performance.segments)} parts of the rows"
        yield Signal(name="segment loss", state="quiet", sentence=sentence)
        return
    named = "; ".join(
        f"{wording.where(part.where)}, proven on {part.alarm}: {part.rate:.1%} {performance.loss}, "
        f"{part.reference_rate:.1%} on the test rows"
        for part in risen[:_NAMED]
    )
    more = f"; and {len(risen) - _NAMED} more" if len(risen) > _NAMED else ""
    yield Signal(name="segment loss", state="alarm", sentence=f"the loss has risen where {named}{more}")


def _estimate(performance: PerformanceReport) -> Iterator[Signal]:
    """Say how many wrong answers are to be expected, and that concept drift would not show in it."""
    estimate = performance.estimate
    if estimate is None:
        return
    if estimate.loss is None:
        sentence = f"the loss of the newest rows is not estimated: {estimate.reason}"
        yield Signal(name="estimated loss", state="unknown", sentence=sentence)
        return
    loss = estimate.loss
    verdict = (
        "more wrong answers than tolerated are to be expected"
        if estimate.is_risen
        else "the loss is not expected to rise"
    )
    sentence = (
        f"{verdict}: {loss.value:.1%} ({loss.low:.1%} to {loss.high:.1%}) by the scores of {estimate.rows:,} rows, "
        "which cannot see concept drift"
    )
    yield Signal(name="estimated loss", state="changed" if estimate.is_risen else "quiet", sentence=sentence)


def _described(column: ColumnDrift) -> str:
    if column.reason is not None:
        return f"{column.column} ({column.reason})"
    change = abs(column.missing - column.missing_reference)
    missing = f", missing {column.missing_reference:.0%} -> {column.missing:.0%}" if change >= 0.01 else ""
    constant = f", one value {column.usual:.0%} -> {column.usual_now:.0%}" if column.was_constant else ""
    return f"{column.column} ({_measured(column)}{missing}{constant})"


def _measured(column: ColumnDrift) -> str:
    return f"{column.statistic} {column.value:.3f}, from {column.threshold:.3f} on it counts"
