"""The tests of Alibi Detect behind the same contract as the open ones.

A p-value says whether chance explains a difference, not whether it matters: on large samples any trifle is significant.
So a column differs if Alibi's test is significant, corrected for the number of columns, and the effect is as large as
the open tests require.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from alibi_detect.cd import ChiSquareDrift, KSDrift

from components.alibi_drift import joint
from components.shared.documents.monitoring import DriftReport, JointDrift
from components.shared.drift import column, univariate
from components.shared.project import Project
from components.shared.window_drift import matrix, report
from components.shared.window_drift.detector import ALPHA, ColumnComparison


def compare(project: Project, window: Path, measured: Path) -> DriftReport:
    """Compare a window with the champion's test rows; see ``window_drift.report.compare``."""
    return report.compare(project, window, measured, AlibiDetector(project.monitoring.joint))


class AlibiDetector:
    """``KSDrift`` and ``ChiSquareDrift`` for the columns, and one of its tests of all columns together.

    Args:
        method: ``classifier``, ``mmd``, ``autoencoder`` or ``kmeans``.
    """

    def __init__(self, method: str = "classifier") -> None:
        self._method = joint.METHODS[method]

    def column(self, reference: pa.ChunkedArray, rows: pa.ChunkedArray, tests: int) -> ColumnComparison:
        """Compare two columns: as numbers, or as categories where they are texts, truth values or few numbers."""
        if pa.types.is_floating(reference.type):
            numbers = _numbers(reference), _numbers(rows)
            if not column.has_few_values(numbers[0]):
                effect = univariate.normed_wasserstein(column.numbers(numbers[0]), column.numbers(numbers[1]))
                significant = _is_significant(*numbers, ALPHA / tests)
                return _compared("normed Wasserstein (Kolmogorov-Smirnov test)", effect, significant)
            texts = column.as_categories(numbers[0]), column.as_categories(numbers[1])
        else:
            texts = reference.cast(pa.string()).to_pylist(), rows.cast(pa.string()).to_pylist()
        counts = column.count(*texts)
        codes = {name: code for code, name in enumerate(counts.categories)}
        before, after = (
            np.array([codes.get(text, len(codes) - 1) for text in side if text is not None], dtype=float)
            for side in texts
        )
        effect = univariate.jensen_shannon(*counts.shares())
        significant = _is_significant(before, after, ALPHA / tests, categories=len(codes))
        return _compared("Jensen-Shannon (chi-squared test)", effect, significant)

    def joint(self, reference: pa.Table, rows: pa.Table) -> JointDrift | None:
        """Compare all columns together by the chosen method."""
        if min(reference.num_rows, rows.num_rows) < joint.ROWS_MIN or not reference.num_columns:
            return None
        return self._method(reference, rows)


def _numbers(values: pa.ChunkedArray) -> matrix.Floats:
    known: matrix.Floats = values.drop_null().cast(pa.float64()).to_numpy(zero_copy_only=False)
    return known


def _is_significant(before: matrix.Floats, after: matrix.Floats, alpha: float, categories: int = 0) -> bool:
    """Return whether Alibi's test of one column rejects that both samples have the same distribution."""
    if categories == 1:
        return False
    reference = before[:, None].astype(np.float32)
    if categories:
        test = ChiSquareDrift(reference, p_val=alpha, categories_per_feature={0: list(range(categories))})
    else:
        test = KSDrift(reference, p_val=alpha)
    return bool(test.predict(after[:, None].astype(np.float32), drift_type="feature")["data"]["is_drift"][0])


def _compared(statistic: str, effect: float, significant: bool) -> ColumnComparison:
    return ColumnComparison(statistic, effect, univariate.DISTANCE_MIN, effect, is_beyond_chance=significant)
