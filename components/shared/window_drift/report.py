"""Compare the rows of a window with the champion's test rows: inputs, predictions and labels, each on its own.

A difference counts if it exceeds what chance explains, and one and a half times what any period of the reference, as
long as the window, had from the others: days differ, and a season that the reference has seen is no finding. The tests
are one look at one window. What they find is shown; only evidence that accumulates over windows raises an alarm.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.measurements import ColumnDistribution
from components.shared.documents.monitoring import ColumnDrift, DriftReport, LogWindow
from components.shared.drift import calendar, tails
from components.shared.inference_log.columns import RECEIVED
from components.shared.measures import shapes
from components.shared.project import Project
from components.shared.window_drift import comparable
from components.shared.window_drift.comparable import ROWS_MIN
from components.shared.window_drift.detector import ALPHA, ColumnComparison, Detector

_log = logging.getLogger(__name__)

MISSING_MIN = 0.05
"""Smallest relevant difference between two shares of missing values."""
_ORDINARY = 1.5
"""A difference counts only if it exceeds the largest difference of an earlier period by this factor."""
_FEWEST_PERIODS = 3
_SHOWN = 24
REFERENCE, WINDOW = "test rows", "window"
"""Names of the two parts of a distribution."""
_EVALUATION, _EARLIER = "evaluation", "earlier.parquet"
_SHUFFLED = "shuffled column"


def compare(project: Project, window: Path, measured: Path, detector: Detector) -> DriftReport:
    """Compare every feature of the champion that is logged, the scores, and the labels that are due.

    Args:
        project: Says which features are never logged.
        window: The output of the step log_window.
        measured: The champion's evaluation, from the step champion; empty before the first release.
        detector: The tests.

    Returns:
        The comparisons, ordered by effect times importance; with a reason instead where nothing can be compared.
    """
    rows = pq.read_table(window / "rows.parquet")
    described = LogWindow.read(window)
    file = measured / _EVALUATION / "reference.parquet"
    reason = comparable.why_not(described, file)
    if reason is not None:
        return DriftReport(reference_rows=0, rows=rows.num_rows, reason=reason)
    test_rows = pq.read_table(file)
    reference, compared_with = _reference(project, test_rows, window / _EARLIER)
    redacted = {RECEIVED + name for name in project.monitoring.redact}
    # The champion's own features: the project file may name others by now, and what is redacted is never logged.
    features = [name for name in test_rows.column_names if name.startswith(RECEIVED) and name not in redacted]
    periods = _periods(test_rows, described)
    by_test_rows = _Comparison(detector, len(features) + 1, periods)
    comparison = by_test_rows if reference is test_rows else _Comparison(detector, len(features) + 1, ())
    importance = _importance(EvaluationReport.read(measured / _EVALUATION))
    columns = [
        _compared(reference, rows, name, comparison, importance.get(name.removeprefix(RECEIVED))) for name in features
    ]
    columns.sort(key=_rank, reverse=True)
    both = [name for name in features if name in rows.column_names and not _says_when(name, reference)]
    report = DriftReport(
        reference_rows=reference.num_rows,
        rows=rows.num_rows,
        compared_with=compared_with,
        columns=tuple(columns),
        joint=detector.joint(reference.select(both), rows.select(both)),
        prediction=_predictions(_answered_by(reference, described.release), rows, described.task, comparison),
        # Labels that decisions hid or changed are not those of all rows.
        distributions=_distributions(reference, rows, [c.column for c in columns if RECEIVED + c.column in both]),
        label=None
        if project.label.selective
        else _labels(test_rows, pq.read_table(window / "history.parquet"), described.task, by_test_rows),
    )
    _log.info("drift in %d of %d columns", sum(c.is_drift for c in columns), len(columns))
    return report


@dataclass(frozen=True)
class _Comparison:
    """How columns are compared.

    Attributes:
        detector: The tests.
        tests: Number of tests of the window, by which the probability of a finding by chance is divided.
        periods: Rows of the reference by period; none if it is too short to tell periods apart.
    """

    detector: Detector
    tests: int
    periods: tuple[NDArray[np.intp], ...]

    def of(self, before: pa.ChunkedArray, after: pa.ChunkedArray) -> ColumnComparison:
        """Compare two columns; where they differ, raise the threshold by how much earlier periods differ."""
        compared = self.detector.column(before, after, self.tests)
        if not compared.is_drift:
            return compared
        ordinary = 0.0
        for period in self.periods:
            others = np.setdiff1d(np.arange(len(before)), period)
            earlier, rest = before.take(pa.array(period)), before.take(pa.array(others))
            if min(len(earlier) - earlier.null_count, len(rest) - rest.null_count) >= ROWS_MIN:
                difference = self.detector.column(rest, earlier, self.tests)
                if difference.statistic == compared.statistic:
                    ordinary = max(ordinary, difference.value)
        return compared.with_threshold_of_at_least(_ORDINARY * ordinary)


def _periods(reference: pa.Table, window: LogWindow) -> tuple[NDArray[np.intp], ...]:
    """Divide the reference into periods as long as the window; none if there are fewer than three."""
    if window.start is None or window.end is None:
        return ()
    length = datetime.fromisoformat(window.end) - datetime.fromisoformat(window.start)
    times = reference["event_time"].cast(pa.int64()).to_numpy(zero_copy_only=False)
    numbers = (times.max() - times) // max(int(length / timedelta(microseconds=1)), 1)
    periods = [np.flatnonzero(numbers == number) for number in np.unique(numbers)]
    full = tuple(period for period in periods if len(period) >= ROWS_MIN)
    return full if len(full) >= _FEWEST_PERIODS else ()


def _importance(evaluation: EvaluationReport) -> dict[str, float]:
    """Return what the main metric lost when a column was shuffled; a column that was not shuffled is left out."""
    return {
        str(loss.level): max(loss.drop, 0.0)
        for loss in evaluation.robustness
        if loss.perturbation == _SHUFFLED and loss.drop is not None
    }


def _reference(project: Project, test_rows: pa.Table, earlier: Path) -> tuple[pa.Table, str]:
    """Return what the window is compared with, and what that is in words."""
    chosen = project.monitoring.reference
    if chosen == "test rows":
        return test_rows, "the champion's test rows"
    rows = pq.read_table(earlier) if earlier.exists() else test_rows.slice(0, 0)
    which = {"previous window": "the window before", "same season": "the same weeks of the year before"}[chosen]
    if rows.num_rows < ROWS_MIN:
        few = f"the champion's test rows, because the log has {rows.num_rows} rows of {which} and {ROWS_MIN} are needed"
        return test_rows, few
    for field in test_rows.schema:
        if field.name.startswith(RECEIVED) and field.name not in rows.column_names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows, which


def _answered_by(reference: pa.Table, release: str | None) -> pa.Table:
    """Return the rows whose scores are the release's own; of test rows, all are."""
    if "release" not in reference.column_names:
        return reference
    return reference.filter(pc.equal(reference["release"], release))


def _distributions(reference: pa.Table, rows: pa.Table, names: Sequence[str]) -> tuple[ColumnDistribution, ...]:
    """Describe features in both tables, in the order of their names here; at most ``_SHOWN``."""
    shown = names[:_SHOWN]
    parts = {
        part: table.select([RECEIVED + name for name in shown]).rename_columns(list(shown))
        for part, table in ((REFERENCE, reference), (WINDOW, rows))
    }
    is_text = {name: pa.types.is_string(parts[REFERENCE][name].type) for name in shown}
    described = shapes.column_distributions(
        parts, [name for name in shown if not is_text[name]], [name for name in shown if is_text[name]]
    )
    return tuple(sorted(described, key=lambda one: shown.index(one.column)))


def _says_when(name: str, reference: pa.Table) -> bool:
    return calendar.says_when(name.removeprefix(RECEIVED), reference[name])


def _rank(compared: ColumnDrift) -> tuple[bool, bool, float]:
    # A broken column explains the others. What was not measured counts as much as an unimportant column.
    return compared.is_drift, compared.is_broken, (compared.effect or 0.0) * (0.001 + (compared.importance or 0.0))


def _compared(
    reference: pa.Table, rows: pa.Table, name: str, comparison: _Comparison, importance: float | None = None
) -> ColumnDrift:
    """Compare one feature, and its share of missing values."""
    feature = name.removeprefix(RECEIVED)
    if name not in rows.column_names:
        return _nothing(feature, "the log does not have this column", is_drift=True)
    before, after = reference[name], rows[name]
    if _says_when(name, reference):
        return _nothing(feature, "it says when, so it differs in every window", is_drift=False, importance=importance)
    shares = before.null_count / len(before), after.null_count / len(after)
    is_missing_changed = _shares_differ(*shares, len(before), len(after), ALPHA / comparison.tests)
    known = min(len(before) - before.null_count, len(after) - after.null_count)
    if known < ROWS_MIN:
        reason = f"{known} known values on one side, and {ROWS_MIN} are needed"
        return _nothing(feature, reason, is_drift=is_missing_changed, missing=shares, importance=importance)
    compared = comparison.of(before, after)
    usual, usual_now = _usual(before, after)
    return ColumnDrift(
        column=feature,
        statistic=compared.statistic,
        value=compared.value,
        threshold=compared.threshold,
        effect=max(compared.effect, abs(shares[1] - shares[0])),
        missing_reference=shares[0],
        missing=shares[1],
        is_drift=compared.is_drift or is_missing_changed,
        usual=usual,
        usual_now=usual_now,
        importance=importance,
    )


def _usual(before: pa.ChunkedArray, after: pa.ChunkedArray) -> tuple[float, float]:
    """Return the share of the most frequent known value before, and of the same value now."""
    counted = pc.value_counts(before.drop_null())
    most = counted[int(np.argmax(pc.struct_field(counted, "counts").to_numpy(zero_copy_only=False)))]
    same = pc.sum(pc.equal(after, most["values"])).as_py() or 0
    return most["counts"].as_py() / len(before), same / len(after)


def _nothing(
    name: str,
    reason: str,
    *,
    is_drift: bool,
    missing: tuple[float, float] = (0.0, 1.0),
    importance: float | None = None,
) -> ColumnDrift:
    return ColumnDrift(
        column=name,
        statistic="none",
        value=None,
        threshold=None,
        effect=abs(missing[1] - missing[0]),
        missing_reference=missing[0],
        missing=missing[1],
        is_drift=is_drift,
        importance=importance,
        reason=reason,
    )


def _predictions(reference: pa.Table, rows: pa.Table, task: str, comparison: _Comparison) -> ColumnDrift | None:
    """Compare the scores, or for several classes the decisions."""
    name = "decision" if task == "multiclass" else "score"
    known = min(len(table) - table[name].null_count for table in (reference, rows))
    if known < ROWS_MIN:
        return None
    before = reference[name] if name == "decision" else reference[name].cast(pa.float64())
    after = rows[name] if name == "decision" else rows[name].cast(pa.float64())
    return _simple(name, comparison.of(before, after))


def _labels(reference: pa.Table, history: pa.Table, task: str, comparison: _Comparison) -> ColumnDrift | None:
    """Compare the labels that are due with those of the reference."""
    known = history["label"].drop_null()
    if min(len(known), len(reference) - reference["label"].null_count) < ROWS_MIN:
        return None
    kind = pa.float64() if task == "regression" else pa.string()
    return _simple("label", comparison.of(reference["label"].cast(kind), known.cast(kind)))


def _simple(name: str, compared: ColumnComparison) -> ColumnDrift:
    return ColumnDrift(
        column=name,
        statistic=compared.statistic,
        value=compared.value,
        threshold=compared.threshold,
        effect=compared.effect,
        missing_reference=0.0,
        missing=0.0,
        is_drift=compared.is_drift,
    )


def _shares_differ(before: float, after: float, n: int, m: int, alpha: float) -> bool:
    """Return whether two shares differ by a relevant amount and beyond chance (the two-proportion z-test)."""
    pooled = (before * n + after * m) / (n + m)
    error = float(np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m)))
    difference = abs(after - before)
    return difference >= MISSING_MIN and (error == 0 or difference / error >= tails.normal_critical(alpha))
